#pragma once

#include "messages/model/http.hpp"

#include <string>
#include <string_view>

/// @file actors/http/header_values.hpp
/// What the values of header fields say (RFC 9110, 5.6).

namespace tillstream {

/// Whether two words are equal, whatever the case of their ASCII letters.
bool same_word(std::string_view x, std::string_view y);

/// ASCII letters in lower case.
std::string lower_case(std::string_view text);

/// Whether the request takes gzip (RFC 9110, 12.5.3): named, or by `*`, and not
/// with `q=0`.
bool accepts_gzip(const http_request& request);

/// Whether the body is `application/json`, in UTF-8 where it says so, and not
/// compressed. Other parameters mean nothing for JSON (RFC 8259, 11).
bool is_json(const http_request& request);

} // namespace tillstream

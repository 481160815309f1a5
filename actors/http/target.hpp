#pragma once

#include "messages/model/http.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace tillstream {

/// A request target in origin form, taken apart and percent-decoded.
struct request_target {
  std::string path;
  header_list query;
  /// As in `http_request`.
  std::optional<std::string> garbled_parameter;
};

/// Reads `/path?name=value&…`. In the query `+` is a space, as browsers send
/// it; what does not decode to UTF-8 without U+0000 is named as garbled, so
/// that the answer can name it, too. @returns nothing for other forms
/// (absolute, authority, `*`), a fragment, bytes that must be encoded, and a
/// path with bad escapes, control characters or invalid UTF-8.
std::optional<request_target> parse_target(std::string_view target);

/// Encodes everything but the unreserved characters of RFC 3986.
std::string percent_encode(std::string_view text);

/// Whether `text` is well-formed UTF-8 (RFC 3629).
bool is_utf8(std::string_view text);

} // namespace tillstream

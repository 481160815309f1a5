#pragma once

#include "messages/model/http.hpp"

#include <string>
#include <string_view>

/// @file actors/http/gzip.hpp
/// Smaller answers for those who can unpack them.

namespace tillstream {

/// Packs bytes (RFC 1952). @param level 1, quick, to 9, small.
std::string gzip(std::string_view bytes, int level);

/// Whether the request takes gzip (RFC 9110, 12.5.3): named, or by `*`, and not
/// with `q=0`.
bool accepts_gzip(const http_request& request);

/// Packs the body of `reply` quickly if the request takes that and it is worth
/// it: within `limits::gzip_bytes_min` and `gzip_bytes_max`.
void pack(http_reply& reply, const http_request& request);

} // namespace tillstream

#pragma once

#include "messages/model/http.hpp"

#include <string>
#include <string_view>

/// @file actors/http/gzip.hpp
/// Compressed answers for clients that accept them.

namespace tillstream {

/// Packs bytes (RFC 1952). @param level 1, quick, to 9, small.
std::string gzip(std::string_view bytes, int level);

/// The same reply, its body packed quickly if the request takes that and it is
/// worth it: within `limits::gzip_bytes_min` and `gzip_bytes_max`. A body that
/// is packed is not copied first.
http_reply pack(const http_reply& reply, const http_request& request);

} // namespace tillstream

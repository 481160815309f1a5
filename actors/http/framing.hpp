#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

/// @file actors/http/framing.hpp
/// Where a request's header section ends and how long its body is, decided on
/// the raw bytes and stricter than RFC 9112 asks. Beast 1.81 parses what passed
/// here; a request on which the two could disagree is refused, so that nothing
/// can be smuggled behind it.

namespace tillstream {

/// What is known of a header section.
struct request_framing {
  enum class verdict : uint8_t {
    /// The section's end has not arrived.
    incomplete,
    /// `header_bytes` and `body_bytes` are set.
    complete,
    /// Not HTTP/1.x as we want it; `reason` says why.
    malformed,
    /// Has a `Transfer-Encoding`: we want a `Content-Length`.
    transfer_encoding,
  };

  verdict outcome = verdict::incomplete;
  /// Bytes of the section, its empty line included.
  size_t header_bytes = 0;
  /// The value of `Content-Length`, 0 without one.
  uint64_t body_bytes = 0;
  std::string_view reason;
};

/// Scans the bytes of a connection from a request's first one on. Refuses
/// lines that end in anything but CRLF, folded lines, control characters,
/// names that are no tokens or have a space before the colon, more than one
/// `Content-Length` or `Host`, and lengths that are not plain digits.
/// Linear in the size of `bytes`.
request_framing scan_request(std::string_view bytes);

/// Whether `c` may stand in a token (RFC 9110, 5.6.2).
bool is_token_char(char c);

} // namespace tillstream

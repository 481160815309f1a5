#include "actors/http/gzip.hpp"

#include "actors/http/header_values.hpp"
#include "messages/core/limits.hpp"

#include <zlib.h>

#include <new>
#include <stdexcept>

namespace tillstream {

namespace {

constexpr int quick = 1;
/// zlib's largest window, and 16 more for gzip's own frame.
constexpr int gzip_window_bits = 15 + 16;
constexpr int default_memory = 8;

} // namespace

std::string gzip(std::string_view bytes, int level) {
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, gzip_window_bits, default_memory,
                   Z_DEFAULT_STRATEGY)
      != Z_OK)
    throw std::bad_alloc{};
  std::string result(deflateBound(&stream, bytes.size()), '\0');
  // zlib's interface is older than const.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  auto outcome = deflate(&stream, Z_FINISH);
  result.resize(stream.total_out);
  deflateEnd(&stream);
  if (outcome != Z_STREAM_END)
    throw std::logic_error{"deflateBound was too small"};
  return result;
}

http_reply pack(const http_reply& reply, const http_request& request) {
  http_reply result{reply.status, reply.content_type, reply.headers, {}};
  result.headers.emplace_back("Vary", "Accept-Encoding");
  auto size = reply.body.size();
  if (size < limits::gzip_bytes_min || size > limits::gzip_bytes_max
      || !accepts_gzip(request)) {
    result.body = reply.body;
    return result;
  }
  result.body = gzip(reply.body, quick);
  result.headers.emplace_back("Content-Encoding", "gzip");
  return result;
}

} // namespace tillstream

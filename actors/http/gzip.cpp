#include "actors/http/gzip.hpp"

#include "messages/core/limits.hpp"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <new>
#include <stdexcept>

namespace tillstream {

namespace {

constexpr int quick = 1;
/// zlib's largest window, and 16 more for gzip's own frame.
constexpr int gzip_window_bits = 15 + 16;
constexpr int default_memory = 8;

std::string_view next_part(std::string_view& rest, char separator) {
  auto end = rest.find(separator);
  auto result = rest.substr(0, end);
  rest
    = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  auto first = result.find_first_not_of(" \t");
  if (first == std::string_view::npos)
    return {};
  return result.substr(first, result.find_last_not_of(" \t") - first + 1);
}

bool same_word(std::string_view x, std::string_view lower) {
  return std::equal(
    x.begin(), x.end(), lower.begin(), lower.end(),
    [](unsigned char a, char b) { return std::tolower(a) == b; });
}

/// `q=0`, `q=0.0` and so on.
bool is_refused(std::string_view parameters) {
  auto weight = next_part(parameters, ';');
  return weight.size() >= 3 && (weight[0] == 'q' || weight[0] == 'Q')
         && weight.substr(1).find_first_not_of("=0.") == std::string_view::npos;
}

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

bool accepts_gzip(const http_request& request) {
  auto accepted
    = request.header("accept-encoding").value_or(std::string_view{});
  auto by_star = false;
  while (!accepted.empty()) {
    auto parameters = next_part(accepted, ',');
    auto coding = next_part(parameters, ';');
    if (same_word(coding, "gzip"))
      return !is_refused(parameters);
    if (coding == "*")
      by_star = !is_refused(parameters);
  }
  return by_star;
}

void pack(http_reply& reply, const http_request& request) {
  reply.headers.emplace_back("Vary", "Accept-Encoding");
  auto size = reply.body.size();
  if (size < limits::gzip_bytes_min || size > limits::gzip_bytes_max
      || !accepts_gzip(request))
    return;
  reply.body = gzip(reply.body, quick);
  reply.headers.emplace_back("Content-Encoding", "gzip");
}

} // namespace tillstream

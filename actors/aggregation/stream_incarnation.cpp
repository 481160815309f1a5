#include "actors/aggregation/stream_incarnation.hpp"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

namespace tillstream {

namespace {

constexpr char separator = '#';

/// How often the stream came back shorter.
int relapses(std::string_view incarnation) {
  auto at = incarnation.rfind(separator);
  int result = 0;
  if (at != std::string_view::npos)
    std::from_chars(incarnation.data() + at + 1,
                    incarnation.data() + incarnation.size(), result);
  return result;
}

} // namespace

std::string
next_incarnation(const branch_cursor& cursor, const stream_state& stream) {
  std::string_view incarnation = cursor.stream_incarnation;
  if (incarnation.substr(0, incarnation.rfind(separator)) != stream.incarnation)
    return stream.incarnation;
  if (stream.last_seq >= cursor.stream_seq)
    return cursor.stream_incarnation;
  return fmt::format("{}{}{}", stream.incarnation, separator,
                     relapses(incarnation) + 1);
}

} // namespace tillstream

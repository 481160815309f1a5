#include "actors/aggregation/stream_incarnation.hpp"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

namespace tillstream {

namespace {

constexpr char separator = '#';

/// How often the stream came back shorter.
int relapses(std::string_view life) {
  auto at = life.rfind(separator);
  int result = 0;
  if (at != std::string_view::npos)
    std::from_chars(life.data() + at + 1, life.data() + life.size(), result);
  return result;
}

} // namespace

std::string next_life(const branch_cursor& cursor, const stream_state& stream) {
  std::string_view life = cursor.stream_incarnation;
  if (life.substr(0, life.rfind(separator)) != stream.incarnation)
    return stream.incarnation;
  if (stream.last_seq >= cursor.stream_seq)
    return cursor.stream_incarnation;
  return fmt::format("{}{}{}", stream.incarnation, separator,
                     relapses(life) + 1);
}

} // namespace tillstream

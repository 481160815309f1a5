#include "actors/query/buckets.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>

namespace tillstream {

namespace {

/// In the order of the enumeration.
constexpr std::array<std::string_view, 4> names{"hour", "day", "week", "month"};

} // namespace

std::string_view to_string(bucket_size x) {
  return names[static_cast<size_t>(x)];
}

std::optional<bucket_size> find_bucket_size(std::string_view name) {
  auto i = std::find(names.begin(), names.end(), name);
  if (i == names.end())
    return std::nullopt;
  return static_cast<bucket_size>(i - names.begin());
}

calendar_day bucket_start(calendar_day day, bucket_size step) {
  switch (step) {
    case bucket_size::week:
      return week_start(day);
    case bucket_size::month:
      return month_start(day);
    default:
      return day;
  }
}

calendar_day next_bucket(calendar_day first, bucket_size step) {
  switch (step) {
    case bucket_size::week:
      return first + std::chrono::weeks{1};
    case bucket_size::month:
      return next_month(first);
    default:
      return first + std::chrono::days{1};
  }
}

} // namespace tillstream

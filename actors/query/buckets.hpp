#pragma once

#include "messages/core/time.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

/// @file actors/query/buckets.hpp
/// The spans of time that a series counts by.

namespace tillstream {

enum class bucket_size : uint8_t { hour, day, week, month };

std::string_view to_string(bucket_size x);

/// @returns nothing when `name` is no size.
std::optional<bucket_size> find_bucket_size(std::string_view name);

/// First day of the bucket that `day` is in. @pre `step` is not `hour`
calendar_day bucket_start(calendar_day day, bucket_size step);

/// First day of the bucket behind the one that begins with `first`.
calendar_day next_bucket(calendar_day first, bucket_size step);

} // namespace tillstream

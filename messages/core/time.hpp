#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tillstream {

/// An instant, in milliseconds since 1970 UTC. All our times have this
/// resolution, in the database too, so that what is shown is what is stored.
using timestamp = std::chrono::time_point<std::chrono::system_clock,
                                          std::chrono::milliseconds>;

/// A calendar date without a zone, e.g. a business day.
using calendar_day
  = std::chrono::time_point<std::chrono::system_clock,
                            std::chrono::duration<int64_t, std::ratio<86400>>>;

constexpr timestamp from_ms(int64_t ms) {
  return timestamp{std::chrono::milliseconds{ms}};
}

constexpr int64_t to_ms(timestamp t) {
  return t.time_since_epoch().count();
}

/// Reads RFC 3339 with an offset (`2019-04-01T07:01:20.5-04:00`); digits
/// beyond the millisecond are cut off. A leap second (`:60`) counts as the
/// following second. @returns nothing when `text` is anything else, or a date
/// that does not exist.
std::optional<timestamp> parse_rfc3339(std::string_view text);

/// Renders `2019-04-01T11:01:20.500Z`, the form of every reply.
std::string to_rfc3339(timestamp t);

/// Renders `2019-04-01T07:01:20-04:00` (without milliseconds).
std::string to_rfc3339_local(timestamp t, std::chrono::seconds utc_offset);

/// Reads `YYYY-MM-DD`, years 1900 to 2999.
std::optional<calendar_day> parse_day(std::string_view text);

/// Renders `YYYY-MM-DD`.
std::string to_string(calendar_day day);

/// ISO weekday, 1 = Monday to 7 = Sunday.
int iso_weekday(calendar_day day);

/// The Monday of `day`'s ISO week.
calendar_day week_start(calendar_day day);

/// The first day of `day`'s month.
calendar_day month_start(calendar_day day);

/// The first day of the month after `day`'s.
calendar_day next_month(calendar_day day);

/// The node's clock. Only for durations and logs; what is kept or promised
/// uses the database's.
timestamp wall_clock_now();

} // namespace tillstream

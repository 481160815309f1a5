#include "messages/model/chain.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"

#include <date/tz.h>
#include <fmt/format.h>

#include <algorithm>
#include <exception>

namespace tillstream {

namespace {

using namespace std::chrono_literals;

using std::chrono::days;
using std::chrono::floor;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

bool id_before(const branch& x, std::string_view id) {
  return x.id < id;
}

// -- the clock ----------------------------------------------------------------

date::sys_info info_at(const date::time_zone& zone, timestamp t) {
  return zone.get_info(date::floor<seconds>(t));
}

/// The instant at which the clock began to show the hour that it shows at `t`:
/// the full hour, or the instant of a shift that set the clock into it.
timestamp hour_start(const date::sys_info& info, timestamp t) {
  auto local = t.time_since_epoch() + info.offset;
  auto full_hour = floor<seconds>(t - (local - floor<hours>(local)));
  // Compared in seconds: the first interval begins 'always', which
  // milliseconds cannot hold.
  return std::max(full_hour, info.begin);
}

} // namespace

const branch* chain::find(std::string_view branch_id) const {
  auto i
    = std::lower_bound(branches.begin(), branches.end(), branch_id, id_before);
  return i != branches.end() && i->id == branch_id ? &*i : nullptr;
}

chain default_chain() {
  chain result;
  for (auto i : {1, 2, 3}) {
    auto& x = result.branches.emplace_back();
    x.id = fmt::format("branch-{}", i);
    x.name = fmt::format("Branch {}", i);
  }
  return result;
}

bool valid_branch_id(std::string_view id) {
  auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !id.empty() && id.size() <= limits::id_code_points_max
         && std::all_of(id.begin(), id.end(), is_allowed);
}

caf::expected<branch_clock> branch_clock::make(const branch& where) {
  try {
    branch_clock result;
    result.zone_ = date::locate_zone(where.time_zone);
    result.day_start_minutes_ = where.day_start_minutes;
    // The rules are read at first use, and may turn out to be unreadable.
    info_at(*result.zone_, timestamp{});
    return result;
  } catch (const std::exception&) {
    // The library's own words name paths of this machine.
    return caf::make_error(
      errc::invalid, fmt::format("time zone {} of branch {} is unknown here",
                                 where.time_zone, where.id));
  }
}

business_time branch_clock::at(timestamp t) const {
  auto info = info_at(*zone_, t);
  auto shifted = t + info.offset - minutes{day_start_minutes_};
  business_time result;
  result.day = floor<days>(shifted);
  result.minute = static_cast<int>((shifted - result.day) / 1min);
  result.hour = hour_start(info, t);
  return result;
}

std::chrono::seconds branch_clock::utc_offset(timestamp t) const {
  return info_at(*zone_, t).offset;
}

timestamp branch_clock::begin_of(calendar_day day) const {
  auto local
    = date::local_seconds{day.time_since_epoch() + minutes{day_start_minutes_}};
  auto info = zone_->get_info(local);
  if (info.result == date::local_info::nonexistent)
    return info.first.end;
  // Of two instants that show the same time, `first` has the earlier one.
  return timestamp{local.time_since_epoch() - info.first.offset};
}

std::vector<local_hour>
local_hours(const branch_clock& clock, calendar_day from, calendar_day to) {
  std::vector<local_hour> result;
  auto add = [&](timestamp start, seconds utc_offset) {
    if (result.empty() || result.back().start < start)
      result.push_back({start, utc_offset});
  };
  auto begin = clock.begin_of(from);
  for (auto day = from; day <= to; day += days{1}) {
    auto end = clock.begin_of(day + days{1});
    auto offset = clock.utc_offset(begin);
    auto first = clock.at(begin).hour;
    if (offset == clock.utc_offset(end - 1ms)) {
      add(first, clock.utc_offset(first));
      for (auto t = clock.at(begin + 1h).hour; t < end; t += 1h)
        add(t, offset);
    } else {
      // The clock is set on this day; zones shift by quarters of an hour.
      for (auto t = begin; t < end; t += 15min) {
        auto hour = clock.at(t).hour;
        add(hour, clock.utc_offset(hour));
      }
    }
    begin = end;
  }
  return result;
}

} // namespace tillstream

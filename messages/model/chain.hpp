#pragma once

#include "messages/core/money.hpp"
#include "messages/core/time.hpp"

#include <caf/expected.hpp>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace date {

class time_zone;

} // namespace date

namespace tillstream {

/// A shop of the chain.
struct branch {
  /// `[A-Za-z0-9_-]{1,64}`
  std::string id;
  std::string name;
  /// IANA name, e.g. `America/New_York`.
  std::string time_zone = "UTC";
  /// When the business day begins, in minutes after local midnight, 0..1439.
  int day_start_minutes = 0;

  friend bool operator==(const branch&, const branch&) = default;
};

/// The company whose tills we serve.
struct chain {
  std::string name = "Tillstream";
  tillstream::currency currency;
  /// Ordered by id.
  std::vector<branch> branches;

  /// @returns the branch, or null when the chain does not have it.
  const branch* find(std::string_view branch_id) const;
};

/// Shared between threads; replaced, never changed.
using chain_ptr = std::shared_ptr<const chain>;

/// `branch-1` to `branch-3` in UTC, USD.
chain default_chain();

/// Tells whether `id` is `[A-Za-z0-9_-]{1,64}`.
bool valid_branch_id(std::string_view id);

/// Where an instant falls in a branch's day. Stamped once, when the purchase
/// is recorded, so that a rebuild gives the same days.
struct business_time {
  /// The date in the branch's zone, shifted by its day start.
  calendar_day day;
  /// The instant at which the local clock hour began: full, or where a shift
  /// of the clock set it into the hour.
  timestamp hour;
  /// Minutes of the local clock since the day start, 0..1439. On the day that
  /// has an hour twice, both fall on the same minutes.
  int minute = 0;

  friend bool operator==(const business_time&, const business_time&) = default;
};

/// A branch's clock. Cheap to copy, thread-safe.
class branch_clock {
public:
  /// @returns `errc::invalid` when the zone is unknown to this machine.
  static caf::expected<branch_clock> make(const branch& where);

  /// Source: CONTRACT, 'business day'.
  business_time at(timestamp t) const;

  /// UTC offset in force at `t`.
  std::chrono::seconds utc_offset(timestamp t) const;

  /// First instant of a business day; the day ends where the next begins, so
  /// a day has 23, 24 or 25 hours. A day start that the clock skips counts
  /// from the instant of the skip; of one that it shows twice the first counts.
  timestamp begin_of(calendar_day day) const;

private:
  /// Lives as long as the process.
  const date::time_zone* zone_ = nullptr;
  int day_start_minutes_ = 0;
};

/// An hour as the local clock shows it.
struct local_hour {
  timestamp start;
  /// In force at `start`.
  std::chrono::seconds utc_offset;
};

/// The hours that the clock shows on the business days `from`..`to`, in order.
/// A day has 23 to 25 of them.
std::vector<local_hour>
local_hours(const branch_clock& clock, calendar_day from, calendar_day to);

} // namespace tillstream

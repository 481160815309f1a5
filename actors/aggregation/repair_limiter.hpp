#pragma once

#include <caf/actor_clock.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>

/// @file actors/aggregation/repair_limiter.hpp
/// Keeps thousands of branches from mending themselves all at once.

namespace tillstream {

/// Bounds of a MEND GATE.
struct repair_limiter_limits {
  /// Looks for what keeps a branch waiting, a second: each is one row read by
  /// its key, seldom more. All of 3,000 branches have had theirs in a minute.
  double looks_per_second = 50;
  /// Looks at once after a quiet time.
  double looks_burst = 10;
  /// Branches that have their events published again at the same time. The
  /// OUTBOX RELAY does one after the other; this is how long its queue may get.
  size_t republish_max = 8;
};

/// Shared by the shards of a node. An overload makes every branch wait, and
/// what each does about it must not add to the load. Thread-safe.
class repair_limiter {
public:
  using time_point = caf::actor_clock::time_point;
  using ticket = std::shared_ptr<const bool>;

  explicit repair_limiter(repair_limiter_limits bounds = {})
    : bounds_(bounds),
      looks_(bounds.looks_burst) {
    // nop
  }

  /// Whether a branch may look now for what it waits for; counts as a look.
  bool may_look(time_point now) {
    std::lock_guard guard{mutex_};
    auto passed = std::chrono::duration<double>(now - filled_at_).count();
    filled_at_ = now;
    looks_
      = std::min(bounds_.looks_burst,
                 looks_ + std::max(passed, 0.0) * bounds_.looks_per_second);
    if (looks_ < 1)
      return false;
    looks_ -= 1;
    return true;
  }

  /// Lets a branch have its events published again for as long as the ticket
  /// lives. @returns null when enough others do.
  ticket enter() {
    auto inside = inside_;
    if (inside->fetch_add(1) >= bounds_.republish_max) {
      inside->fetch_sub(1);
      return nullptr;
    }
    return {new bool{true}, [inside](const bool* x) {
              delete x;
              inside->fetch_sub(1);
            }};
  }

private:
  repair_limiter_limits bounds_;
  std::mutex mutex_;
  double looks_;
  time_point filled_at_ = {};
  /// Outlives us with the last ticket.
  std::shared_ptr<std::atomic<size_t>> inside_
    = std::make_shared<std::atomic<size_t>>(0);
};

using repair_limiter_ptr = std::shared_ptr<repair_limiter>;

} // namespace tillstream

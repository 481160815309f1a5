#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>

/// @file actors/aggregation/repair_limiter.hpp
/// Keeps thousands of branches from repairing themselves all at once. No
/// actor: the shards of a node share it.

namespace tillstream {

/// Bounds of a REPAIR LIMITER.
struct repair_limiter_limits {
  /// Probes for what keeps a branch waiting, a second: each is one row read by
  /// its key, seldom more. All of 3,000 branches have had theirs in a minute.
  double probes_per_second = 50;
  /// Probes at once after a quiet time.
  double probes_burst = 10;
  /// Branches that have their events published again at the same time. The
  /// OUTBOX RELAY does one after the other; this is how long its queue may get.
  size_t republish_max = 8;
};

/// An overload makes every branch wait, and what each does about it must not
/// add to the load: probes are limited in rate, repairs in number. Thread-safe.
class repair_limiter {
public:
  using time_point = std::chrono::steady_clock::time_point;
  using permit = std::shared_ptr<const bool>;

  explicit repair_limiter(repair_limiter_limits bounds = {});

  /// Whether a branch may probe now for what it waits for; counts as a probe.
  bool may_probe(time_point now);

  /// Lets a branch have its events published again for as long as the permit
  /// lives. @returns null when enough others do.
  permit acquire();

private:
  repair_limiter_limits bounds_;
  std::mutex mutex_;
  double probes_;
  time_point filled_at_ = {};
  /// Outlives us with the last permit.
  std::shared_ptr<std::atomic<size_t>> permits_
    = std::make_shared<std::atomic<size_t>>(0);
};

using repair_limiter_ptr = std::shared_ptr<repair_limiter>;

} // namespace tillstream

#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

/// @file actors/cluster/lease.hpp
/// For how long a node may speak for its branches.

namespace tillstream {

/// Counts also while the machine sleeps: a lease must not outlive that.
struct boot_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<boot_clock>;
  static constexpr bool is_steady = true;

  static time_point now() {
    timespec t{};
    ::clock_gettime(CLOCK_BOOTTIME, &t);
    return time_point{std::chrono::seconds{t.tv_sec}
                      + std::chrono::nanoseconds{t.tv_nsec}};
  }
};

/// The node's lease by its own clock. OWNERSHIP renews it, SHARD MANAGER reads
/// it; any thread. It ends before the one in the database does: it counts
/// from before the renewal was sent.
class lease {
public:
  using time_point = boot_clock::time_point;

  explicit lease(std::function<time_point()> now = boot_clock::now)
    : now_(std::move(now)) {
    // nop
  }

  time_point now() const {
    return now_();
  }

  /// @param until Counted from before the renewal was sent.
  void renew(int64_t incarnation, time_point until) {
    std::lock_guard guard{mutex_};
    incarnation_ = incarnation;
    until_ = until;
  }

  /// Whether this incarnation holds. False for one that was never announced:
  /// what is known about the branches of another one is void.
  bool holds(int64_t incarnation) const {
    auto now = now_();
    std::lock_guard guard{mutex_};
    return incarnation_ == incarnation && incarnation != 0 && now < until_;
  }

  bool holds() const {
    auto now = now_();
    std::lock_guard guard{mutex_};
    return incarnation_ != 0 && now < until_;
  }

private:
  std::function<time_point()> now_;
  mutable std::mutex mutex_;
  int64_t incarnation_ = 0;
  time_point until_;
};

using lease_ptr = std::shared_ptr<lease>;

} // namespace tillstream

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>

/// @file actors/intake/commit_pacer.hpp
/// How a TRANSACTION WRITER that rests learns that there is nobody to wait for.
/// No actor: to count them, its mailbox would have to wake it for each.

namespace tillstream {

/// Counts the purchases that were sent to a TRANSACTION WRITER. One thread at a
/// time sleeps on it; any thread counts. Thread-safe.
class arrivals {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// One more, which was sent before: who wakes up is to find it.
  void add() {
    auto count = count_.fetch_add(1) + 1;
    if (count < wanted_.load())
      return;
    // Either the sleeper sees the count before it sleeps, or we see what it
    // wants; the lock keeps the call from coming between its look and its
    // sleep.
    std::lock_guard guard{mutex_};
    enough_.notify_one();
  }

  uint64_t count() const {
    return count_.load();
  }

  /// Sleeps until `count() >= wanted`, at most until `deadline`.
  void await(uint64_t wanted, time_point deadline) {
    std::unique_lock guard{mutex_};
    wanted_ = wanted;
    enough_.wait_until(guard, deadline, [&] { return count() >= wanted; });
    wanted_ = nothing;
  }

private:
  static constexpr auto nothing = std::numeric_limits<uint64_t>::max();

  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> wanted_{nothing};
  std::mutex mutex_;
  std::condition_variable enough_;
};

using arrivals_ptr = std::shared_ptr<arrivals>;

} // namespace tillstream

#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>

/// @file actors/intake/commit_pacer.hpp
/// No actor: to count arrivals, its mailbox would have to wake the writer for
/// each.

namespace tillstream {

/// Commit pacing: decides how long a TRANSACTION WRITER waits between two small
/// commits, so that more purchases share the next one. Thread-safe: the writer
/// waits, any thread counts arrivals.
///
///     ── commit ──┬── window, at most as long as the commit ──┬── commit ──
///                 └── ends when as many have arrived as were  ┘
///                     answered (docs/decisions/0018)
///
/// A commit costs the machine as much as five purchases, so at half load it is
/// the many small ones that make sales wait. A window opens only where it saves
/// commits and costs nobody more than one:
///
/// - Purchases already arrive while a commit runs: several must have arrived
///   during the last one. At a few hundred sales a second they do not, as each
///   commit is over before the next purchases come, and nobody waits.
/// - Or the last window ended because all were back: these are tills that wait
///   for their answers, and a window costs them next to nothing.
/// - It is never longer than the commit before it.
class commit_pacer {
public:
  using clock_type = std::chrono::steady_clock;
  using time_point = clock_type::time_point;

  /// Purchases of a commit that a window follows, and arrivals during it. One
  /// or two may come from tills that sell one after the other; many are a batch
  /// already.
  static constexpr size_t paced_min = 3;
  static constexpr size_t paced_max = 31;

  /// A commit that was answered.
  struct commit {
    size_t purchases = 0;
    time_point began;
    time_point ended;

    /// How many purchases had arrived when it began.
    uint64_t arrivals_before = 0;

    /// The same when it was durable and nobody was answered yet.
    uint64_t arrivals = 0;
  };

  /// @param window_max From one commit's begin to the next one's at most; 0:
  /// no pacing.
  explicit commit_pacer(std::chrono::microseconds window_max
                        = std::chrono::microseconds{0})
    : window_max_(window_max) {
    // nop
  }

  /// Counts a purchase that was sent to the writer before: if this wakes the
  /// writer, it must find it.
  void arrived() {
    auto count = arrivals_.fetch_add(1) + 1;
    if (count < wanted_.load())
      return;
    // Either the writer sees the count before it waits, or we see what it
    // wants; the lock keeps the call from coming between its check and its
    // wait.
    std::lock_guard guard{mutex_};
    enough_.notify_one();
  }

  uint64_t arrivals() const {
    return arrivals_.load();
  }

  /// When the next commit should begin at the latest; nothing: at once.
  std::optional<time_point> window_end(const commit& last) const {
    if (last.purchases < paced_min || last.purchases > paced_max)
      return std::nullopt;
    if (last.arrivals - last.arrivals_before < paced_min && !all_returned_)
      return std::nullopt;
    auto took = last.ended - last.began;
    auto end
      = std::min<time_point>(last.began + window_max_, last.ended + took);
    return end > last.ended ? std::optional{end} : std::nullopt;
  }

  /// Waits until the next commit should begin: the window is over, or all who
  /// were answered are back. Tills that wait for their answers come again at
  /// once and no others do, so that the wait is short; tills that sell as
  /// customers come are more than were answered, and it is whole.
  void pace(const commit& last) {
    auto end = window_end(last);
    all_returned_ = end && await(expected_returns(last), *end);
  }

  /// The count of arrivals at which all who were answered are back.
  static uint64_t expected_returns(const commit& last) {
    return last.arrivals + last.purchases;
  }

  /// Waits until `arrivals() >= wanted`, at most until `deadline`.
  /// @returns whether as many arrived.
  bool await(uint64_t wanted, time_point deadline) {
    std::unique_lock guard{mutex_};
    wanted_ = wanted;
    auto result = enough_.wait_until(guard, deadline,
                                     [&] { return arrivals() >= wanted; });
    wanted_ = nothing;
    return result;
  }

private:
  static constexpr auto nothing = std::numeric_limits<uint64_t>::max();

  std::chrono::microseconds window_max_;
  /// The last window ended as all were back. The writer's.
  bool all_returned_ = false;
  std::atomic<uint64_t> arrivals_{0};
  std::atomic<uint64_t> wanted_{nothing};
  std::mutex mutex_;
  std::condition_variable enough_;
};

using commit_pacer_ptr = std::shared_ptr<commit_pacer>;

} // namespace tillstream

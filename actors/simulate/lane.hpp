#pragma once

#include "actors/simulate/sale.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace tillstream::commands {

/// A sale and when it is to be posted.
struct due_sale {
  sale what;
  /// Absent: as soon as the till is free.
  std::optional<std::chrono::steady_clock::time_point> due;
};

/// The queue in front of one till. Thread-safe.
class sale_lane {
public:
  /// Sales waiting for one till: enough that it never idles, few enough that
  /// shoppers know the customers that answers named.
  static constexpr size_t waiting_max = 16;

  /// Waits for room. @returns false when `stop` was set meanwhile.
  bool push(due_sale x, const std::atomic<bool>& stop);

  /// Waits for a sale. @returns nothing when the lane is closed and empty, or
  ///                           `stop` is set.
  std::optional<due_sale> pop(const std::atomic<bool>& stop);

  /// No more sales come.
  void close();

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<due_sale> waiting_;
  bool closed_ = false;
};

/// Which lane a POS has: one for itself as long as there are lanes, then by
/// hash. Remembers no more names than lanes.
class lane_plan {
public:
  /// @pre lanes > 0
  explicit lane_plan(size_t lanes) : lanes_(lanes) {
    // nop
  }

  size_t lane_of(const sale& x);

  /// How many lanes have a POS.
  size_t used() const {
    return own_.size();
  }

private:
  size_t lanes_;
  std::map<std::pair<std::string, std::string>, size_t> own_;
};

} // namespace tillstream::commands

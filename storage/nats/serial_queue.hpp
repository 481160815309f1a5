#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <utility>

namespace tillstream::storage::jetstream {

/// Runs a function on items in the order in which they were added, without a
/// lock held and never on two threads at once.
///
/// A thread that finds another one running leaves its items to it. The function
/// may add items and call `run` itself: they come after the current one.
template <class T>
class serial_queue {
public:
  explicit serial_queue(std::function<void(T)> f) : f_(std::move(f)) {
    // nop
  }

  /// To be called with the lock held that decides about the order.
  void add(T item) {
    std::lock_guard guard{mutex_};
    items_.push_back(std::move(item));
  }

  /// To be called without that lock.
  void run() {
    std::unique_lock guard{mutex_};
    if (running_)
      return;
    running_ = true;
    while (!items_.empty()) {
      auto item = std::move(items_.front());
      items_.pop_front();
      guard.unlock();
      f_(std::move(item));
      guard.lock();
    }
    running_ = false;
  }

private:
  std::function<void(T)> f_;
  std::mutex mutex_;
  std::deque<T> items_;
  bool running_ = false;
};

} // namespace tillstream::storage::jetstream

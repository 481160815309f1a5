#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace tillstream {

/// An immutable value that one thread replaces as a whole and any thread reads.
/// Null until the first is set.
///
/// Holds a mutex for as long as it takes to copy a pointer:
/// `std::atomic<std::shared_ptr>` of Debian 12's library unlocks too weakly
/// for ThreadSanitizer, and Debian 13's deprecates the free functions.
template <class T>
class snapshot_holder {
public:
  std::shared_ptr<const T> get() const {
    std::lock_guard guard{mutex_};
    return current_;
  }

  void set(std::shared_ptr<const T> next) {
    std::lock_guard guard{mutex_};
    // The last one may be large: it goes when `next` does, after the unlock.
    current_.swap(next);
  }

private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> current_;
};

template <class T>
using snapshot_holder_ptr = std::shared_ptr<snapshot_holder<T>>;

} // namespace tillstream

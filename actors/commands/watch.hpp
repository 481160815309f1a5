#pragma once

#include <atomic>
#include <mutex>
#include <string>

namespace tillstream::commands {

/// Why a node gave up, if it did. Told by any thread, asked by `main`'s.
class give_up {
public:
  void tell(std::string reason) {
    std::lock_guard guard{mutex_};
    reason_ = std::move(reason);
    happened_ = true;
  }

  bool happened() const {
    return happened_;
  }

  std::string reason() const {
    std::lock_guard guard{mutex_};
    return reason_;
  }

private:
  mutable std::mutex mutex_;
  std::string reason_;
  std::atomic<bool> happened_{false};
};

} // namespace tillstream::commands

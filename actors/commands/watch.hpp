#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace tillstream::commands {

/// Why a node gave up, if it did. Set by any thread, read by `main`'s.
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

/// How long `ready` waits: thousands of branches take a while to load.
constexpr auto ready_max = std::chrono::seconds{60};

/// Waits until a node says at `/readyz` that every part of it is there, at
/// most `ready_max`, or until it gives up.
/// @returns whether it is ready.
bool wait_until_ready(const std::string& host, uint16_t port,
                      const give_up& end);

} // namespace tillstream::commands

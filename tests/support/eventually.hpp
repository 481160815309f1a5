#pragma once

#include <chrono>
#include <thread>

namespace tillstream::test {

/// Waits until `condition` holds. @returns whether it did in time.
template <class F>
bool eventually(F condition, std::chrono::milliseconds timeout
                             = std::chrono::seconds{30}) {
  auto end = std::chrono::steady_clock::now() + timeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
  return true;
}

} // namespace tillstream::test

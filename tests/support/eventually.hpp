#pragma once

#include <chrono>
#include <thread>

namespace tillstream::test {

/// Waits until `holds()`, at most `timeout`; checks every few milliseconds.
template <class Predicate>
bool eventually(Predicate holds, std::chrono::milliseconds timeout
                                 = std::chrono::seconds{30}) {
  auto end = std::chrono::steady_clock::now() + timeout;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
  return true;
}

} // namespace tillstream::test

#pragma once

#include <caf/actor_clock.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <unordered_map>

namespace tillstream {

/// Slows down repeated failures to sign in from one address: after
/// `free_failures` wrong keys the wait is a second, and doubles with each
/// further one up to `wait_max`. A success forgets the failures, and so does
/// time.
///
/// Our keys cannot be guessed, with or without this; it keeps a broken script,
/// or somebody who tries, from filling the log and the metrics.
///
/// One thread. Bounded: above `addresses_max` the whole node waits as one.
class sign_in_guard {
public:
  using time_point = caf::actor_clock::time_point;

  static constexpr int free_failures = 5;
  static constexpr std::chrono::seconds wait_max{60};
  /// Failures this old count no more.
  static constexpr std::chrono::minutes memory_max{15};
  static constexpr size_t addresses_max = 4096;

  /// @returns how long this address has to wait; zero: it may try.
  std::chrono::milliseconds
  wait_for(const std::string& address, time_point now) const;

  void failed(const std::string& address, time_point now);

  void succeeded(const std::string& address);

private:
  struct entry {
    int failures = 0;
    time_point last;
  };

  const std::string& place_of(const std::string& address) const;
  void sweep(time_point now);

  std::unordered_map<std::string, entry> entries_;
};

} // namespace tillstream

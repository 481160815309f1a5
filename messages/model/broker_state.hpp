#pragma once

#include <chrono>
#include <string>

/// @file messages/model/broker_state.hpp
/// What STREAM CONSUMER publishes of the broker.

namespace tillstream {

/// Whether the broker was there when it was checked last. A reading that is not
/// renewed is old: its writer may hang in a call.
struct broker_state {
  bool connected = false;
  /// Why not.
  std::string reason;
  /// By the actors' clock.
  std::chrono::steady_clock::time_point checked_at;
};

} // namespace tillstream

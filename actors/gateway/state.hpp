#pragma once

#include "actors/gateway/call.hpp"
#include "actors/gateway/options.hpp"
#include "actors/gateway/rate_limiter.hpp"
#include "actors/gateway/sign_in_guard.hpp"
#include "messages/core/metrics.hpp"
#include "messages/core/uuid.hpp"

#include <caf/actor_clock.hpp>
#include <caf/stateful_actor.hpp>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace tillstream {

/// State of the GATEWAY.
struct gateway_state {
  gateway_state() = default;

  static inline const char* name = "gateway";

  gateway_options options;

  rate_limiter limiter;

  sign_in_guard guard;

  /// Names the sign-ins that this node opens.
  uuid_source ids;

  /// Set by `atom::drain`.
  bool draining = false;

  /// Purchases that the writers have, in the order of their deadlines. A
  /// timeout of each request wakes the clock's thread for every sale.
  struct submitted {
    caf::actor_clock::time_point deadline;
    gateway_call_ptr call;
    purchase_ptr what;
  };
  std::map<uint64_t, submitted> submits;
  uint64_t last_submit = 0;
  /// A `tick` is scheduled.
  bool tick_sent = false;

  /// Requests for `/readyz` that wait for the current round.
  std::vector<gateway_call_ptr> ready_calls;

  /// What the parts answered in this round.
  std::vector<readiness> ready_parts;

  /// Counters by route and status, so that the registry is asked once for each.
  std::map<std::pair<const route*, int>, counter*> request_counters;
  std::map<const route*, histogram*> request_seconds;
};

using gateway_pointer = gateway_impl::stateful_pointer<gateway_state>;

} // namespace tillstream

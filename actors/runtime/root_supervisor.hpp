#pragma once

#include "messages/protocol/runtime.hpp"

#include <caf/actor_cast.hpp>
#include <caf/actor_control_block.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tillstream {

/// A top-level actor of the node.
struct top_actor {
  template <class Handle>
  top_actor(std::string who, const Handle& what)
    : name(std::move(who)),
      handle(caf::actor_cast<caf::strong_actor_ptr>(what)) {
    // nop
  }

  std::string name;
  caf::strong_actor_ptr handle;
};

/// Tuning of the ROOT SUPERVISOR.
struct root_supervisor_options {
  /// Actors that end together, in the order in which they end: clients before
  /// those that answer them.
  std::vector<std::vector<top_actor>> stages = {};

  /// How long one stage may take before it is killed.
  caf::timespan stage_grace = std::chrono::seconds{5};

  /// Called once, on a thread of the scheduler, when a top-level actor ended
  /// though nobody asked it to: the node must stop. Must not block.
  std::function<void(const std::string& reason)> on_give_up = nullptr;
};

/// The ROOT SUPERVISOR with what it sends to itself.
using root_supervisor_impl = root_supervisor_actor::extend<
  // The grace period of this stage is over.
  caf::reacts_to<atom::tick, uint64_t>>;

/// State of the ROOT SUPERVISOR.
struct root_supervisor_state {
  root_supervisor_state() = default;

  /// Answers pending requests for the shutdown.
  ~root_supervisor_state();

  static inline const char* name = "root-supervisor";

  root_supervisor_options options;

  /// Index of the stage that ends now; only meaningful while `closing`.
  size_t stage = 0;

  bool closing = false;

  bool gave_up = false;

  /// Whether all actors ended in time so far.
  bool in_time = true;

  std::vector<caf::typed_response_promise<bool>> waiting;
};

/// Watches the top-level actors of a node and ends them in order.
///
/// - Promise: the first top-level actor that ends unasked is reported to
///   `on_give_up`, once, with its name and reason. `close` ends stage after
///   stage and is answered when none is left.
/// - Thread: cooperative; no handler blocks.
/// - Limits: one entry a top-level actor.
/// - Failure: when it ends itself, pending requests for `close` get `false`.
/// - Shutdown: a stage that outlives its grace period is killed, and the next
///   one begins: a detached actor inside a blocking call can't be waited for.
root_supervisor_impl::behavior_type root_supervisor(
  root_supervisor_impl::stateful_pointer<root_supervisor_state> self,
  root_supervisor_options options);

} // namespace tillstream

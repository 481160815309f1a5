#pragma once

#include "actors/runtime/backoff.hpp"
#include "actors/runtime/snapshot_holder.hpp"
#include "actors/runtime/spawn.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/metrics.hpp"

#include <caf/actor_clock.hpp>
#include <caf/actor_system.hpp>
#include <caf/atom.hpp>
#include <caf/replies_to.hpp>
#include <caf/result.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/system_messages.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tillstream {

/// Tuning of a SUPERVISOR.
struct supervisor_options {
  /// What the children are called in logs and metrics.
  std::string name;

  /// Children of one kind behind one address, taken in turn.
  size_t children = 1;

  /// More restarts than this within `restart_window` end the supervisor. What
  /// comes back by itself (a database, the broker) restarts nobody; five
  /// exceptions in a minute are a bug that a sixth start will not mend.
  size_t restarts_max = 5;
  caf::timespan restart_window = std::chrono::seconds{60};

  /// Between the end of a child and the start of the next.
  caf::timespan backoff_min = limits::backoff_min;
  caf::timespan backoff_max = limits::backoff_max;

  /// How long children may take to end before they are killed.
  caf::timespan shutdown_grace = std::chrono::seconds{5};

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();
};

/// Starts one child, e.g. by `spawn_actor<caf::detached>(*parent, …)`. Runs in
/// the supervisor: it must not block.
template <class Handle>
using child_factory = std::function<Handle(caf::local_actor* parent)>;

/// Makes a factory that also publishes the child, for clients that save the hop
/// over the supervisor. While no child runs they find the last one, which
/// answers that it is gone.
template <class Handle>
child_factory<Handle> publish_child(std::shared_ptr<snapshot_holder<Handle>> where,
                                    child_factory<Handle> spawn_child) {
  return [where = std::move(where),
          spawn_child = std::move(spawn_child)](caf::local_actor* parent) {
    auto child = spawn_child(parent);
    where->set(std::make_shared<const Handle>(child));
    return child;
  };
}

namespace detail {

/// Which restarts a supervisor grants, and how soon.
class restart_policy {
public:
  using time_point = caf::actor_clock::time_point;

  explicit restart_policy(const supervisor_options& options);

  /// Notices the end of a child. @returns the wait before the next one starts;
  /// nothing when the budget is used up.
  std::optional<caf::timespan> admit(time_point now);

private:
  size_t restarts_max_;
  caf::timespan window_;
  backoff backoff_;
  /// Restarts inside the window, oldest first.
  std::deque<time_point> recent_;
};

void log_child_end(const std::string& name, const caf::error& reason,
                   std::optional<caf::timespan> restart_in);
void log_shutdown_kill(const std::string& name);
counter& restarts_of(const std::string& name);

using restart_atom = caf::atom_constant<caf::atom("restart")>;
using kill_atom = caf::atom_constant<caf::atom("kill")>;

template <class Signature>
struct forwarder;

/// Makes the handler that passes one kind of message on.
template <class... In, class... Out>
struct forwarder<
  caf::typed_mpi<caf::detail::type_list<In...>, caf::output_tuple<Out...>>> {
  template <class Self>
  static auto make(Self* self) {
    return [self](In&... xs) -> caf::result<Out...> {
      auto& state = self->state;
      if (state.end_reason)
        return caf::make_error(errc::shutting_down, state.options.name);
      auto child = state.pick();
      if (!child)
        return caf::make_error(errc::unavailable,
                               state.options.name + " restarts");
      return self->delegate(child, std::move(xs)...);
    };
  }
};

template <class Handle>
struct supervisor_state {
  supervisor_state() = default;

  static inline const char* name = "supervisor";

  /// The next living child in turn; null when there is none.
  Handle pick() {
    for (size_t i = 0; i < children.size(); ++i) {
      next = (next + 1) % children.size();
      if (children[next])
        return children[next];
    }
    return {};
  }

  bool alive() const {
    for (auto& child : children)
      if (child)
        return true;
    return false;
  }

  supervisor_options options;

  child_factory<Handle> spawn_child;

  /// A null handle waits for its restart.
  std::vector<Handle> children;

  size_t next = 0;

  std::optional<restart_policy> policy;

  /// Set once shutdown began: what to quit with when all children are gone.
  std::optional<caf::error> end_reason;
};

template <class Handle>
struct supervisor;

template <class... Sigs>
struct supervisor<caf::typed_actor<Sigs...>> {
  using handle = caf::typed_actor<Sigs...>;
  using own_handle = typename handle::template extend<
    // INTERNAL: The backoff of this child is over.
    caf::reacts_to<restart_atom, uint64_t>,
    // INTERNAL: The grace period of a shutdown is over.
    caf::reacts_to<kill_atom>>;
  using self_pointer =
    typename own_handle::template stateful_pointer<supervisor_state<handle>>;

  static void start_child(self_pointer self, size_t slot) {
    auto& child = self->state.children[slot];
    assert(!child);
    child = self->state.spawn_child(self);
    // Each call to `monitor` adds another DOWN: exactly one call per child.
    self->monitor(child);
  }

  /// Asks all children to end; the last DOWN ends the supervisor.
  static void begin_shutdown(self_pointer self, const caf::error& exit_reason,
                             caf::error end_reason) {
    auto& state = self->state;
    if (state.end_reason)
      return;
    if (!state.alive()) {
      self->quit(std::move(end_reason));
      return;
    }
    state.end_reason = std::move(end_reason);
    for (auto& child : state.children)
      self->send_exit(child, exit_reason);
    self->delayed_send(self, state.options.shutdown_grace, kill_atom::value);
  }

  static void child_ended(self_pointer self, size_t slot, caf::error reason) {
    auto& state = self->state;
    state.children[slot] = nullptr;
    if (state.end_reason) {
      if (!state.alive())
        self->quit(*state.end_reason);
      return;
    }
    auto wait = state.policy->admit(self->clock().now());
    log_child_end(state.options.name, reason, wait);
    if (wait) {
      self->delayed_send(self, *wait, restart_atom::value, uint64_t{slot});
      return;
    }
    if (!reason)
      reason = caf::make_error(errc::internal,
                               state.options.name + " ended by itself");
    begin_shutdown(self, caf::exit_reason::user_shutdown, std::move(reason));
  }

  static void on_down(self_pointer self, caf::down_msg& msg) {
    auto& children = self->state.children;
    for (size_t slot = 0; slot < children.size(); ++slot)
      if (children[slot] && msg.source == children[slot])
        return child_ended(self, slot, std::move(msg.reason));
  }

  static void restart(self_pointer self, uint64_t slot) {
    if (self->state.end_reason)
      return;
    restarts_of(self->state.options.name).add();
    start_child(self, slot);
  }

  static void kill(self_pointer self) {
    log_shutdown_kill(self->state.options.name);
    for (auto& child : self->state.children)
      self->send_exit(child, caf::exit_reason::kill);
  }

  static typename own_handle::behavior_type
  run(self_pointer self, supervisor_options options,
      child_factory<handle> spawn_child) {
    assert(options.children > 0);
    auto& state = self->state;
    state.options = std::move(options);
    state.spawn_child = std::move(spawn_child);
    state.policy.emplace(state.options);
    state.children.resize(state.options.children);
    // There from the start: what appears with its first increase cannot be
    // seen to increase.
    restarts_of(state.options.name);
    self->set_down_handler([self](caf::down_msg& msg) { on_down(self, msg); });
    self->set_exit_handler([self](caf::exit_msg& msg) {
      begin_shutdown(self, msg.reason, msg.reason);
    });
    for (size_t slot = 0; slot < state.children.size(); ++slot)
      start_child(self, slot);
    return {
      forwarder<Sigs>::make(self)...,
      [self](restart_atom, uint64_t slot) { restart(self, slot); },
      [self](kill_atom) { kill(self); },
    };
  }
};

} // namespace detail

/// Starts a SUPERVISOR: keeps children of one kind alive behind one
/// stable address with their own interface.
///
/// Every message is delegated, so the reply travels straight back and the
/// supervisor holds no promise that could be lost. Clients never see a child.
///
/// - Thread: cooperative; no handler blocks.
/// - Limits: none of its own: it queues nothing.
/// - Failure: a child that ends is replaced after a backoff; until then, if no
///   other child lives, requests are answered `errc::unavailable` at once and
///   messages without a reply are dropped. Beyond `restarts_max` in
///   `restart_window` the supervisor ends with the child's reason and leaves
///   the decision to its own supervisor.
/// - Shutdown: an exit message goes on to the children; requests are answered
///   `errc::shutting_down`; it quits when all are gone. Those that take longer
///   than `shutdown_grace` are killed.
template <class Handle>
Handle spawn_supervisor(caf::actor_system& sys, supervisor_options options,
                        child_factory<Handle> spawn_child) {
  return spawn_actor(sys, detail::supervisor<Handle>::run, std::move(options),
                     std::move(spawn_child));
}

} // namespace tillstream

#include "actors/cluster/ownership.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/stateful_actor.hpp>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <memory>
#include <utility>

namespace tillstream {

namespace {

using self_pointer = ownership_impl::stateful_pointer<ownership_state>;
using time_point = ownership_state::time_point;
using stage = ownership_state::stage;
using phase = membership::phase;

using namespace std::chrono_literals;

constexpr std::string_view log_session_lost = "ownership.session_lost";
constexpr std::string_view log_acquired = "ownership.branches_acquired";
constexpr std::string_view log_released = "ownership.branches_released";
constexpr std::string_view log_superseded = "node.superseded";
constexpr std::string_view log_left = "node.left";

struct ownership_metrics {
  counter& changes(const char* kind) {
    return metrics().get_counter("tillstream_ownership_changes_total",
                                 "Branches that this node acquired, released "
                                 "or lost.",
                                 metric_label("kind", kind));
  }

  counter& acquired = changes("acquired");
  counter& released = changes("released");
  counter& lost = changes("lost");
  counter& failed_heartbeats
    = metrics().get_counter("tillstream_heartbeats_failed_total",
                            "Heartbeats that the database refused.");
  gauge& nodes = metrics().get_gauge("tillstream_nodes", "Nodes that live.");
  gauge& holds = metrics().get_gauge("tillstream_lease_holds",
                                     "1 while the node's lease holds.");
  histogram& handovers = metrics().get_histogram(
    "tillstream_handover_seconds",
    "How long a branch had no owner between two nodes, orderly moves only.",
    1e3);
};

ownership_metrics& stats() {
  static ownership_metrics instance;
  return instance;
}

time_point now_of(self_pointer self) {
  return self->state.node.now();
}

bool is_leaving(const ownership_state& state) {
  return state.at != stage::running;
}

void tick_in(self_pointer self, caf::timespan wait) {
  self->delayed_send(self, wait, atom::tick_v, uint64_t{++self->state.tick_no});
}

/// Branches are about to change hands: ticks come often for a while.
void tick_soon(self_pointer self) {
  self->state.tick_soon_until = now_of(self) + limits::hurry_max;
}

void facts_changed(ownership_state& state) {
  state.branches.facts_changed();
  state.view_due = true;
}

/// A call failed: the session is opened anew, which is not tried too often.
void lose_session(self_pointer self, const caf::error& why) {
  auto& state = self->state;
  stats().failed_heartbeats.add();
  state.node.suspend_failure_detection();
  log::warning(log_session_lost, {{"error", describe(why)}});
  if (state.store.is_open())
    state.store.drop(self->clock().now(), why);
}

// -- announcing ---------------------------------------------------------------

/// Announces to SHARD MANAGER what is ours. Always before the lease of that
/// incarnation is renewed for the first time.
void announce(self_pointer self) {
  auto& state = self->state;
  if (!state.options.shards)
    return;
  if (auto mine = state.branches.announce(state.facts))
    self->send(state.options.shards, atom::update_v, state.facts.incarnation,
               std::move(mine));
}

/// Shows how things stand in the metrics and in the node's view.
void publish_view(self_pointer self) {
  auto& state = self->state;
  const auto& nodes = state.facts.nodes;
  stats().nodes.set(std::count_if(nodes.begin(), nodes.end(),
                                  [](const auto& x) { return x.alive; }));
  stats().holds.set(state.node.lease_holds() ? 1 : 0);
  if (!state.options.view || !std::exchange(state.view_due, false))
    return;
  ownership_table table;
  for (const auto& x : state.facts.owners)
    if (is_owned(x, nodes))
      table.emplace(x.branch_id, x.node);
  state.options.view->set(std::move(table));
}

// -- heartbeats ---------------------------------------------------------------

/// @returns when the broker was last known to be there, by the lease's clock.
std::optional<time_point> broker_seen(self_pointer self) {
  const auto& broker = self->state.options.broker;
  if (!broker)
    return now_of(self);
  auto x = broker->get();
  if (!x || !x->connected)
    return std::nullopt;
  return now_of(self) - (self->clock().now() - x->checked_at);
}

int64_t lag_of(const ownership_options& options) {
  auto load = options.load ? options.load->get() : nullptr;
  return load ? load->lag_ms : 0;
}

/// @returns whether we are a node among the nodes now.
bool join(self_pointer self) {
  auto& state = self->state;
  auto failed = state.node.join(*state.store, state.facts);
  if (!failed) {
    state.branches.facts_changed();
    return true;
  }
  if (failed == errc::not_owner) {
    log::error(log_superseded, {{"node", state.node.name()}});
    self->quit(failed);
  } else {
    lose_session(self, failed);
  }
  return false;
}

/// Others declared us dead: whatever we knew to be ours is void.
void lapse(self_pointer self) {
  auto& state = self->state;
  stats().lost.add(state.branches.announced());
  state.node.lapse(state.facts);
  state.branches.lapse();
  announce(self);
}

/// Reads who owns what.
bool read_owners(self_pointer self) {
  auto& state = self->state;
  auto result = state.store->owners();
  if (!result) {
    state.branches.forget_owners();
    lose_session(self, result.error());
    return false;
  }
  state.facts.owners = std::move(*result);
  facts_changed(state);
  return true;
}

/// Renews the lease and reads how things stand.
/// @returns whether we are a living node that knows.
bool heartbeat(self_pointer self) {
  auto& state = self->state;
  if (!state.store.open(self->clock().now())) {
    state.node.suspend_failure_detection();
    return false;
  }
  if (state.node.at() != phase::member && !join(self))
    return false;
  auto outcome
    = state.node.heartbeat(*state.store, state.facts, lag_of(state.options));
  if (!outcome) {
    lose_session(self, outcome.error());
    return false;
  }
  if (!outcome->kept) {
    lapse(self);
    return false;
  }
  if (membership::set_nodes(state.facts, std::move(outcome->nodes)))
    facts_changed(state);
  if (state.branches.owners_changed(outcome->digest) && !read_owners(self))
    return false;
  announce(self);
  state.node.renew_lease(state.facts);
  return true;
}

void detect_failures(self_pointer self) {
  auto& state = self->state;
  auto declared = state.node.detect_failures(*state.store, state.facts);
  if (state.node.suspects_anybody())
    tick_soon(self);
  // Also of a call that failed half-way.
  if (!declared || *declared > 0)
    facts_changed(state);
  if (!declared)
    lose_session(self, declared.error());
}

// -- acquiring ----------------------------------------------------------------

void acquire(self_pointer self) {
  auto& state = self->state;
  const auto& wanted = state.branches.plan().acquire;
  if (wanted.empty() || is_leaving(state))
    return;
  auto result
    = state.store->acquire(state.node.name(), state.facts.incarnation, wanted);
  if (!result) {
    lose_session(self, result.error());
    state.branches.forget_owners();
    return;
  }
  stats().acquired.add(result->size());
  for (const auto& x : *result)
    if (x.unowned_ms >= 0)
      stats().handovers.observe(static_cast<uint64_t>(x.unowned_ms));
  log::info(log_acquired, {{"node", state.node.name()},
                           {"branches", result->size()},
                           {"wanted", wanted.size()}});
  // Some are locked for a moment by the last apply of their last owner.
  if (result->size() < wanted.size())
    tick_soon(self);
  if (read_owners(self))
    announce(self);
}

// -- releasing ----------------------------------------------------------------

/// SHARD MANAGER has ended the batch's shards: releases the branches.
void batch_stopped(self_pointer self, uint64_t number) {
  auto& state = self->state;
  const auto* batch = state.branches.stopped(number);
  if (batch == nullptr)
    return;
  if (!state.store.is_open()) {
    state.branches.release_failed();
    return;
  }
  auto done = state.store->release(state.node.name(), state.facts.incarnation,
                                   batch->branches);
  if (!done) {
    lose_session(self, done.error());
    state.branches.release_failed();
    return;
  }
  stats().released.add(batch->branches.size());
  log::info(log_released, {{"node", state.node.name()},
                           {"branches", batch->branches.size()},
                           {"first_to", batch->branches.front().second}});
  state.branches.released(now_of(self));
  tick_in(self, limits::hurry_interval);
}

void release(self_pointer self) {
  auto& state = self->state;
  auto ids = state.branches.begin(state.facts, now_of(self), is_leaving(state),
                                  state.node.ineligible_since());
  if (!ids)
    return;
  tick_soon(self);
  auto number = state.branches.batch_number();
  self
    ->request(state.options.shards, caf::duration{limits::lot_stopped_max},
              atom::close_v, std::move(ids))
    .then([self, number](bool) { batch_stopped(self, number); },
          // It is killed or gone: what it had in hand is refused by its epoch
          // or lands before the release, which waits for it.
          [self, number](caf::error&) { batch_stopped(self, number); });
}

// -- the end ------------------------------------------------------------------

void answer_drained(self_pointer self, bool outcome) {
  for (auto& x : std::exchange(self->state.draining, {}))
    x.deliver(outcome);
}

/// Everything is stopped: releases what is left and ends the lease.
void leave(self_pointer self) {
  auto& state = self->state;
  auto* store = state.store.is_open() ? &*state.store : nullptr;
  auto done = state.node.leave(store, state.facts);
  if (!done)
    lose_session(self, done.error());
  state.at = stage::left;
  stats().holds.set(0);
  log::info(log_left, {{"node", state.node.name()}});
  answer_drained(self, done && *done);
}

void end_shards(self_pointer self) {
  auto& state = self->state;
  state.at = stage::ending;
  if (!state.options.shards) {
    leave(self);
    return;
  }
  self
    ->request(state.options.shards, caf::duration{limits::lot_stopped_max},
              atom::drain_v)
    .then([self](bool) { leave(self); }, [self](caf::error&) { leave(self); });
}

/// Whether there is nothing more to hand over in order.
bool may_end(self_pointer self, bool knows) {
  const auto& state = self->state;
  if (now_of(self) - state.leaving_since >= state.options.leave_max)
    return true;
  return knows && state.branches.done();
}

caf::result<bool> drain(self_pointer self) {
  auto& state = self->state;
  if (state.at == stage::left)
    return true;
  auto promise = self->make_response_promise<bool>();
  state.draining.push_back(promise);
  if (state.at == stage::running) {
    state.at = stage::handing_over;
    state.leaving_since = now_of(self);
    if (state.node.at() != phase::closed)
      tick_in(self, 0s);
    else
      end_shards(self);
  }
  return promise;
}

// -- the round ----------------------------------------------------------------

/// @returns whether the picture is whole.
bool do_round(self_pointer self) {
  auto& state = self->state;
  state.node.update_eligibility(broker_seen(self), is_leaving(state));
  if (!heartbeat(self))
    return false;
  if (!state.options.shards)
    return state.store.is_open();
  detect_failures(self);
  state.branches.settle(state.facts, now_of(self));
  if (state.branches.update_plan(state.facts))
    tick_soon(self);
  if (state.store.is_open())
    acquire(self);
  release(self);
  return state.store.is_open();
}

caf::timespan next_wait(self_pointer self) {
  const auto& state = self->state;
  auto result = state.node.heartbeat_interval();
  // A node that was declared dead comes back at once.
  auto soon = now_of(self) < state.tick_soon_until || is_leaving(state)
              || (state.store.is_open() && state.node.at() != phase::member);
  if (soon)
    result = std::min<caf::timespan>(result, limits::hurry_interval);
  return result;
}

void tick(self_pointer self, uint64_t number) {
  fault_point("ownership.tick");
  auto& state = self->state;
  if (number != state.tick_no || state.node.at() == phase::closed
      || state.at > stage::handing_over)
    return;
  auto knows = do_round(self);
  publish_view(self);
  if (is_leaving(state) && may_end(self, knows)) {
    end_shards(self);
    return;
  }
  tick_in(self, next_wait(self));
}

void set_branches(self_pointer self, const strings_ptr& ids) {
  auto& state = self->state;
  auto sorted = *ids;
  std::sort(sorted.begin(), sorted.end());
  if (sorted == state.facts.branches)
    return;
  state.facts.branches = std::move(sorted);
  state.branches.facts_changed();
  if (state.node.at() != phase::closed && !is_leaving(state))
    tick_in(self, 0s);
}

readiness readiness_of(self_pointer self) {
  const auto& state = self->state;
  if (state.node.lease_holds())
    return {state.name, true, ""};
  return {state.name, false,
          state.store.is_open() ? "the lease ran out"
                                : describe(state.store.error())};
}

} // namespace

ownership_state::~ownership_state() {
  for (auto& x : draining)
    x.deliver(caf::make_error(errc::shutting_down, "ownership ended"));
}

ownership_impl::behavior_type
ownership_manager(self_pointer self, ownership_options options) {
  assert(options.open_store && options.own_lease && !options.who.name.empty());
  install_handlers(self);
  auto& state = self->state;
  state.options = std::move(options);
  state.store = {state.options.open_store, state.options.seed};
  state.facts.node = state.options.who.name;
  state.node = {state.options.who, state.options.lease_duration,
                state.options.own_lease};
  return {
    [self](atom::open, const std::string& http) {
      self->state.node.open(http);
      tick_in(self, 0s);
    },
    [self](atom::update, const strings_ptr& ids) { set_branches(self, ids); },
    [self](atom::ready) { return readiness_of(self); },
    [self](atom::drain) { return drain(self); },
    [self](atom::tick, uint64_t number) { tick(self, number); },
  };
}

} // namespace tillstream

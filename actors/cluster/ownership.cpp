#include "actors/cluster/ownership.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/stateful_actor.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <memory>
#include <utility>

namespace tillstream {

namespace {

using self_pointer = ownership_actor::stateful_pointer<ownership_state>;
using time_point = ownership_state::time_point;

using namespace std::chrono_literals;

constexpr std::string_view log_joined = "node-joined";
constexpr std::string_view log_lapsed = "lease-lapsed";
constexpr std::string_view log_lost = "ownership-session-lost";
constexpr std::string_view log_superseded = "another-process-has-our-name";
constexpr std::string_view log_dead = "node-declared-dead";
constexpr std::string_view log_taken = "branches-taken";
constexpr std::string_view log_given = "branches-given-away";
constexpr std::string_view log_left = "node-left";
constexpr std::string_view log_unwilling = "broker-away-no-branches-wanted";
constexpr std::string_view log_willing = "branches-wanted-again";

/// Beats of one lease: four may fail or be late.
constexpr int beats_per_lease = 5;

struct ownership_metrics {
  counter& changes(const char* kind) {
    return metrics().get_counter("tillstream_ownership_changes_total",
                                 "Branches that this node took, gave away or "
                                 "lost.",
                                 metric_label("kind", kind));
  }

  counter& taken = changes("taken");
  counter& given = changes("given");
  counter& lost = changes("lost");
  counter& lapsed = metrics().get_counter(
    "tillstream_leases_lapsed_total",
    "Times that others declared this node dead and it came back.");
  counter& declared
    = metrics().get_counter("tillstream_nodes_declared_dead_total",
                            "Leases of other nodes that this node ended.");
  counter& failed_beats = metrics().get_counter(
    "tillstream_beats_failed_total", "Heartbeats that the database refused.");
  gauge& nodes = metrics().get_gauge("tillstream_nodes", "Nodes that live.");
  gauge& holds = metrics().get_gauge("tillstream_lease_holds",
                                     "1 while the node's lease holds.");
  histogram& beats = metrics().get_histogram(
    "tillstream_beat_seconds", "A heartbeat from its sending to its answer.",
    1e6);
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
  return self->state.options.own_lease->now();
}

caf::timespan beat_interval(const ownership_state& state) {
  return state.options.lease / beats_per_lease;
}

/// Above this a beat was slow: our picture of the others is old.
caf::timespan quick_beat_max(const ownership_state& state) {
  return beat_interval(state);
}

void tick_in(self_pointer self, caf::timespan wait) {
  self->delayed_send(self, wait, atom::tick_v, uint64_t{++self->state.tick_no});
}

/// Something is about to change hands: looks often for a while.
void hurry(self_pointer self) {
  self->state.hurry_until = now_of(self) + limits::hurry_max;
}

/// What the tables say is not what it was.
void facts_changed(ownership_state& state) {
  state.dirty = true;
  state.view_due = true;
}

/// The database was away or slow for us, so it may have been for all: whoever
/// waits before it tries again must get to renew its lease first.
void doubt_others(self_pointer self) {
  auto& state = self->state;
  state.suspects.clear();
  state.judge_from
    = now_of(self) + limits::backoff_max + 2 * beat_interval(state);
}

/// A call failed: the session is opened anew, which is not tried too often.
void lose_session(self_pointer self, const caf::error& why) {
  auto& state = self->state;
  stats().failed_beats.add();
  doubt_others(self);
  log::warning(log_lost, {{"error", describe(why)}});
  if (state.store.is_open())
    state.store.drop(self->clock().now(), why);
}

// -- telling the others on this node ------------------------------------------

/// Tells SHARD MANAGER what is ours. Always before the lease of that
/// incarnation is renewed for the first time.
void tell_shards(self_pointer self) {
  auto& state = self->state;
  std::map<std::string, int64_t> mine;
  if (state.incarnation != 0)
    for (const auto& x : state.facts.owners)
      if (x.node == state.options.who.name
          && x.incarnation == state.incarnation)
        mine.emplace(x.branch_id, x.epoch);
  // What is being given away is ours for the tables only, if at all.
  if (state.giving)
    for (const auto& [id, next] : state.giving->branches)
      mine.erase(id);
  if (!state.options.shards
      || (mine == state.told && state.told_incarnation == state.incarnation))
    return;
  auto message = std::make_shared<std::vector<ownership>>();
  for (const auto& [id, epoch] : mine)
    message->push_back({id, state.options.who.name, epoch});
  self->send(state.options.shards, atom::update_v, state.incarnation,
             ownerships_ptr{std::move(message)});
  state.told = std::move(mine);
  state.told_incarnation = state.incarnation;
}

void show(self_pointer self) {
  auto& state = self->state;
  const auto& nodes = state.facts.nodes;
  stats().nodes.set(std::count_if(nodes.begin(), nodes.end(),
                                  [](const auto& x) { return x.alive; }));
  stats().holds.set(state.options.own_lease->holds() ? 1 : 0);
  if (!state.options.view || !std::exchange(state.view_due, false))
    return;
  ownership_table table;
  for (const auto& x : state.facts.owners)
    if (is_owned(x, nodes))
      table.emplace(x.branch_id, x.node);
  state.options.view->set(std::move(table));
}

// -- the broker ---------------------------------------------------------------

/// Asks SHARD MANAGER whether the broker is there; the answer counts at the
/// next beat.
void ask_for_broker(self_pointer self) {
  auto& state = self->state;
  if (!state.options.shards || state.asking_broker)
    return;
  state.asking_broker = true;
  self->request(state.options.shards, caf::duration{1s}, atom::state_v)
    .then(
      [self](const readiness& x) {
        self->state.asking_broker = false;
        if (x.ready)
          self->state.broker_seen = now_of(self);
      },
      [self](caf::error&) { self->state.asking_broker = false; });
}

void weigh_will(self_pointer self) {
  auto& state = self->state;
  auto now = now_of(self);
  if (!state.broker_seen || !state.options.shards)
    state.broker_seen = now;
  auto away = now - *state.broker_seen >= limits::broker_away_max;
  if (away && !state.unwilling_since) {
    log::warning(log_unwilling);
    state.unwilling_since = now;
  } else if (!away && state.unwilling_since) {
    log::info(log_willing);
    state.unwilling_since.reset();
  }
  state.willing = !away && !state.leaving_since;
}

// -- ourselves ----------------------------------------------------------------

/// @returns whether we are a node among the nodes now.
bool join(self_pointer self) {
  auto& state = self->state;
  auto result
    = state.store->join(state.options.who, state.options.lease, !state.joined);
  if (!result && result.error() == errc::not_owner) {
    log::error(log_superseded, {{"node", state.options.who.name}});
    self->quit(result.error());
    return false;
  }
  if (!result) {
    lose_session(self, result.error());
    return false;
  }
  state.joined = true;
  state.incarnation = *result;
  state.facts.incarnation = *result;
  state.dirty = true;
  log::info(log_joined, {{"node", state.options.who.name},
                         {"incarnation", state.incarnation}});
  return true;
}

/// Others took us for dead: whatever we knew to be ours is void.
void die(self_pointer self) {
  auto& state = self->state;
  stats().lapsed.add();
  stats().lost.add(state.told.size());
  log::warning(log_lapsed, {{"node", state.options.who.name},
                            {"branches", state.told.size()}});
  state.incarnation = 0;
  state.facts.incarnation = 0;
  state.giving.reset();
  state.dirty = true;
  // We were away, so we can't tell whether the broker was.
  state.broker_seen.reset();
  tell_shards(self);
}

/// Reads who owns what.
bool read_owners(self_pointer self) {
  auto& state = self->state;
  auto result = state.store->owners();
  if (!result) {
    // To be read again, whatever the next beat says.
    state.digest = {};
    lose_session(self, result.error());
    return false;
  }
  state.facts.owners = std::move(*result);
  facts_changed(state);
  return true;
}

/// Takes over what a beat brought. @returns whether we still live.
bool beat_answered(self_pointer self, storage::heartbeat_outcome& outcome,
                   time_point sent) {
  auto& state = self->state;
  if (!outcome.kept) {
    die(self);
    return false;
  }
  // What is asked of us, and what became of others, changes the plan; how long
  // they were silent does not.
  auto same = [](const node_state& x, const node_state& y) {
    return x.name == y.name && x.incarnation == y.incarnation
           && x.alive == y.alive && x.willing == y.willing
           && x.draining == y.draining && x.roles == y.roles;
  };
  if (!std::equal(outcome.nodes.begin(), outcome.nodes.end(),
                  state.facts.nodes.begin(), state.facts.nodes.end(), same))
    facts_changed(state);
  state.facts.nodes = std::move(outcome.nodes);
  if (outcome.digest != state.digest) {
    state.digest = outcome.digest;
    if (!read_owners(self))
      return false;
  }
  tell_shards(self);
  state.options.own_lease->renew(state.incarnation, sent + state.options.lease);
  return true;
}

/// Renews the lease and learns how things stand.
/// @returns whether we are a living node that knows.
bool beat(self_pointer self) {
  auto& state = self->state;
  if (!state.store.open(self->clock().now())) {
    doubt_others(self);
    return false;
  }
  if (state.incarnation == 0 && !join(self))
    return false;
  auto sent = now_of(self);
  storage::heartbeat_report news{state.options.who.name, state.incarnation,
                          state.willing,
                          metrics().largest("tillstream_branch_lag_ms")};
  auto outcome = state.store->heartbeat(news, state.options.lease);
  auto took = now_of(self) - sent;
  stats().beats.observe(static_cast<uint64_t>(
    std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  if (!outcome) {
    lose_session(self, outcome.error());
    return false;
  }
  if (took > quick_beat_max(state))
    doubt_others(self);
  return beat_answered(self, *outcome, sent);
}

// -- the others ---------------------------------------------------------------

/// Declares nodes dead whose lease ran out some time ago.
void bury(self_pointer self) {
  auto& state = self->state;
  if (now_of(self) < state.judge_from)
    return;
  decltype(state.suspects) suspects;
  for (auto& x : state.facts.nodes) {
    if (!x.alive || x.holds || x.name == state.options.who.name)
      continue;
    auto key = std::make_pair(x.name, x.incarnation);
    auto before = state.suspects.find(key);
    auto since = before != state.suspects.end() ? before->second : now_of(self);
    suspects.emplace(key, since);
    hurry(self);
    if (now_of(self) - since < limits::suspicion_min)
      continue;
    auto dead = state.store->declare_dead(x.name, x.incarnation);
    if (!dead) {
      lose_session(self, dead.error());
      return;
    }
    if (!*dead)
      continue;
    stats().declared.add();
    log::warning(log_dead, {{"node", x.name}, {"incarnation", x.incarnation}});
    x.alive = false;
    facts_changed(state);
  }
  state.suspects = std::move(suspects);
}

// -- taking -------------------------------------------------------------------

void make_plan(self_pointer self) {
  auto& state = self->state;
  if (!state.dirty)
    return;
  state.plan = plan_ownership(state.facts);
  state.dirty = false;
  if (!state.plan.give.empty() || state.plan.expecting)
    hurry(self);
}

void take(self_pointer self) {
  auto& state = self->state;
  if (state.plan.take.empty() || state.leaving_since)
    return;
  auto result = state.store->acquire(state.options.who.name, state.incarnation,
                                  state.plan.take);
  if (!result) {
    lose_session(self, result.error());
    state.digest = {};
    return;
  }
  stats().taken.add(result->size());
  for (const auto& x : *result)
    if (x.unowned_ms >= 0)
      stats().handovers.observe(static_cast<uint64_t>(x.unowned_ms));
  log::info(log_taken, {{"node", state.options.who.name},
                        {"branches", result->size()},
                        {"wanted", state.plan.take.size()}});
  // Some are locked for a moment by the last apply of who had them.
  if (result->size() < state.plan.take.size())
    hurry(self);
  if (read_owners(self))
    tell_shards(self);
}

// -- giving away --------------------------------------------------------------

void drop_settled_lot(self_pointer self) {
  auto& state = self->state;
  if (!state.giving || !state.giving->released_at)
    return;
  std::set<std::string> open;
  for (const auto& [id, next] : state.giving->branches)
    open.insert(id);
  for (const auto& x : state.facts.owners)
    if (!x.node.empty())
      open.erase(x.branch_id);
  if (open.empty()
      || now_of(self) - *state.giving->released_at >= limits::lot_taken_max)
    state.giving.reset();
}

/// Whether a node has looked at the tables since we began to give: then it
/// expects the branches, and looks often.
bool is_waiting(const ownership_state& state, const std::string& node,
                time_point now) {
  for (const auto& x : state.facts.nodes)
    if (x.name == node)
      return std::chrono::milliseconds{x.silent_ms} < now - *state.give_since;
  return false;
}

/// Without the broker, while others say that they have it: they may only be a
/// little later to lose it, or a little earlier to have it back.
bool in_doubt(const ownership_state& state, time_point now) {
  return state.unwilling_since && !state.leaving_since
         && now - *state.give_since < limits::broker_doubt_max;
}

size_t lot_size(const ownership_state& state) {
  // Whoever ends has little time, however much it has.
  constexpr size_t lots_at_end = 8;
  return state.leaving_since
           ? std::max(limits::handover_lot_max, state.told.size() / lots_at_end)
           : limits::handover_lot_max;
}

void lot_stopped(self_pointer self, uint64_t number) {
  auto& state = self->state;
  if (!state.giving || state.giving->number != number)
    return;
  if (state.store.is_open()) {
    auto& lot = *state.giving;
    auto done = state.store->release(state.options.who.name, state.incarnation,
                                     lot.branches);
    if (done) {
      stats().given.add(lot.branches.size());
      log::info(log_given, {{"node", state.options.who.name},
                            {"branches", lot.branches.size()},
                            {"first_to", lot.branches.front().second}});
      lot.released_at = now_of(self);
      tick_in(self, limits::hurry_interval);
      return;
    }
    lose_session(self, done.error());
  }
  // They are ours again, until we can write that they are not.
  state.giving.reset();
  state.digest = {};
  state.told.clear();
  state.told_incarnation = 0;
}

void give(self_pointer self) {
  auto& state = self->state;
  auto now = now_of(self);
  if (state.plan.give.empty()) {
    state.give_since.reset();
    return;
  }
  if (!state.give_since)
    state.give_since = now;
  if (state.giving || in_doubt(state, now))
    return;
  ownership_state::lot next;
  auto ids = std::make_shared<std::vector<std::string>>();
  for (const auto& x : state.plan.give) {
    if (next.branches.size() == lot_size(state))
      break;
    if (!is_waiting(state, x.second, now))
      continue;
    next.branches.push_back(x);
    ids->push_back(x.first);
  }
  if (ids->empty())
    return;
  hurry(self);
  next.number = ++state.lot_no;
  state.giving = std::move(next);
  for (const auto& id : *ids)
    state.told.erase(id);
  self
    ->request(state.options.shards, caf::duration{limits::lot_stopped_max},
              atom::close_v, strings_ptr{std::move(ids)})
    .then([self, number = state.lot_no](bool) { lot_stopped(self, number); },
          // It is killed or gone: what it had in hand is refused by its epoch
          // or lands before the release, which waits for it.
          [self, number
                 = state.lot_no](caf::error&) { lot_stopped(self, number); });
}

// -- the end ------------------------------------------------------------------

void answer_drained(self_pointer self, bool outcome) {
  for (auto& x : std::exchange(self->state.draining, {}))
    x.deliver(outcome);
}

/// Everything is stopped: lets go of what is left and ends the lease.
void leave(self_pointer self) {
  auto& state = self->state;
  auto outcome = state.incarnation == 0;
  if (!outcome && state.store.is_open()) {
    auto done = state.store->leave(state.options.who.name, state.incarnation);
    if (!done)
      lose_session(self, done.error());
    outcome = static_cast<bool>(done);
  }
  state.incarnation = 0;
  stats().holds.set(0);
  log::info(log_left, {{"node", state.options.who.name}});
  answer_drained(self, outcome);
}

void end_shards(self_pointer self) {
  auto& state = self->state;
  if (std::exchange(state.ending, true))
    return;
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
  if (now_of(self) - *state.leaving_since >= state.options.leave_max)
    return true;
  return knows && !state.giving && state.plan.give.empty();
}

caf::result<bool> drain(self_pointer self) {
  auto& state = self->state;
  auto promise = self->make_response_promise<bool>();
  state.draining.push_back(promise);
  if (!state.leaving_since) {
    state.leaving_since = now_of(self);
    if (state.opened)
      tick_in(self, 0s);
    else
      end_shards(self);
  } else if (state.incarnation == 0 && state.ending) {
    answer_drained(self, true);
  }
  return promise;
}

// -- the round ----------------------------------------------------------------

/// @returns whether the picture is whole.
bool do_round(self_pointer self) {
  auto& state = self->state;
  weigh_will(self);
  ask_for_broker(self);
  if (!beat(self))
    return false;
  if (state.options.shards) {
    bury(self);
    drop_settled_lot(self);
    make_plan(self);
    if (state.store.is_open())
      take(self);
    give(self);
  }
  return state.store.is_open();
}

caf::timespan next_wait(self_pointer self) {
  const auto& state = self->state;
  auto result = beat_interval(state);
  // A dead one comes back at once.
  auto often = now_of(self) < state.hurry_until || state.leaving_since
               || (state.store.is_open() && state.incarnation == 0);
  if (often)
    result = std::min<caf::timespan>(result, limits::hurry_interval);
  return result;
}

void tick(self_pointer self, uint64_t number) {
  fault_point("ownership.tick");
  auto& state = self->state;
  if (number != state.tick_no || !state.opened || state.ending)
    return;
  auto knows = do_round(self);
  show(self);
  if (state.leaving_since && may_end(self, knows)) {
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
  state.dirty = true;
  if (state.opened && !state.leaving_since)
    tick_in(self, 0s);
}

readiness tell(self_pointer self) {
  const auto& state = self->state;
  if (state.options.own_lease->holds())
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

ownership_actor::behavior_type
ownership_keeper(self_pointer self, ownership_options options) {
  assert(options.open_store && options.own_lease && !options.who.name.empty());
  install_handlers(self);
  auto& state = self->state;
  state.options = std::move(options);
  state.store = {state.options.open_store, state.options.seed};
  state.facts.node = state.options.who.name;
  return {
    [self](atom::open, const std::string& http) {
      self->state.options.who.http = http;
      self->state.opened = true;
      tick_in(self, 0s);
    },
    [self](atom::update, const strings_ptr& ids) { set_branches(self, ids); },
    [self](atom::ready) { return tell(self); },
    [self](atom::drain) { return drain(self); },
    [self](atom::tick, uint64_t number) { tick(self, number); },
  };
}

} // namespace tillstream

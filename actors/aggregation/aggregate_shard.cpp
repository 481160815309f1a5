#include "actors/aggregation/aggregate_shard.hpp"

#include "actors/aggregation/stream_incarnation.hpp"
#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/stateful_actor.hpp>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <unordered_set>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = aggregate_shard_actor::stateful_pointer<aggregate_shard_state>;
using phase = aggregate_shard_state::phase;
using work = aggregate_shard_state::work;
using sync = aggregate_shard_state::sync;
using time_point = aggregate_shard_state::time_point;

using namespace std::chrono_literals;

constexpr std::string_view log_load_failed = "shard-load-failed";
constexpr std::string_view log_apply_failed = "shard-apply-failed";
constexpr std::string_view log_misfit = "shard-memory-does-not-fit";
constexpr std::string_view log_not_owner = "shard-not-owner";
constexpr std::string_view log_reopened = "shard-stream-opened-again";
constexpr std::string_view log_forgot = "broker-forgot";
constexpr std::string_view log_republished = "broker-forgot-republished";
constexpr std::string_view log_republish_failed = "republish-failed";
constexpr std::string_view log_quarantined = "events-quarantined";
constexpr std::string_view log_unexpected = "shard-unexpected-cursor";

constexpr auto tick_interval = 1s;
/// The same for a branch that has nothing to do: thousands of them must cost
/// next to nothing.
constexpr auto idle_tick_interval = limits::incarnation_check_interval;
constexpr auto state_answer_max = 5s;
constexpr auto republish_answer_max = 30s;
/// Pending for this long: looked up in the event log, in case that a notice
/// came for what another shard or node has applied.
constexpr auto reconcile_interval = 30s;
/// The clocks of database and node may differ by this much.
constexpr auto clock_skew_max = 2s;

constexpr std::string_view lag_gauge_name = "tillstream_branch_lag_ms";

struct shard_metrics {
  histogram& lag
    = metrics().get_histogram("tillstream_end_to_end_lag_seconds",
                              "From recorded to applied, each event.", 1e3);
  gauge& pending
    = metrics().get_gauge("tillstream_pending_events",
                          "Committed and not yet applied, as the shards know.");
  counter& duplicates
    = metrics().get_counter("tillstream_deliveries_dropped_total",
                            "Deliveries that a shard had seen before.");
  counter& reloads = metrics().get_counter(
    "tillstream_shard_reloads_total",
    "Times that a shard dropped its memory and loaded the tables.");
  counter& forgotten = metrics().get_counter(
    "tillstream_broker_forgot_total",
    "Alarms: the stream of a branch is another, or ends before its cursor.");
  counter& stalls = metrics().get_counter(
    "tillstream_shard_stalls_total",
    "Times that pending events did not come and the branch was opened again.");
  counter& unpublished = metrics().get_counter(
    "tillstream_shard_waits_for_relay_total",
    "Times that pending events did not come because they were not published.");
  counter& slices = metrics().get_counter(
    "tillstream_chunks_loaded_total",
    "Pieces of the tables that shards loaded for questions.");
};

shard_metrics& stats() {
  static shard_metrics instance;
  return instance;
}

counter& reopened(branch_inbox::trouble why) {
  return metrics().get_counter(
    "tillstream_shard_reopens_total",
    "Times that a branch's deliveries were opened again, by reason.",
    metric_label("reason", to_string(why)));
}

const std::string& branch_of(self_pointer self) {
  return self->state.options.branch_id;
}

time_point now_of(self_pointer self) {
  return self->clock().now();
}

/// Starts whatever should be under way now.
void go_on(self_pointer self);

/// Ends the long waits of an idle branch: something is to be looked after.
void hurry(self_pointer self) {
  auto& state = self->state;
  auto soon = now_of(self) + tick_interval;
  if (state.next_tick <= soon)
    return;
  state.next_tick = soon;
  self->delayed_send(self, tick_interval, atom::tick_v);
}

/// Ends if we are to, unless an apply is under way: its events are to be
/// acknowledged, or the next owner gets them again.
bool end_if_idle(self_pointer self) {
  auto& state = self->state;
  auto applies = state.busy == work::applying || state.busy == work::adopting;
  if (!state.end_reason || applies)
    return false;
  self->quit(*state.end_reason);
  return true;
}

// -- answering ----------------------------------------------------------------

/// Adds what is pending to an answer.
/// Source: CONTRACT, 'Every answer has'.
void tell_progress(aggregate_shard_state& state, shard_answer& out) {
  auto now = state.options.now();
  auto oldest = state.pending.oldest();
  out.pending_events = state.pending.count();
  if (state.synced) {
    out.as_of = oldest ? *oldest - 1ms : now;
    out.lag_ms = oldest ? std::max<int64_t>((now - *oldest).count(), 0) : 0;
    return;
  }
  // What is pending beside the notices that came is not known yet.
  out.as_of = state.memory->cursor().recorded_at;
  if (oldest)
    out.as_of = std::min(out.as_of, *oldest - 1ms);
}

shard_answer_ptr
answer(aggregate_shard_state& state, const shard_query& query) {
  auto result = state.memory->answer(query);
  tell_progress(state, result);
  return std::make_shared<const shard_answer>(std::move(result));
}

void fail_queries(self_pointer self, const caf::error& why) {
  for (auto& x : std::exchange(self->state.queries, {}))
    x.promise.deliver(why);
}

/// Whether it will be known in a moment what is pending: an answer before that
/// says 0 of what waits.
bool is_learning(self_pointer self) {
  const auto& state = self->state;
  return !state.synced && now_of(self) < state.learning_until;
}

/// SHARD MANAGER only wants to know whether we have loaded.
bool is_held_back(self_pointer self, const shard_query& x) {
  return is_learning(self) && x.what != shard_query::kind::status;
}

/// Answers those at the front whose slices are all there.
/// @returns what the next one needs.
std::optional<slice_request> answer_queries(self_pointer self) {
  auto& state = self->state;
  for (auto x = state.queries.begin(); x != state.queries.end();) {
    if (auto slice = state.memory->missing(*x->query))
      return slice;
    if (is_held_back(self, *x->query)) {
      ++x;
      continue;
    }
    x->promise.deliver(answer(state, *x->query));
    x = state.queries.erase(x);
  }
  return std::nullopt;
}

caf::result<shard_answer_ptr>
ask(self_pointer self, const shard_query_ptr& query) {
  auto& state = self->state;
  auto full = state.queries.size() >= limits::shard_queries_max;
  if (state.at != phase::loading && !state.memory->missing(*query)
      && (full || !is_held_back(self, *query)))
    return answer(state, *query);
  if (full)
    return caf::make_error(errc::overloaded, "questions of " + branch_of(self));
  auto promise = self->make_response_promise<shard_answer_ptr>();
  state.queries.push_back(
    {query, promise, now_of(self) + limits::query_answer_max});
  hurry(self);
  go_on(self);
  return promise;
}

void expire_queries(self_pointer self) {
  auto& queries = self->state.queries;
  while (!queries.empty() && queries.front().deadline <= now_of(self)) {
    queries.front().promise.deliver(
      caf::make_error(errc::timeout, "question of " + branch_of(self)));
    queries.pop_front();
  }
}

// -- waiting for an event -----------------------------------------------------

/// Answers the waiters that `done` says are done.
template <class Predicate>
void release_waiters(self_pointer self, bool outcome, Predicate done) {
  auto& waiters = self->state.waiters;
  std::vector<aggregate_shard_state::waiter> rest;
  for (auto& x : waiters) {
    if (done(x))
      x.promise.deliver(outcome);
    else
      rest.push_back(std::move(x));
  }
  waiters = std::move(rest);
}

void release_applied(self_pointer self) {
  auto& pending = self->state.pending;
  if (!self->state.waiters.empty())
    release_waiters(self, true, [&](const auto& x) {
      return pending.recently_applied(x.event_id);
    });
}

void expire_waiters(self_pointer self) {
  auto now = now_of(self);
  if (!self->state.waiters.empty())
    release_waiters(self, false,
                    [now](const auto& x) { return x.deadline <= now; });
}

caf::result<bool> wait_for(self_pointer self, const uuid& event_id) {
  auto& state = self->state;
  if (state.pending.recently_applied(event_id))
    return true;
  // Nobody waits for what cannot be an event.
  if (!is_uuid7(event_id))
    return false;
  if (state.waiters.size() >= limits::after_waiters_max)
    return caf::make_error(errc::overloaded, "waiters of " + branch_of(self));
  auto promise = self->make_response_promise<bool>();
  auto check = state.at == phase::loading
               || (!state.pending.is_pending(event_id)
                   && state.pending.may_be_forgotten(event_id));
  state.waiters.push_back(
    {event_id, promise, now_of(self) + limits::after_wait_max, check});
  self->delayed_send(self, limits::after_wait_max, atom::tick_v);
  if (check)
    go_on(self);
  return promise;
}

/// Event ids of waiters that the log must be asked for.
std::vector<uuid> take_checks(aggregate_shard_state& state) {
  std::vector<uuid> result;
  for (auto& x : state.waiters) {
    if (!x.check || result.size() == limits::known_events_max)
      continue;
    x.check = false;
    result.push_back(x.event_id);
  }
  return result;
}

// -- the backlog --------------------------------------------------------------

void show_pending(aggregate_shard_state& state) {
  auto count = state.pending.count();
  stats().pending.add(count - state.shown_pending);
  state.shown_pending = count;
}

/// The oldest notice that may be missing.
timestamp sync_since(const aggregate_shard_state& state) {
  auto unread = state.pending.unread();
  // What lies before was read; commits overtake each other by less.
  if (state.synced && unread)
    return *unread - clock_skew_max;
  return state.memory->cursor().recorded_at - limits::backlog_margin;
}

/// Begins to hold back answers until it is known what is pending.
void learn(self_pointer self) {
  self->state.learning_until = now_of(self) + limits::shard_learn_max;
  self->delayed_send(self, limits::shard_learn_max, atom::tick_v);
}

void sync_failed(self_pointer self) {
  auto& state = self->state;
  state.learning_until = now_of(self);
  state.sync_at = sync::due;
  state.sync_due_at = now_of(self) + state.sync_wait->next();
  state.notices.clear();
  hurry(self);
}

/// Keeps what the outbox gave for the comparison with the event log.
void take_notices(self_pointer self, const commit_notices_ptr& notices) {
  auto& state = self->state;
  state.notices = *notices;
  state.notices_rest.reset();
  // What was made later may have a lower number than some of these, but not
  // than all: their batches would all have stood still at once.
  if (notices->size() >= state.options.notices_max)
    state.notices_rest
      = {std::ranges::max_element(*notices, {}, &commit_notice::recorded_at)
           ->recorded_at,
         std::ranges::min_element(*notices, {}, &commit_notice::seq)->seq};
  state.sync_at = sync::checking;
  go_on(self);
}

/// Reads what is committed, at the start and when counted events have room.
void begin_sync(self_pointer self) {
  auto& state = self->state;
  auto wanted
    = !state.synced || (state.pending.unread() && state.pending.has_room());
  if (state.at == phase::loading || !wanted || now_of(self) < state.sync_due_at
      || (state.sync_at != sync::due && state.sync_at != sync::done))
    return;
  state.sync_at = sync::reading;
  state.pending.begin_refill();
  auto round = ++state.sync_round;
  self
    ->request(state.options.purchases, limits::shard_load_max, atom::recent_v,
              branch_of(self), sync_since(state))
    .then(
      [self, round](const commit_notices_ptr& notices) {
        if (self->state.sync_round == round)
          take_notices(self, notices);
      },
      [self, round](caf::error&) {
        if (self->state.sync_round != round)
          return;
        sync_failed(self);
        go_on(self);
      });
}

/// Ends the comparison: `known` are applied.
void end_sync(self_pointer self, const std::vector<uuid>& known) {
  auto& state = self->state;
  std::unordered_set<uuid> applied{known.begin(), known.end()};
  std::vector<commit_notice> rest;
  for (auto& x : std::exchange(state.notices, {})) {
    if (applied.count(x.event_id) == 0)
      rest.push_back(std::move(x));
    else if (state.pending.is_pending(x.event_id))
      state.pending.apply(x.event_id, x.seq);
  }
  state.pending.refill(rest, state.notices_rest);
  state.sync_at = sync::done;
  state.synced = true;
  state.sync_wait->reset();
  show_pending(state);
  begin_sync(self);
}

/// Notices of other nodes may be missing: begins the comparison anew, also one
/// that is under way.
void sync_again(self_pointer self) {
  auto& state = self->state;
  ++state.sync_round;
  state.notices.clear();
  if (std::exchange(state.synced, false))
    learn(self);
  state.sync_at = sync::due;
  hurry(self);
  begin_sync(self);
}

/// What was pending and is known to the log is applied.
void reconcile(self_pointer self, const std::vector<uuid>& known) {
  auto& state = self->state;
  for (const auto& id : known)
    if (auto seq = state.pending.seq_of(id))
      state.pending.apply(id, *seq);
  show_pending(state);
  release_applied(self);
}

// -- loading ------------------------------------------------------------------

void load_later(self_pointer self) {
  auto& state = self->state;
  if (std::exchange(state.load_sent, true))
    return;
  self->delayed_send(self, state.load_wait->next(), atom::load_v);
}

/// Drops the memory: it may differ from the tables.
void lose_memory(self_pointer self) {
  auto& state = self->state;
  stats().reloads.add();
  state.at = phase::loading;
  state.busy = work::none;
  state.writing = {};
  state.batch.reset();
  state.batch_replies.clear();
  state.inbox->close();
  state.open_asked = false;
  state.stream.reset();
  state.notices.clear();
  ++state.sync_round;
  state.sync_at = sync::due;
  state.synced = false;
  hurry(self);
  if (!end_if_idle(self))
    load_later(self);
}

void loaded(self_pointer self, const branch_state& loaded_state) {
  auto& state = self->state;
  state.memory->reset(loaded_state);
  state.load_wait->reset();
  state.at = phase::opening;
  state.open_at = now_of(self);
  // What was applied before is not remembered one by one.
  state.pending.raise_horizon(state.options.now() + clock_skew_max);
  for (auto& x : state.waiters)
    x.check = true;
  // A commit in doubt may have applied what we hold as pending.
  state.reconcile_due = true;
  learn(self);
  begin_sync(self);
  go_on(self);
}

void load(self_pointer self) {
  auto& state = self->state;
  state.load_sent = false;
  if (state.at != phase::loading)
    return;
  auto& options = state.options;
  self
    ->request(options.reader, limits::shard_load_max, atom::load_v,
              options.branch_id)
    .then([self](const branch_state_ptr& x) { loaded(self, *x); },
          [self](caf::error& err) {
            log::warning(log_load_failed, {{"branch", branch_of(self)},
                                           {"error", describe(err)}});
            fail_queries(self, err);
            load_later(self);
          });
}

// -- reading pieces of the tables ---------------------------------------------

/// Loads a slice; nothing is applied meanwhile.
template <class F>
void read_slice(self_pointer self, slice_request what, F on_slice) {
  auto& state = self->state;
  assert(state.busy == work::none);
  state.busy = work::reading;
  state.queries_first = false;
  what.branch_id = branch_of(self);
  self
    ->request(state.options.reader, limits::shard_load_max, atom::load_v, what)
    .then(
      [self, what, on_slice](const slice_ptr& x) {
        self->state.busy = work::none;
        on_slice(self, what, *x);
        go_on(self);
      },
      [self, what](caf::error& err) {
        self->state.busy = work::none;
        log::warning(log_load_failed,
                     {{"branch", branch_of(self)}, {"error", describe(err)}});
        if (what.what != slice_request::kind::known_events)
          fail_queries(self, err);
        else if (self->state.sync_at == sync::checking)
          sync_failed(self);
        go_on(self);
      });
}

void read_for_query(self_pointer self, slice_request what) {
  stats().slices.add();
  read_slice(self, std::move(what),
             [](self_pointer s, const slice_request& asked, const slice& x) {
               if (s->state.memory->add(asked, x)) {
                 // Before the next apply: it had its turn.
                 answer_queries(s);
                 return;
               }
               // Nothing of ours was in flight: somebody else applied.
               log::warning(log_misfit, {{"branch", branch_of(s)}});
               lose_memory(s);
             });
}

template <class F>
void ask_event_log(self_pointer self, std::vector<uuid> ids, F on_known) {
  slice_request what;
  what.what = slice_request::kind::known_events;
  what.event_ids = std::move(ids);
  read_slice(self, std::move(what),
             [on_known](self_pointer s, const slice_request&, const slice& x) {
               on_known(s, x.known_events);
             });
}

/// Starts a look into the event log if somebody needs one.
bool read_event_log(self_pointer self) {
  auto& state = self->state;
  if (auto ids = take_checks(state); !ids.empty()) {
    ask_event_log(self, std::move(ids), [](self_pointer s, const auto& known) {
      std::unordered_set<uuid> applied{known.begin(), known.end()};
      release_waiters(
        s, true, [&](const auto& x) { return applied.count(x.event_id) > 0; });
    });
    return true;
  }
  if (std::exchange(state.reconcile_due, false)) {
    state.reconciled_at = now_of(self);
    if (auto ids = state.pending.oldest_ids(limits::known_events_max);
        !ids.empty()) {
      ask_event_log(self, std::move(ids), reconcile);
      return true;
    }
  }
  if (state.sync_at == sync::checking) {
    std::vector<uuid> ids;
    for (const auto& x : state.notices)
      ids.push_back(x.event_id);
    if (ids.empty())
      end_sync(self, {});
    else
      // Another round may begin meanwhile.
      ask_event_log(
        self, std::move(ids),
        [round = state.sync_round](self_pointer s, const auto& known) {
          if (s->state.sync_round == round)
            end_sync(s, known);
        });
    return state.busy != work::none;
  }
  return false;
}

// -- the stream ---------------------------------------------------------------

/// Opens the deliveries again, a little later.
void reopen(self_pointer self) {
  auto& state = self->state;
  state.inbox->close();
  state.stream.reset();
  state.at = phase::opening;
  auto wait = state.open_wait->next();
  state.open_at = now_of(self) + wait;
  self->delayed_send(self, wait, atom::tick_v);
}

void reopen_because(self_pointer self, branch_inbox::trouble why) {
  reopened(why).add();
  log::info(log_reopened,
            {{"branch", branch_of(self)}, {"reason", to_string(why)}});
  reopen(self);
}

/// Asks how the stream is, before it is opened.
void look_at_stream(self_pointer self) {
  auto& state = self->state;
  if (state.open_asked || now_of(self) < state.open_at)
    return;
  state.open_asked = true;
  self->request(state.options.consumer, state_answer_max, atom::state_v)
    .then(
      [self](const stream_state& x) {
        self->state.open_asked = false;
        self->state.stream = x;
        go_on(self);
      },
      [self](caf::error&) {
        self->state.open_asked = false;
        if (self->state.at == phase::opening)
          reopen(self);
      });
}

void open_stream(self_pointer self) {
  auto& state = self->state;
  const auto& options = state.options;
  auto after = state.memory->cursor().stream_seq;
  auto generation = ++state.generation;
  state.inbox->open(generation, after);
  self->send(options.consumer, atom::open_v, options.branch_id, after + 1,
             generation);
  self->send(options.consumer, atom::fetch_v, options.branch_id,
             uint64_t{state.inbox->refill()});
  state.at = phase::live;
  state.heard_at = now_of(self);
  state.checked_at = state.heard_at;
  state.stream.reset();
}

/// Moves the cursor into another life of the stream.
void adopt_life(self_pointer self, const std::string& life) {
  auto& state = self->state;
  auto request = std::make_shared<apply_request>();
  request->branch_id = branch_of(self);
  request->epoch = state.options.epoch;
  request->before = state.memory->cursor();
  request->stream_incarnation = life;
  state.busy = work::adopting;
  state.stream.reset();
  state.writing = writer_pool::take(state.options.writers, false);
  self
    ->request(state.writing.writer(), limits::apply_answer_max, atom::apply_v,
              apply_request_ptr{std::move(request)})
    .then(
      [self](const apply_outcome_ptr& x) {
        auto& s = self->state;
        s.busy = work::none;
        s.writing = {};
        if (!x->owned && !x->moved) {
          log::warning(log_not_owner, {{"branch", branch_of(self)}});
          self->quit(caf::make_error(errc::not_owner, branch_of(self)));
          return;
        }
        if (!x->owned) {
          lose_memory(self);
          return;
        }
        s.memory->apply(*x);
        go_on(self);
      },
      [self](caf::error& err) {
        log::warning(log_apply_failed,
                     {{"branch", branch_of(self)}, {"error", describe(err)}});
        lose_memory(self);
      });
}

/// Where to publish again from: what is committed and not applied may have a
/// lower number than what is applied.
int64_t republish_after(const aggregate_shard_state& state) {
  auto result = state.memory->cursor().outbox_seq;
  if (auto lowest = state.pending.lowest_seq())
    result = std::min(result, *lowest - 1);
  return result;
}

void sound_alarm(const aggregate_shard_state& state, const std::string& life) {
  const auto& cursor = state.memory->cursor();
  stats().forgotten.add();
  log::error(log_forgot, {{"branch", state.options.branch_id},
                          {"cursor_life", cursor.stream_incarnation},
                          {"cursor_seq", cursor.stream_seq},
                          {"life", life},
                          {"last_seq", state.stream->last_seq}});
}

/// Has what is committed and not applied published again.
/// @param ticket Kept until there is an answer.
template <class Done, class Failed>
void republish(self_pointer self, repair_limiter::ticket ticket, Done on_done,
               Failed on_failed) {
  auto& state = self->state;
  state.open_asked = true;
  self
    ->request(state.options.relay, republish_answer_max, atom::republish_v,
              branch_of(self), republish_after(state))
    .then(
      [self, ticket = std::move(ticket), on_done](int64_t count) {
        log::warning(log_republished,
                     {{"branch", branch_of(self)}, {"events", count}});
        self->state.open_asked = false;
        on_done();
      },
      [self, on_failed](caf::error& err) {
        log::warning(log_republish_failed,
                     {{"branch", branch_of(self)}, {"error", describe(err)}});
        self->state.open_asked = false;
        on_failed();
      });
}

/// The broker lost what it had: publishes it again, then follows the stream's
/// new life.
void recover_forgotten(self_pointer self, const std::string& life) {
  auto& state = self->state;
  // Without the outbox nobody knows what is missing.
  if (!state.synced) {
    reopen(self);
    return;
  }
  if (std::exchange(state.alarmed_for, life) != life)
    sound_alarm(state, life);
  // A stream that is lost is lost for all branches.
  if (now_of(self) < state.open_at)
    return;
  auto ticket = state.options.gate->enter();
  if (!ticket) {
    state.open_at = now_of(self) + tick_interval;
    self->scheduled_send(self, state.open_at, atom::tick_v);
    return;
  }
  republish(
    self, std::move(ticket),
    [self, life] {
      self->state.republished_for = life;
      go_on(self);
    },
    [self] {
      if (self->state.at == phase::opening)
        reopen(self);
    });
}

/// Brings the branch from `opening` to `live`, one step a call.
void open_next(self_pointer self) {
  auto& state = self->state;
  if (!state.stream) {
    look_at_stream(self);
    return;
  }
  const auto& cursor = state.memory->cursor();
  auto life = next_life(cursor, *state.stream);
  if (life == cursor.stream_incarnation)
    open_stream(self);
  else if (cursor.stream_incarnation.empty() || state.republished_for == life)
    adopt_life(self, life);
  else if (!state.open_asked)
    recover_forgotten(self, life);
}

void refill(self_pointer self) {
  auto& state = self->state;
  if (auto count = state.inbox->refill(); count > 0)
    self->send(state.options.consumer, atom::fetch_v, branch_of(self),
               uint64_t{count});
}

void ack(self_pointer self, std::vector<std::string> replies) {
  if (!replies.empty())
    self->send(
      self->state.options.consumer, atom::ack_v,
      std::make_shared<const std::vector<std::string>>(std::move(replies)));
}

void deliver(self_pointer self, const delivery& x) {
  fault_point("aggregate-shard.deliver");
  auto& state = self->state;
  if (state.at != phase::live)
    return;
  auto reading = state.inbox->take(x);
  stats().duplicates.add(reading.duplicates.size());
  ack(self, std::move(reading.duplicates));
  if (reading.what != branch_inbox::trouble::none) {
    reopen_because(self, reading.what);
    return;
  }
  state.heard_at = now_of(self);
  state.stall_wait = limits::stall_min;
  refill(self);
  go_on(self);
}

// -- applying -----------------------------------------------------------------

/// Takes what was applied off the backlog.
void settle_backlog(aggregate_shard_state& state,
                    const apply_outcome& outcome) {
  // Those set aside by the store itself are not told one by one: then only
  // the really new ones are known to be applied.
  int64_t unreadable = 0;
  for (const auto& x : state.batch->events)
    unreadable += x.reason.empty() ? 0 : 1;
  auto all_known = outcome.quarantined == unreadable;
  std::unordered_set<uuid> fresh{outcome.applied.begin(),
                                 outcome.applied.end()};
  auto now = state.options.now();
  for (const auto& x : state.batch->events) {
    const auto& event = x.event;
    if (!x.reason.empty())
      continue;
    auto is_fresh = fresh.count(event.event_id) > 0;
    if (is_fresh)
      stats().lag.observe(static_cast<uint64_t>(
        std::max<int64_t>((now - event.recorded_at).count(), 0)));
    if (is_fresh || all_known)
      state.pending.apply(event.event_id, event.outbox_seq);
    else
      state.pending.remove(event.event_id, event.outbox_seq);
  }
  show_pending(state);
}

void applied(self_pointer self, const apply_outcome& outcome) {
  auto& state = self->state;
  state.memory->apply(outcome);
  settle_backlog(state, outcome);
  if (outcome.quarantined > 0)
    log::warning(log_quarantined, {{"branch", branch_of(self)},
                                   {"events", outcome.quarantined}});
  auto replies = std::exchange(state.batch_replies, {});
  state.inbox->settle(replies.size());
  state.batch.reset();
  state.busy = work::none;
  state.writing = {};
  state.queries_first = true;
  state.open_wait->reset();
  ack(self, std::move(replies));
  release_applied(self);
  if (state.at == phase::live)
    refill(self);
  begin_sync(self);
  go_on(self);
}

void apply_answered(self_pointer self, const apply_outcome& outcome) {
  auto& state = self->state;
  if (!outcome.owned && !outcome.moved) {
    log::warning(log_not_owner, {{"branch", branch_of(self)}});
    self->quit(caf::make_error(errc::not_owner, branch_of(self)));
    return;
  }
  auto expected = state.batch->events.back().stream_seq;
  if (!outcome.owned || outcome.cursor.stream_seq != expected) {
    log::warning(log_unexpected, {{"branch", branch_of(self)},
                                  {"stream_seq", outcome.cursor.stream_seq},
                                  {"expected", expected}});
    lose_memory(self);
    return;
  }
  applied(self, outcome);
}

/// @returns the first multiple of `beat` after `now`.
time_point next_beat(time_point now, caf::timespan beat) {
  if (beat == caf::timespan{0})
    return now;
  auto since
    = std::chrono::duration_cast<caf::timespan>(now.time_since_epoch());
  return now + (beat - since % beat);
}

/// Sends the next events to the AGGREGATE WRITER.
void apply_next(self_pointer self) {
  auto& state = self->state;
  assert(state.busy == work::none && state.batch == nullptr);
  auto messages = state.inbox->next_batch(state.options.batch_max);
  auto request = std::make_shared<apply_request>();
  request->branch_id = branch_of(self);
  request->epoch = state.options.epoch;
  request->before = state.memory->cursor();
  request->stream_incarnation = request->before.stream_incarnation;
  request->events.reserve(messages.size());
  state.batch_replies.reserve(messages.size());
  for (auto& x : messages) {
    request->events.push_back(std::move(x.event));
    state.batch_replies.push_back(std::move(x.reply));
  }
  state.batch = std::move(request);
  state.busy = work::applying;
  state.apply_at = next_beat(now_of(self), state.options.batch_window);
  state.writing = writer_pool::take(state.options.writers,
                                    state.batch->events.size()
                                      >= state.options.batch_window_max);
  self
    ->request(state.writing.writer(), limits::apply_answer_max, atom::apply_v,
              state.batch)
    .then([self](const apply_outcome_ptr& x) { apply_answered(self, *x); },
          [self](caf::error& err) {
            log::warning(log_apply_failed, {{"branch", branch_of(self)},
                                            {"error", describe(err)}});
            lose_memory(self);
          });
}

// -- what to do next ----------------------------------------------------------

/// Tells whether a few events should wait for more; a `tick` comes when they
/// have waited.
bool gathers(self_pointer self) {
  auto& state = self->state;
  auto now = now_of(self);
  // Small credit must not wait for what cannot come.
  auto enough
    = std::min(state.options.batch_window_max, state.options.fetch_max / 2);
  if (now >= state.apply_at || state.inbox->size() >= enough)
    return false;
  if (!std::exchange(state.gathering, true))
    self->scheduled_send(self, state.apply_at, atom::tick_v);
  return true;
}

bool apply_if_any(self_pointer self) {
  if (self->state.inbox->empty() || gathers(self))
    return false;
  apply_next(self);
  return true;
}

bool read_if_any(self_pointer self) {
  // Queries wait for it.
  if (is_learning(self) && read_event_log(self))
    return true;
  if (auto slice = answer_queries(self)) {
    read_for_query(self, std::move(*slice));
    return true;
  }
  return read_event_log(self);
}

void go_on(self_pointer self) {
  auto& state = self->state;
  if (end_if_idle(self))
    return;
  if (state.at == phase::loading || state.busy != work::none)
    return;
  // They take turns: neither may hold up the other for long.
  if (state.queries_first ? read_if_any(self) || apply_if_any(self)
                          : apply_if_any(self) || read_if_any(self))
    return;
  if (state.at == phase::opening)
    open_next(self);
}

// -- time ---------------------------------------------------------------------

/// Compares the stream's life with ours from time to time: a broker that came
/// back without its disk hands out old numbers without a word.
void check_life(self_pointer self) {
  auto& state = self->state;
  auto now = now_of(self);
  if (state.at != phase::live || state.open_asked
      || now - state.checked_at < limits::incarnation_check_interval)
    return;
  state.checked_at = now;
  state.open_asked = true;
  self->request(state.options.consumer, state_answer_max, atom::state_v)
    .then(
      [self](const stream_state& x) {
        auto& s = self->state;
        s.open_asked = false;
        const auto& cursor = s.memory->cursor();
        if (s.at == phase::live
            && next_life(cursor, x) != cursor.stream_incarnation)
          reopen(self);
        else
          go_on(self);
      },
      [self](caf::error&) {
        self->state.open_asked = false;
        go_on(self);
      });
}

/// The stream may have been lost before the branch's cursor knew any of its
/// lives: what was SENT and never applied is published again.
void publish_missing(self_pointer self, repair_limiter::ticket ticket) {
  auto open_again = [self] {
    if (self->state.at == phase::live)
      reopen(self);
  };
  republish(self, std::move(ticket), open_again, open_again);
}

/// Tells whether something is pending and nothing came since `heard_at`.
bool seems_stalled(self_pointer self, time_point heard_at) {
  const auto& state = self->state;
  return state.at == phase::live && state.busy == work::none
         && !state.open_asked && state.inbox->empty()
         && state.heard_at == heard_at && state.pending.count() > 0;
}

/// What is pending was published long ago, is not applied and does not come.
/// @param last_seq The branch's last message in the stream.
void mend_stall(self_pointer self, uint64_t last_seq) {
  auto& state = self->state;
  auto again = state.stall_wait > limits::stall_min;
  repair_limiter::ticket ticket;
  if (again && state.synced && last_seq <= state.inbox->last_seq()) {
    ticket = state.options.gate->enter();
    if (!ticket)
      return; // The next tick looks again.
  }
  state.stall_wait
    = std::min<caf::timespan>(state.stall_wait * 2, limits::stall_max);
  stats().stalls.add();
  if (ticket)
    publish_missing(self, std::move(ticket));
  else
    reopen(self);
}

/// Goes on with one who waits, unless something has come meanwhile.
/// @returns the handlers of a query, for `then`.
template <class T, class F>
auto unless_heard(self_pointer self, F on_answer) {
  auto since = self->state.heard_at;
  self->state.open_asked = true;
  return std::pair{[self, since, on_answer](T answer) {
                     self->state.open_asked = false;
                     if (seems_stalled(self, since))
                       on_answer(self, answer, since);
                     go_on(self);
                   },
                   [self](caf::error&) {
                     self->state.open_asked = false;
                     self->state.heard_at = now_of(self);
                     go_on(self);
                   }};
}

void look_into_stream(self_pointer self) {
  auto [then, otherwise]
    = unless_heard<uint64_t>(self, [](self_pointer s, uint64_t last_seq,
                                      time_point) { mend_stall(s, last_seq); });
  self
    ->request(self->state.options.consumer, state_answer_max, atom::state_v,
              branch_of(self))
    .then(then, otherwise);
}

/// Asks the outbox for how long the oldest pending event has been SENT: with
/// the relay behind, opening or publishing again were work on top of too much.
void look_into_outbox(self_pointer self, const uuid& oldest) {
  auto [then, otherwise] = unless_heard<int64_t>(
    self, [](self_pointer s, int64_t sent_ms, time_point since) {
      auto& state = s->state;
      if (std::chrono::milliseconds{sent_ms} < limits::stall_min) {
        stats().unpublished.add(sent_ms < 0 ? 1 : 0);
        state.heard_at = now_of(s);
      } else if (state.reconciled_at <= since) {
        // A notice may have come for what is applied; the next tick looks on.
        state.reconcile_due = true;
      } else {
        look_into_stream(s);
      }
    });
  self
    ->request(self->state.options.purchases, limits::shard_load_max,
              atom::state_v, branch_of(self), oldest)
    .then(then, otherwise);
}

/// Finds out why something is pending and nothing comes. A few branches at a
/// time: when all of them wait it is for the same reason.
void check_stall(self_pointer self) {
  auto& state = self->state;
  auto now = now_of(self);
  auto oldest = state.pending.oldest();
  if (!seems_stalled(self, state.heard_at) || !oldest
      || now - state.heard_at < state.stall_wait
      || state.options.now() - *oldest < state.stall_wait)
    return;
  auto ids = state.pending.oldest_ids(1);
  if (!ids.empty() && state.options.gate->may_look(now))
    look_into_outbox(self, ids.front());
}

void show_lag(aggregate_shard_state& state) {
  auto oldest = state.pending.oldest();
  auto lag = oldest ? (state.options.now() - *oldest).count() : 0;
  if (lag == std::exchange(state.shown_lag, lag))
    return;
  metrics()
    .get_gauge(lag_gauge_name, "Age of a branch's oldest pending event.",
               metric_label("branch", state.options.branch_id))
    .set(std::max<int64_t>(lag, 0));
  if (state.options.lag_ms)
    *state.options.lag_ms = std::max<int64_t>(lag, 0);
}

void do_round(self_pointer self) {
  auto& state = self->state;
  auto now = now_of(self);
  show_lag(state);
  check_life(self);
  check_stall(self);
  begin_sync(self);
  if (state.synced && state.pending.count() > 0
      && now - state.reconciled_at >= reconcile_interval)
    state.reconcile_due = true;
  if (now - state.idle_slices_at >= limits::shard_slice_idle_max) {
    state.idle_slices_at = now;
    state.memory->drop_idle();
  }
}

/// Nothing is pending and nobody waits: what comes next comes as a message.
bool is_idle(const aggregate_shard_state& state) {
  return state.at == phase::live && state.synced && state.pending.count() == 0
         && state.queries.empty() && state.waiters.empty();
}

void tick(self_pointer self) {
  auto& state = self->state;
  // Whatever this one came for: if events still batch_window, they ask again.
  state.gathering = false;
  expire_queries(self);
  expire_waiters(self);
  // Those held back for long enough, also while something is read.
  if (state.at != phase::loading)
    answer_queries(self);
  // Other ticks come for a deadline; this one comes in turn.
  if (auto now = now_of(self); now >= state.next_tick) {
    do_round(self);
    auto wait = is_idle(state) ? idle_tick_interval : tick_interval;
    state.next_tick = now + wait;
    self->delayed_send(self, wait, atom::tick_v);
  }
  go_on(self);
}

void notice_committed(self_pointer self, const commit_notices_ptr& notices) {
  for (const auto& x : *notices)
    self->state.pending.add(x);
  show_pending(self->state);
  hurry(self);
}

void set_up(self_pointer self, aggregate_shard_options options) {
  auto& state = self->state;
  state.options = std::move(options);
  const auto& x = state.options;
  state.memory.emplace(x.branch_id, x.clock, x.slice_rows_max);
  state.inbox.emplace(x.branch_id, x.fetch_max);
  state.pending = backlog{x.pending};
  state.generation = x.generation;
  state.load_wait.emplace(x.seed);
  state.open_wait.emplace(x.seed + 1);
  state.sync_wait.emplace(x.seed + 2, 1s, 30s);
  state.idle_slices_at = now_of(self);
  state.next_tick = now_of(self);
}

} // namespace

aggregate_shard_state::~aggregate_shard_state() {
  auto ended = caf::make_error(errc::unavailable, "the shard ended");
  for (auto& x : queries)
    x.promise.deliver(ended);
  for (auto& x : waiters)
    x.promise.deliver(ended);
  stats().pending.add(-shown_pending);
  metrics().drop_gauge(lag_gauge_name,
                       metric_label("branch", options.branch_id));
}

aggregate_shard_actor::behavior_type
aggregate_shard(self_pointer self, aggregate_shard_options options) {
  assert(options.now && options.fetch_max > 0 && options.batch_max > 0);
  assert(options.gate && options.writers);
  install_handlers(self);
  set_up(self, std::move(options));
  self->set_exit_handler([self](caf::exit_msg& msg) {
    if (!self->state.end_reason)
      self->state.end_reason = std::move(msg.reason);
    end_if_idle(self);
  });
  self->send(self, atom::load_v);
  self->send(self, atom::tick_v);
  return {
    [self](atom::deliver, const delivery_ptr& x) { deliver(self, *x); },
    [self](atom::committed, const commit_notices_ptr& x) {
      notice_committed(self, x);
    },
    [self](atom::ask, const shard_query_ptr& x) { return ask(self, x); },
    [self](atom::after, const uuid& x) { return wait_for(self, x); },
    [self](atom::poll) { sync_again(self); },
    [self](atom::load) { load(self); },
    [self](atom::tick) { tick(self); },
  };
}

aggregate_shard_actor spawn_aggregate_shard(caf::local_actor* parent,
                                            aggregate_shard_options options) {
  return parent->spawn(aggregate_shard, std::move(options));
}

} // namespace tillstream

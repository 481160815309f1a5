#include "actors/aggregation/aggregate_shard.hpp"

#include "actors/aggregation/aggregate_shard_steps.hpp"
#include "actors/runtime/spawn.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/metrics.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

namespace tillstream {

namespace shard_steps {

namespace {

constexpr std::string_view log_apply_failed = "shard.apply_failed";
constexpr std::string_view log_not_owner = "shard.not_owner";
constexpr std::string_view log_quarantined = "shard.events_quarantined";
constexpr std::string_view log_unexpected = "shard.unexpected_cursor";

/// The interval of a branch that has nothing to do: thousands of them must cost
/// next to nothing.
constexpr auto idle_tick_interval = limits::incarnation_check_interval;

counter& reloads() {
  static auto& instance = metrics().get_counter(
    "tillstream_shard_reloads_total",
    "Times that a shard dropped its cache and loaded the tables.");
  return instance;
}

/// Ends if we are to, unless an apply is under way: its events are to be
/// acknowledged, or the next owner gets them again.
bool end_if_idle(self_pointer self) {
  auto& state = self->state;
  if (!state.end_reason || state.busy == work::applying)
    return false;
  self->quit(*state.end_reason);
  return true;
}

} // namespace

void tick_soon(self_pointer self) {
  auto soon = now_of(self) + tick_interval;
  if (self->state.due.tick_at <= soon)
    return;
  self->state.due.tick_at = soon;
  tick_at(self, soon);
}

// -- queries ------------------------------------------------------------------

namespace {

shard_answer_ptr
answer(aggregate_shard_state& state, const shard_query& query) {
  auto result = state.cache->answer(query);
  state.sync->add_progress(result, state.cache->cursor(), state.options.now());
  return std::make_shared<const shard_answer>(std::move(result));
}

} // namespace

void fail_queries(self_pointer self, const caf::error& why) {
  for (auto& x : self->state.queries.take_all())
    x.reply.deliver(why);
}

namespace {

/// An answer before the backlog is synced would say that nothing is pending.
/// SHARD MANAGER only wants to know whether we have loaded.
bool is_held_back(self_pointer self, const shard_query& x) {
  return self->state.sync->in_grace(now_of(self))
         && x.what != shard_query::kind::status;
}

} // namespace

std::optional<slice_request> answer_queries(self_pointer self) {
  auto& state = self->state;
  auto progress = state.queries.take_answerable(
    [&](const shard_query& x) { return state.cache->missing(x); },
    [&](const shard_query& x) { return is_held_back(self, x); });
  for (auto& x : progress.answerable)
    x.reply.deliver(answer(state, *x.query));
  return std::move(progress.missing);
}

namespace {

caf::result<shard_answer_ptr>
ask(self_pointer self, const shard_query_ptr& query) {
  auto& state = self->state;
  auto full = state.queries.full();
  if (state.busy != work::loading && !state.cache->missing(*query)
      && (full || !is_held_back(self, *query)))
    return answer(state, *query);
  if (full)
    return caf::make_error(errc::overloaded, "questions of " + branch_of(self));
  auto promise = self->make_response_promise<shard_answer_ptr>();
  state.queries.push({query, now_of(self) + limits::query_answer_max, promise});
  tick_soon(self);
  step(self);
  return promise;
}

void expire_queries(self_pointer self) {
  for (auto& x : self->state.queries.take_expired(now_of(self)))
    x.reply.deliver(
      caf::make_error(errc::timeout, "question of " + branch_of(self)));
}

} // namespace

// -- waiters ------------------------------------------------------------------

void release(const std::vector<caf::typed_response_promise<bool>>& waiters,
             bool is_applied) {
  for (auto x : waiters)
    x.deliver(bool{is_applied});
}

void release_applied(self_pointer self) {
  auto& state = self->state;
  if (!state.waiters.empty())
    release(state.waiters.take_applied([&](const uuid& id) {
      return state.sync->pending().recently_applied(id);
    }),
            true);
}

namespace {

caf::result<bool> wait_applied(self_pointer self, const uuid& event_id) {
  auto& state = self->state;
  const auto& pending = state.sync->pending();
  if (pending.recently_applied(event_id))
    return true;
  // Nobody waits for what cannot be an event.
  if (!is_uuid7(event_id))
    return false;
  if (state.waiters.full())
    return caf::make_error(errc::overloaded, "waiters of " + branch_of(self));
  auto promise = self->make_response_promise<bool>();
  auto needs_lookup
    = state.busy == work::loading
      || (!pending.is_pending(event_id) && pending.may_be_forgotten(event_id));
  auto deadline = now_of(self) + limits::after_wait_max;
  state.waiters.add(event_id, deadline, promise, needs_lookup);
  tick_at(self, deadline);
  if (needs_lookup)
    step(self);
  return promise;
}

} // namespace

// -- loading ------------------------------------------------------------------

namespace {

void load_later(self_pointer self) {
  self->delayed_send(self, self->state.load.retry->next(), atom::load_v);
}

} // namespace

void invalidate_cache(self_pointer self) {
  auto& state = self->state;
  reloads().add();
  state.busy = work::loading;
  state.applying = {};
  state.follower->close();
  state.sync->invalidate();
  tick_soon(self);
  if (!end_if_idle(self))
    load_later(self);
}

namespace {

void loaded(self_pointer self, const branch_state& x) {
  auto& state = self->state;
  auto now = now_of(self);
  state.load.retry->reset();
  state.load.is_failing = false;
  state.busy = work::idle;
  state.cache->reset(x);
  state.follower->start(now);
  state.sync->loaded(now, state.options.now());
  tick_at(self, now + limits::shard_sync_grace);
  state.waiters.need_lookups();
  sync_backlog(self);
  step(self);
}

void load(self_pointer self) {
  const auto& options = self->state.options;
  assert(self->state.busy == work::loading);
  self
    ->request(options.reader, limits::shard_load_max, atom::load_v,
              options.branch_id)
    .then([self](const branch_state_ptr& x) { loaded(self, *x); },
          [self](caf::error& err) {
            read_failed(self, err);
            fail_queries(self, err);
            load_later(self);
          });
}

} // namespace

// -- applying -----------------------------------------------------------------

namespace {

void applied(self_pointer self, const apply_outcome& outcome) {
  auto& state = self->state;
  auto done = std::exchange(state.applying, {});
  state.busy = work::idle;
  state.queries_first = true;
  state.cache->apply(outcome);
  state.sync->applied(*done.request, outcome, state.options.now());
  if (outcome.quarantined > 0)
    log::warning(log_quarantined, {{"branch", branch_of(self)},
                                   {"events", outcome.quarantined}});
  if (!done.replies.empty())
    state.follower->applied();
  state.follower->inbox().settle(done.replies.size());
  ack(self, std::move(done.replies));
  release_applied(self);
  fetch(self);
  sync_backlog(self);
  step(self);
}

void apply_answered(self_pointer self, const apply_outcome& outcome) {
  if (!outcome.owned && !outcome.moved) {
    log::warning(log_not_owner, {{"branch", branch_of(self)}});
    self->quit(caf::make_error(errc::not_owner, branch_of(self)));
    return;
  }
  const auto& events = self->state.applying.request->events;
  auto expected
    = events.empty() ? outcome.cursor.stream_seq : events.back().stream_seq;
  if (outcome.owned && outcome.cursor.stream_seq == expected) {
    applied(self, outcome);
    return;
  }
  log::warning(log_unexpected, {{"branch", branch_of(self)},
                                {"stream_seq", outcome.cursor.stream_seq},
                                {"expected", expected}});
  invalidate_cache(self);
}

/// Sends a request to an AGGREGATE WRITER.
void apply(self_pointer self, apply_request request,
           std::vector<std::string> replies) {
  auto& state = self->state;
  assert(state.busy == work::idle);
  request.branch_id = branch_of(self);
  request.epoch = state.options.epoch;
  request.before = state.cache->cursor();
  auto is_large = request.events.size() >= state.options.batch_window_max;
  state.busy = work::applying;
  state.applying
    = {std::make_shared<const apply_request>(std::move(request)),
       writer_pool::take(state.options.writers, is_large), std::move(replies)};
  self
    ->request(state.applying.place.writer(), limits::apply_answer_max,
              atom::apply_v, state.applying.request)
    .then([self](const apply_outcome_ptr& x) { apply_answered(self, *x); },
          [self](caf::error& err) {
            warn(self, log_apply_failed, err);
            invalidate_cache(self);
          });
}

} // namespace

void adopt_incarnation(self_pointer self) {
  auto& state = self->state;
  apply_request request;
  request.stream_incarnation = state.follower->adopt(state.cache->cursor());
  apply(self, std::move(request), {});
}

namespace {

/// @returns the first multiple of `interval` after `now`.
time_point end_of_window(time_point now, caf::timespan interval) {
  if (interval == caf::timespan{0})
    return now;
  auto since
    = std::chrono::duration_cast<caf::timespan>(now.time_since_epoch());
  return now + (interval - since % interval);
}

/// Applies the next events.
void apply_next(self_pointer self) {
  auto& state = self->state;
  auto messages = state.follower->inbox().next_batch(state.options.batch_max);
  apply_request request;
  request.stream_incarnation = state.cache->cursor().stream_incarnation;
  request.events.reserve(messages.size());
  std::vector<std::string> replies;
  replies.reserve(messages.size());
  for (auto& x : messages) {
    request.events.push_back(std::move(x.event));
    replies.push_back(std::move(x.reply));
  }
  state.gathering.ends_at
    = end_of_window(now_of(self), state.options.batch_window);
  apply(self, std::move(request), std::move(replies));
}

/// Whether a few events should wait for more; a `tick` comes when they have
/// waited.
bool in_batch_window(self_pointer self) {
  auto& state = self->state;
  // Small credit must not wait for what cannot come.
  auto enough
    = std::min(state.options.batch_window_max, state.options.fetch_max / 2);
  if (now_of(self) >= state.gathering.ends_at
      || state.follower->inbox().size() >= enough)
    return false;
  if (!std::exchange(state.gathering.tick_sent, true))
    tick_at(self, state.gathering.ends_at);
  return true;
}

} // namespace

// -- what to do next ----------------------------------------------------------

namespace {

bool apply_if_any(self_pointer self) {
  if (self->state.follower->inbox().empty() || in_batch_window(self))
    return false;
  apply_next(self);
  return true;
}

bool read_if_any(self_pointer self) {
  // Queries wait for it.
  if (self->state.sync->in_grace(now_of(self)) && read_event_log(self))
    return true;
  if (auto slice = answer_queries(self)) {
    read_for_query(self, *slice);
    return true;
  }
  return read_event_log(self);
}

} // namespace

void step(self_pointer self) {
  auto& state = self->state;
  if (end_if_idle(self) || state.busy != work::idle)
    return;
  // They take turns: neither may hold up the other for long.
  if (state.queries_first ? read_if_any(self) || apply_if_any(self)
                          : apply_if_any(self) || read_if_any(self))
    return;
  follow_stream(self);
}

// -- time ---------------------------------------------------------------------

namespace {

/// Nothing is pending and nobody waits: what comes next comes as a message.
bool is_idle(const aggregate_shard_state& state) {
  return state.follower->is_following() && state.sync->synced()
         && state.sync->pending().count() == 0 && state.queries.empty()
         && state.waiters.empty();
}

/// What is due once a second.
void do_round(self_pointer self) {
  auto& state = self->state;
  auto now = now_of(self);
  state.sync->tick(now, state.options.now());
  check_incarnation(self);
  check_stall(self);
  sync_backlog(self);
  if (now - state.due.idle_slices_at >= limits::shard_slice_idle_max) {
    state.due.idle_slices_at = now;
    state.cache->drop_idle();
  }
  state.due.tick_at
    = now + (is_idle(state) ? idle_tick_interval : tick_interval);
  tick_at(self, state.due.tick_at);
}

void tick(self_pointer self) {
  auto& state = self->state;
  // Whatever this one came for: events that still wait for more ask again.
  state.gathering.tick_sent = false;
  expire_queries(self);
  release(state.waiters.take_expired(now_of(self)), false);
  // Those held back for long enough, also while something is read.
  if (state.busy != work::loading)
    answer_queries(self);
  // Other ticks come for a deadline; this one comes in turn.
  if (now_of(self) >= state.due.tick_at)
    do_round(self);
  step(self);
}

void set_up(self_pointer self, aggregate_shard_options options) {
  auto& state = self->state;
  state.options = std::move(options);
  const auto& x = state.options;
  state.cache.emplace(x.branch_id, x.clock, x.slice_rows_max);
  state.sync.emplace(x.branch_id, x.pending, x.notices_max, x.seed + 2);
  state.follower.emplace(x.branch_id, x.fetch_max, x.generation, x.seed + 1);
  state.load.retry.emplace(x.seed);
  state.due = {now_of(self), now_of(self)};
}

/// Notices of other nodes may be missing: syncs anew.
void sync_again(self_pointer self) {
  auto now = now_of(self);
  if (self->state.sync->restart(now))
    tick_at(self, now + limits::shard_sync_grace);
  tick_soon(self);
  sync_backlog(self);
}

} // namespace

} // namespace shard_steps

aggregate_shard_state::~aggregate_shard_state() {
  auto ended = caf::make_error(errc::unavailable, "the shard ended");
  for (auto& x : queries.take_all())
    x.reply.deliver(ended);
  for (auto& x : waiters.take_all())
    x.deliver(ended);
}

aggregate_shard_impl::behavior_type
aggregate_shard(shard_steps::self_pointer self,
                aggregate_shard_options options) {
  assert(options.now && options.fetch_max > 0 && options.batch_max > 0);
  assert(options.limiter && options.writers);
  install_handlers(self);
  using namespace shard_steps;
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
      self->state.sync->committed(*x);
      tick_soon(self);
    },
    [self](atom::ask, const shard_query_ptr& x) { return ask(self, x); },
    [self](atom::after, const uuid& x) { return wait_applied(self, x); },
    [self](atom::poll) { sync_again(self); },
    [self](atom::load) { load(self); },
    [self](atom::tick) { tick(self); },
  };
}

aggregate_shard_actor spawn_aggregate_shard(caf::local_actor* parent,
                                            aggregate_shard_options options) {
  return spawn_actor(*parent, aggregate_shard, std::move(options));
}

} // namespace tillstream

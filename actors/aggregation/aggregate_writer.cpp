#include "actors/aggregation/aggregate_writer.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/stateful_actor.hpp>

#include <cassert>
#include <chrono>
#include <set>
#include <string>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = aggregate_writer_impl::stateful_pointer<aggregate_writer_state>;
using pending_apply = aggregate_writer_state::pending_apply;
using pending_list = std::vector<pending_apply>;

constexpr std::string_view log_open = "aggregate_writer.session_open";
constexpr std::string_view log_closed = "aggregate_writer.session_not_open";
constexpr std::string_view log_lost = "aggregate_writer.session_lost";
constexpr std::string_view log_doubt = "aggregate_writer.commit_in_doubt";
constexpr std::string_view log_refused = "aggregate_writer.apply_refused";

struct apply_metrics {
  histogram& events = metrics().get_histogram(
    "tillstream_apply_batch_events", "Events of one analytics commit.", 1);
  histogram& branches = metrics().get_histogram(
    "tillstream_apply_batch_branches", "Branches of one analytics commit.", 1);
  histogram& latency = metrics().get_histogram(
    "tillstream_apply_latency_seconds",
    "An analytics transaction from its begin to its answer.", 1e6);
  counter& applied = metrics().get_counter("tillstream_events_applied_total",
                                           "Events applied to the aggregates.");
  counter& duplicates
    = metrics().get_counter("tillstream_duplicates_dropped_total",
                            "Events that were applied before and came again.");
  counter& quarantined = metrics().get_counter(
    "tillstream_events_quarantined_total",
    "Messages that could not be applied and were set aside.");
  counter& stale = metrics().get_counter(
    "tillstream_stale_epochs_refused_total",
    "Batches of shards that did not own their branch any more.");
  counter& moved = metrics().get_counter(
    "tillstream_moved_cursors_refused_total",
    "Batches of shards whose branch stood elsewhere than they knew.");
  counter& doubts = metrics().get_counter(
    "tillstream_apply_in_doubt_total",
    "Analytics commits whose outcome is unknown; the shards load again.");
  gauge& depth = metrics().get_gauge("tillstream_apply_queue_depth",
                                     "Batches that the writers hold.");
};

apply_metrics& stats() {
  static apply_metrics instance;
  return instance;
}

void answer(pending_apply& x, apply_outcome outcome) {
  auto& s = stats();
  s.depth.add(-1);
  s.applied.add(outcome.applied.size());
  s.duplicates.add(static_cast<uint64_t>(outcome.duplicates));
  s.quarantined.add(static_cast<uint64_t>(outcome.quarantined));
  if (!outcome.owned)
    (outcome.moved ? s.moved : s.stale).add();
  x.promise.deliver(std::make_shared<const apply_outcome>(std::move(outcome)));
}

void answer(pending_apply& x, const caf::error& err) {
  stats().depth.add(-1);
  x.promise.deliver(err);
}

/// Takes from `queued` what goes into the next commit: at most one request a
/// branch, in order of arrival.
pending_list next_batch(aggregate_writer_state& state) {
  pending_list result;
  std::deque<pending_apply> left;
  std::set<std::string> branches;
  size_t events = 0;
  auto fits = [&](const pending_apply& x) {
    if (result.empty())
      return true;
    return !x.alone && !result.front().alone
           && events + x.what->events.size() <= state.options.batch_max;
  };
  for (auto& x : state.queued) {
    if (fits(x) && branches.insert(x.what->branch_id).second) {
      events += x.what->events.size();
      result.push_back(std::move(x));
    } else {
      // Later requests of the branch stay behind this one.
      branches.insert(x.what->branch_id);
      left.push_back(std::move(x));
    }
  }
  state.queued = std::move(left);
  state.queued_events -= events;
  return result;
}

/// The session is lost: nobody can be served until there is another.
void lose_session(self_pointer self, const caf::error& err) {
  auto& state = self->state;
  auto doubt = err == errc::in_doubt;
  if (doubt)
    stats().doubts.add();
  log::warning(doubt ? log_doubt : log_lost,
               {{"error", describe(err)}, {"branches", state.batch.size()}});
  state.store.drop(self->clock().now(), err);
  for (auto& x : std::exchange(state.batch, {}))
    answer(x, err);
  auto sure = caf::make_error(errc::unavailable, "the session is opened anew");
  for (auto& x : std::exchange(state.queued, {}))
    answer(x, sure);
  state.queued_events = 0;
  self->scheduled_send(self, state.store.retry_at(), atom::reopen_v);
}

caf::expected<std::vector<apply_outcome>>
call_store(aggregate_writer_state& state) {
  std::vector<apply_request_ptr> requests;
  size_t events = 0;
  for (auto& x : state.batch) {
    requests.push_back(x.what);
    events += x.what->events.size();
  }
  stats().events.observe(events);
  stats().branches.observe(requests.size());
  auto begin = std::chrono::steady_clock::now();
  auto result = state.store->apply(requests);
  auto took = std::chrono::steady_clock::now() - begin;
  stats().latency.observe(static_cast<uint64_t>(
    std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  return result;
}

/// The store lives and refuses: finds out whose request it does not take.
void refuse(self_pointer self, const caf::error& err) {
  auto& state = self->state;
  auto batch = std::exchange(state.batch, {});
  if (batch.size() == 1) {
    log::error(log_refused, {{"branch", batch[0].what->branch_id},
                             {"error", describe(err)}});
    answer(batch[0], err);
    return;
  }
  for (auto i = batch.rbegin(); i != batch.rend(); ++i) {
    i->alone = true;
    state.queued_events += i->what->events.size();
    state.queued.push_front(std::move(*i));
  }
}

/// Runs one transaction. @pre the session is open
void commit(self_pointer self, pending_list xs) {
  auto& state = self->state;
  assert(state.batch.empty() && !xs.empty());
  state.batch = std::move(xs);
  fault_point("aggregate-writer.batch");
  auto outcomes = call_store(state);
  if (outcomes) {
    assert(outcomes->size() == state.batch.size());
    fault_point("aggregate-writer.answer");
    auto batch = std::exchange(state.batch, {});
    for (size_t i = 0; i < batch.size(); ++i)
      answer(batch[i], std::move((*outcomes)[i]));
  } else if (outcomes.error() == errc::unavailable
             || outcomes.error() == errc::in_doubt) {
    lose_session(self, outcomes.error());
  } else {
    refuse(self, outcomes.error());
  }
}

void flush_soon(self_pointer self) {
  if (!std::exchange(self->state.flush_sent, true))
    self->send(self, atom::flush_v);
}

/// Has what came first flushed: at once if it is much, else when it has waited
/// for more.
void flush_in_time(self_pointer self) {
  auto& state = self->state;
  if (state.options.batch_window == caf::timespan{0}
      || state.queued_events >= state.options.batch_window_max)
    flush_soon(self);
  else if (!std::exchange(state.window_open, true))
    self->delayed_send(self, state.options.batch_window, atom::flush_v);
}

void flush(self_pointer self) {
  auto& state = self->state;
  // Of two that are on their way the second finds nothing, or little.
  state.flush_sent = false;
  state.window_open = false;
  if (state.queued.empty() || !state.store.is_open())
    return;
  commit(self, next_batch(state));
  if (!state.queued.empty())
    flush_soon(self);
}

void reopen(self_pointer self) {
  auto& store = self->state.store;
  if (store.is_open())
    return;
  if (store.open(self->clock().now())) {
    log::info(log_open);
    self->state.away = false;
    return;
  }
  // Once: whoever waits sees the readiness, and the end is logged above.
  if (!std::exchange(self->state.away, true))
    log::warning(log_closed, {{"error", describe(store.error())}});
  self->scheduled_send(self, store.retry_at(), atom::reopen_v);
}

caf::result<apply_outcome_ptr>
apply(self_pointer self, const apply_request_ptr& what) {
  fault_point("aggregate-writer.apply");
  auto& state = self->state;
  if (!state.store.is_open())
    return caf::make_error(errc::unavailable, "no database session");
  auto promise = self->make_response_promise<apply_outcome_ptr>();
  state.queued.push_back({what, promise});
  state.queued_events += what->events.size();
  stats().depth.add(1);
  flush_in_time(self);
  return promise;
}

readiness tell(const aggregate_writer_state& state) {
  auto is_open = state.store.is_open();
  return {state.name, is_open, is_open ? "" : describe(state.store.error())};
}

} // namespace

aggregate_writer_state::~aggregate_writer_state() {
  auto unsure = caf::make_error(errc::in_doubt, "the writer ended");
  auto sure = caf::make_error(errc::unavailable, "the writer ended");
  for (auto& x : batch)
    if (x.promise.pending())
      answer(x, unsure);
  for (auto& x : queued)
    answer(x, sure);
}

aggregate_writer_impl::behavior_type
aggregate_writer(self_pointer self, aggregate_writer_options options) {
  assert(options.open_store && options.batch_max > 0);
  install_handlers(self);
  auto& state = self->state;
  state.options = std::move(options);
  state.store = {state.options.open_store, state.options.seed};
  reopen(self);
  return {
    [self](atom::apply, const apply_request_ptr& x) { return apply(self, x); },
    [self](atom::ready) { return tell(self->state); },
    [self](atom::flush) { flush(self); },
    [self](atom::reopen) { reopen(self); },
  };
}

} // namespace tillstream

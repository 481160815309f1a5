#include "actors/intake/transaction_writer.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/stateful_actor.hpp>

#include <algorithm>
#include <cassert>
#include <set>
#include <string>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = transaction_writer_impl::stateful_pointer<transaction_writer_state>;
using time_point = pending_purchase::time_point;
using pending_list = std::vector<pending_purchase>;

constexpr std::string_view log_away = "writer.database_away";
constexpr std::string_view log_open = "writer.session_open";
constexpr std::string_view log_doubt = "writer.commit_in_doubt";

/// Waits of a purchase whose key is held elsewhere: 5, 20, 80, 320, 1280 ms.
/// Each attempt may cost the writer a lock time-out, so few of them must span
/// `limits::write_wait_max`; and the first must be soon, as most keys are held
/// by a neighbour's commit that is nearly done.
constexpr auto retry_wait_first = std::chrono::milliseconds{5};
constexpr int retry_wait_factor = 4;

struct writer_metrics {
  histogram& batch_size = metrics().get_histogram("tillstream_write_batch_size",
                                                  "Purchases of one batch.", 1);
  histogram& commit_latency = metrics().get_histogram(
    "tillstream_commit_latency_seconds",
    "From rows and COMMIT sent to COMMIT answered.", 1e6);
  counter& settled = metrics().get_counter(
    "tillstream_in_doubt_settled_total",
    "Purchases whose COMMIT got no answer and whose outcome was found out.");
  gauge& queue_depth = metrics().get_gauge("tillstream_write_queue_depth",
                                           "Purchases that the writers hold.");
};

writer_metrics& stats() {
  static writer_metrics instance;
  return instance;
}

counter& outcome_counter(const std::string& outcome) {
  return metrics().get_counter("tillstream_write_outcomes_total",
                               "Purchases that the writers answered, by "
                               "outcome.",
                               metric_label("outcome", outcome));
}

void count_outcome(const std::string& outcome) {
  outcome_counter(outcome).add();
}

void answer(pending_purchase& x, record_result result) {
  stats().queue_depth.add(-1);
  // The usual one is kept at hand: looking it up takes a lock.
  static auto& recorded = outcome_counter(to_string(verdict::recorded));
  if (result.outcome == verdict::recorded)
    recorded.add();
  else
    count_outcome(to_string(result.outcome));
  x.promise.deliver(std::move(result));
}

void answer(pending_purchase& x, caf::error err) {
  stats().queue_depth.add(-1);
  count_outcome(to_string(static_cast<errc>(err.code())));
  x.promise.deliver(std::move(err));
}

/// Moves what fulfils `wanted` out of `xs`, at most `count`, in order.
template <class Predicate>
pending_list take(pending_list& xs, size_t count, Predicate wanted) {
  pending_list taken;
  auto stays = [&](pending_purchase& x) {
    if (taken.size() == count || !wanted(x))
      return true;
    taken.push_back(std::move(x));
    return false;
  };
  // Not remove_if, which may call the predicate on a copy.
  pending_list others;
  for (auto& x : xs)
    if (stays(x))
      others.push_back(std::move(x));
  xs = std::move(others);
  return taken;
}

/// Sends a `flush` for the first of `deferred` that is due.
void schedule(self_pointer self) {
  auto& state = self->state;
  if (state.deferred.empty())
    return;
  auto open = state.store.is_open();
  auto due = time_point::max();
  for (auto& x : state.deferred)
    due = std::min(due, open ? x.retry_at : x.request.deadline);
  if (state.wake && *state.wake <= due)
    return;
  state.wake = due;
  self->scheduled_send(self, due, atom::flush_v);
}

/// Keeps a purchase for a later batch.
void defer(self_pointer self, pending_purchase x) {
  x.retry_wait = x.retry_wait.count() == 0 ? caf::timespan{retry_wait_first}
                                           : x.retry_wait * retry_wait_factor;
  x.retry_at = std::min(self->clock().now() + x.retry_wait, x.request.deadline);
  self->state.deferred.push_back(std::move(x));
}

/// Answers all that cannot become durable by what was sent so far.
void fail_undurable(self_pointer self, const caf::error& err) {
  auto& state = self->state;
  auto sure = [](pending_purchase& x) { return !x.in_doubt; };
  for (auto xs : {&state.queued, &state.deferred})
    for (auto& x : take(*xs, xs->size(), sure))
      answer(x, err);
}

/// The session is lost.
void lose_session(self_pointer self, const caf::error& err) {
  auto& state = self->state;
  auto now = self->clock().now();
  auto doubt = err == errc::in_doubt;
  log::warning(doubt ? log_doubt : log_away,
               {{"error", describe(err)}, {"batch", state.batch.size()}});
  state.store_reported = true;
  for (auto& x : std::exchange(state.batch, {})) {
    x.in_doubt = x.in_doubt || doubt;
    x.retry_at = now;
    state.deferred.push_back(std::move(x));
  }
  state.recording = false;
  state.store.drop(now, err);
  fail_undurable(self, doubt ? caf::make_error(errc::unavailable,
                                               "the session is opened anew")
                             : err);
  self->scheduled_send(self, state.store.retry_at(), atom::reopen_v);
}

using key_set = std::set<std::pair<std::string, uuid>>;

/// Deals with the store's verdict on one purchase.
/// @param settled Keys of doubtful purchases that are answered already.
void resolve(self_pointer self, pending_purchase x, record_result result,
             key_set& settled) {
  auto unavailable = result.outcome == verdict::unavailable;
  if (result.outcome == verdict::in_progress || unavailable) {
    if (self->clock().now() < x.request.deadline)
      defer(self, std::move(x));
    else if (x.in_doubt)
      answer(x, caf::make_error(errc::in_doubt, "the key is still held"));
    else if (unavailable)
      answer(x, caf::make_error(errc::unavailable, "it could not be written"));
    else
      answer(x, std::move(result));
    return;
  }
  if (x.in_doubt) {
    stats().settled.add();
    // The lost COMMIT had recorded it, for the first who asked.
    if (result.outcome == verdict::replayed
        && settled
             .emplace(x.request.what->branch_id,
                      x.request.what->idempotency_key)
             .second)
      result.outcome = verdict::recorded;
  }
  answer(x, std::move(result));
}

/// Adds notices of what a lost COMMIT had recorded: nobody has sent any. They
/// have no payload; the table has it.
void add_settled_notices(const pending_list& batch,
                         storage::record_batch_result& result) {
  std::set<uuid> told;
  for (size_t i = 0; i < batch.size(); ++i) {
    const auto& [outcome, done] = result.results[i];
    if (!batch[i].in_doubt || outcome != verdict::replayed
        || !told.insert(done.event_id).second)
      continue;
    auto& notice = result.committed.emplace_back();
    notice.branch_id = done.branch_id;
    notice.seq = done.outbox_seq;
    notice.event_id = done.event_id;
    notice.recorded_at = done.recorded_at;
  }
}

/// Deals with the store's answer for `batch`.
void resolve_batch(self_pointer self, storage::record_batch_result result) {
  auto& state = self->state;
  assert(result.results.size() == state.batch.size());
  if (result.commit_us > 0)
    stats().commit_latency.observe(static_cast<uint64_t>(result.commit_us));
  add_settled_notices(state.batch, result);
  if (!result.committed.empty() && state.options.on_committed)
    state.options.on_committed(
      std::make_shared<const std::vector<commit_notice>>(
        std::move(result.committed)));
  fault_point("transaction-writer.answer");
  key_set settled;
  for (size_t i = 0; i < state.batch.size(); ++i)
    resolve(self, std::move(state.batch[i]), std::move(result.results[i]),
            settled);
  state.batch.clear();
  state.recording = false;
}

/// Runs one batch. @pre the session is open
/// @returns how many had arrived when it was durable and nobody was answered
/// yet.
uint64_t commit(self_pointer self, pending_list xs) {
  auto& state = self->state;
  if (xs.empty())
    return 0;
  assert(state.batch.empty() && xs.size() <= state.options.batch_max);
  state.batch = std::move(xs);
  fault_point("transaction-writer.batch");
  std::vector<purchase_ptr> purchases;
  for (auto& x : state.batch)
    purchases.push_back(x.request.what);
  stats().batch_size.observe(purchases.size());
  state.recording = true;
  auto result = state.store->record(purchases);
  auto arrived = state.options.pacer->arrivals();
  if (result)
    resolve_batch(self, std::move(*result));
  else
    lose_session(self, result.error());
  return arrived;
}

/// Answers those in doubt who waited long enough for a session.
void expire(self_pointer self) {
  auto& deferred = self->state.deferred;
  auto now = self->clock().now();
  auto late = [now](pending_purchase& x) { return x.request.deadline <= now; };
  for (auto& x : take(deferred, deferred.size(), late))
    answer(x, caf::make_error(errc::in_doubt, "no session to settle it"));
}

/// Commits what is in doubt, what came since the last commit, and what was
/// deferred and is due, in this order. Deferred purchases get a batch of their
/// own, so one blocked key does not delay the others. Then waits on its thread
/// as the pacer says: purchases that come meanwhile wake nobody.
void flush(self_pointer self) {
  auto& state = self->state;
  auto now = self->clock().now();
  if (state.wake && *state.wake <= now)
    state.wake.reset();
  auto all = state.options.batch_max;
  auto doubtful = [now](auto& x) { return x.in_doubt && x.retry_at <= now; };
  auto due = [now](auto& x) { return x.retry_at <= now; };
  if (state.store.is_open())
    commit(self, take(state.deferred, all, doubtful));
  commit_pacer::commit last;
  last.purchases = state.queued.size();
  last.began = commit_pacer::clock_type::now();
  last.arrivals_before = state.options.pacer->arrivals();
  if (state.store.is_open())
    last.arrivals = commit(self, std::exchange(state.queued, {}));
  last.ended = commit_pacer::clock_type::now();
  if (state.store.is_open())
    commit(self, take(state.deferred, all, due));
  if (!state.store.is_open())
    expire(self);
  schedule(self);
  state.options.pacer->pace(last);
}

void reopen(self_pointer self) {
  auto& store = self->state.store;
  if (store.is_open())
    return;
  auto& reported = self->state.store_reported;
  if (store.open(self->clock().now())) {
    reported = false;
    log::info(log_open);
    flush(self);
    return;
  }
  if (!std::exchange(reported, true))
    log::warning(log_away, {{"error", describe(store.error())}});
  self->scheduled_send(self, store.retry_at(), atom::reopen_v);
}

caf::result<record_result> submit(self_pointer self, submission& request) {
  fault_point("transaction-writer.submit");
  auto& state = self->state;
  if (!state.store.is_open()) {
    count_outcome(to_string(errc::unavailable));
    return caf::make_error(errc::unavailable, "no database session");
  }
  if (state.queued.empty())
    self->send(self, atom::flush_v);
  pending_purchase x;
  x.request = std::move(request);
  x.promise = self->make_response_promise<record_result>();
  auto promise = x.promise;
  state.queued.push_back(std::move(x));
  stats().queue_depth.add(1);
  if (state.queued.size() == state.options.batch_max)
    flush(self);
  return promise;
}

readiness ready(const transaction_writer_state& state) {
  auto open = state.store.is_open();
  return {state.name, open, open ? "" : describe(state.store.error())};
}

} // namespace

transaction_writer_state::~transaction_writer_state() {
  auto unsure = caf::make_error(errc::in_doubt, "the writer ended");
  auto sure = caf::make_error(errc::unavailable, "the writer ended");
  for (auto xs : {&queued, &batch, &deferred})
    for (auto& x : *xs)
      if (x.promise.pending())
        answer(x, x.in_doubt || (recording && xs == &batch) ? unsure : sure);
}

transaction_writer_impl::behavior_type
transaction_writer(self_pointer self, transaction_writer_options options) {
  assert(options.open_store && options.pacer && options.batch_max > 0);
  install_handlers(self);
  auto& state = self->state;
  state.options = std::move(options);
  state.store = {state.options.open_store, state.options.seed + self->id()};
  reopen(self);
  return {
    [self](atom::submit, submission& x) { return submit(self, x); },
    [self](atom::ready) { return ready(self->state); },
    [self](atom::flush) { flush(self); },
    [self](atom::reopen) { reopen(self); },
  };
}

} // namespace tillstream

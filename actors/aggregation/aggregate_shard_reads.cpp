#include "actors/aggregation/aggregate_shard_steps.hpp"

#include "messages/core/limits.hpp"
#include "messages/core/metrics.hpp"

#include <cassert>
#include <unordered_set>
#include <utility>

/// @file actors/aggregation/aggregate_shard_reads.cpp
/// What the AGGREGATE SHARD reads: slices, the event log, recent purchases.

namespace tillstream::shard_steps {

namespace {

constexpr std::string_view log_load_failed = "shard.load_failed";
constexpr std::string_view log_mismatch = "shard.snapshot_mismatch";

counter& slices_loaded() {
  static auto& instance
    = metrics().get_counter("tillstream_slices_loaded_total",
                            "Slices of the tables that shards loaded for "
                            "queries.");
  return instance;
}

} // namespace

void read_failed(self_pointer self, const caf::error& why) {
  if (!std::exchange(self->state.load.is_failing, true))
    warn(self, log_load_failed, why);
}

namespace {

/// Reads a slice; nothing is applied meanwhile.
template <class F, class G>
void read(self_pointer self, slice_request what, F on_slice, G on_failure) {
  auto& state = self->state;
  assert(state.busy == work::idle);
  state.busy = work::reading;
  state.queries_first = false;
  what.branch_id = branch_of(self);
  self
    ->request(state.options.reader, limits::shard_load_max, atom::load_v, what)
    .then(
      [self, on_slice](const slice_ptr& x) {
        self->state.busy = work::idle;
        self->state.load.is_failing = false;
        on_slice(*x);
        step(self);
      },
      [self, on_failure](caf::error& err) {
        self->state.busy = work::idle;
        read_failed(self, err);
        on_failure(err);
        step(self);
      });
}

} // namespace

void read_for_query(self_pointer self, const slice_request& what) {
  slices_loaded().add();
  auto on_slice = [self, what](const slice& x) {
    if (self->state.cache->add(what, x)) {
      // Before the next apply: it had its turn.
      answer_queries(self);
      return;
    }
    // Nothing of ours was in flight: somebody else applied.
    log::warning(log_mismatch, {{"branch", branch_of(self)}});
    invalidate_cache(self);
  };
  read(self, what, on_slice,
       [self](const caf::error& err) { fail_queries(self, err); });
}

namespace {

template <class F, class G>
void look_up(self_pointer self, std::vector<uuid> event_ids, F on_known,
             G on_failure) {
  slice_request what;
  what.what = slice_request::kind::known_events;
  what.event_ids = std::move(event_ids);
  read(
    self, std::move(what),
    [on_known](const slice& x) { on_known(x.known_events); },
    [on_failure](const caf::error&) { on_failure(); });
}

void look_up_for_waiters(self_pointer self, std::vector<uuid> event_ids) {
  look_up(
    self, std::move(event_ids),
    [self](const std::vector<uuid>& known) {
      std::unordered_set<uuid> applied{known.begin(), known.end()};
      auto& waiters = self->state.waiters;
      release(waiters.take_applied(
                [&](const uuid& id) { return applied.count(id) > 0; }),
              true);
      waiters.looked_up();
    },
    [self] { tick_at(self, self->state.waiters.lookup_failed(now_of(self))); });
}

void look_up_for_backlog(self_pointer self, backlog_sync::lookup what) {
  auto event_ids = std::exchange(what.event_ids, {});
  look_up(
    self, std::move(event_ids),
    [self, what](const std::vector<uuid>& known) {
      self->state.sync->looked_up(what, known);
      release_applied(self);
      sync_backlog(self);
    },
    [self, what] {
      self->state.sync->lookup_failed(what, now_of(self));
      tick_soon(self);
    });
}

} // namespace

bool read_event_log(self_pointer self) {
  auto& state = self->state;
  auto now = now_of(self);
  if (auto ids = state.waiters.take_lookups(now, limits::known_events_max);
      !ids.empty()) {
    look_up_for_waiters(self, std::move(ids));
    return true;
  }
  if (auto what = state.sync->next_lookup(now)) {
    look_up_for_backlog(self, std::move(*what));
    return true;
  }
  return false;
}

void sync_backlog(self_pointer self) {
  auto& state = self->state;
  if (state.busy == work::loading)
    return;
  auto what = state.sync->next_read(state.cache->cursor(), now_of(self));
  if (!what)
    return;
  self
    ->request(state.options.purchases, limits::shard_load_max, atom::recent_v,
              branch_of(self), what->since)
    .then(
      [self, round = what->round](const commit_notices_ptr& x) {
        self->state.sync->read(round, *x);
        step(self);
      },
      [self, round = what->round](caf::error&) {
        self->state.sync->read_failed(round, now_of(self));
        tick_soon(self);
        step(self);
      });
}

} // namespace tillstream::shard_steps

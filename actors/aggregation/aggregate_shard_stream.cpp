#include "actors/aggregation/aggregate_shard_steps.hpp"

#include "actors/runtime/fault_point.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/metrics.hpp"

#include <cassert>
#include <chrono>
#include <memory>
#include <utility>

/// @file actors/aggregation/aggregate_shard_stream.cpp
/// The AGGREGATE SHARD and the stream: deliveries, data loss, stalls.

namespace tillstream::shard_steps {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view log_republished = "shard.republished";
constexpr std::string_view log_republish_failed = "shard.republish_failed";

constexpr auto state_answer_max = 5s;
constexpr auto republish_answer_max = 30s;

counter& duplicates() {
  static auto& instance
    = metrics().get_counter("tillstream_deliveries_dropped_total",
                            "Deliveries that a shard had seen before.");
  return instance;
}

} // namespace

// -- the stream ---------------------------------------------------------------

namespace {

/// Asks about the stream; one such request at a time.
template <class Answer, class Handle, class F, class G, class... Ts>
void probe(self_pointer self, const Handle& whom, caf::timespan answer_max,
           F on_answer, G on_failure, Ts... xs) {
  assert(!self->state.is_probing);
  self->state.is_probing = true;
  self->request(whom, answer_max, std::move(xs)...)
    .then(
      [self, on_answer](const Answer& x) {
        self->state.is_probing = false;
        on_answer(x);
        step(self);
      },
      [self, on_failure](caf::error& err) {
        self->state.is_probing = false;
        on_failure(err);
        step(self);
      });
}

void reopen(self_pointer self) {
  tick_at(self, self->state.follower->reopen(now_of(self)));
}

/// Asks for the stream's state before the deliveries are opened.
void probe_stream(self_pointer self) {
  auto& follower = *self->state.follower;
  follower.probe_sent();
  probe<stream_state>(
    self, self->state.options.consumer, state_answer_max,
    [&follower](const stream_state& x) { follower.probe_answered(x); },
    [self, &follower](const caf::error&) {
      if (follower.at() == stream_follower::phase::probing)
        reopen(self);
    },
    atom::state_v);
}

void open(self_pointer self) {
  auto& state = self->state;
  auto now = now_of(self);
  auto how = state.follower->open(state.cache->cursor(), now);
  self->send(state.options.consumer, atom::open_v, branch_of(self),
             how.first_seq, how.generation);
  self->send(state.options.consumer, atom::fetch_v, branch_of(self),
             how.credit);
  state.stalls.opened(now);
}

/// Has what is committed and not applied published again.
/// @param permit Kept until there is an answer.
template <class Done, class Failed>
void republish(self_pointer self, repair_limiter::permit permit, Done on_done,
               Failed on_failed) {
  auto& state = self->state;
  probe<int64_t>(
    self, state.options.relay, republish_answer_max,
    [self, permit, on_done](int64_t count) {
      log::warning(log_republished,
                   {{"branch", branch_of(self)}, {"events", count}});
      on_done();
    },
    [self, permit, on_failed](const caf::error& err) {
      warn(self, log_republish_failed, err);
      on_failed();
    },
    atom::republish_v, branch_of(self),
    state.sync->republish_after(state.cache->cursor()));
}

/// The stream lost data: has it published again.
void recover(self_pointer self) {
  auto& state = self->state;
  // A stream that is lost is lost for all branches.
  auto permit = state.options.limiter->acquire();
  if (!permit) {
    auto later = now_of(self) + tick_interval;
    state.follower->postpone(later);
    tick_at(self, later);
    return;
  }
  auto& follower = *state.follower;
  republish(
    self, std::move(permit),
    [&follower, incarnation = follower.republish(state.cache->cursor())] {
      follower.republished(incarnation);
    },
    [self, &follower] {
      if (follower.at() == stream_follower::phase::republishing)
        reopen(self);
    });
}

} // namespace

void follow_stream(self_pointer self) {
  using next = stream_follower::step;
  auto& state = self->state;
  if (state.is_probing)
    return;
  switch (state.follower->next(state.cache->cursor(), state.sync->synced(),
                               now_of(self))) {
    case next::none:
      return;
    case next::probe:
      return probe_stream(self);
    case next::open:
      return open(self);
    case next::adopt:
      return adopt_incarnation(self);
    case next::reopen:
      return reopen(self);
    case next::republish:
      return recover(self);
  }
}

void check_incarnation(self_pointer self) {
  auto& state = self->state;
  if (state.is_probing || !state.follower->take_check(now_of(self)))
    return;
  probe<stream_state>(
    self, state.options.consumer, state_answer_max,
    [self](const stream_state& x) {
      auto& s = self->state;
      if (s.follower->is_following()
          && stream_follower::is_other(s.cache->cursor(), x))
        reopen(self);
    },
    [](const caf::error&) {}, atom::state_v);
}

void fetch(self_pointer self) {
  auto& state = self->state;
  if (auto count = state.follower->inbox().refill(); count > 0)
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
  if (!state.follower->is_following())
    return;
  auto reading = state.follower->inbox().take(x);
  duplicates().add(reading.duplicates.size());
  ack(self, std::move(reading.duplicates));
  if (reading.what != branch_inbox::trouble::none) {
    tick_at(self, state.follower->reopen(now_of(self), reading.what));
    return;
  }
  state.stalls.heard(now_of(self));
  fetch(self);
  step(self);
}

// -- stalls -------------------------------------------------------------------

namespace {

/// Whether events are pending and nothing is under way that could bring them.
bool is_silent(const aggregate_shard_state& state) {
  return state.follower->is_following() && state.busy == work::idle
         && !state.is_probing && state.follower->inbox().empty()
         && state.sync->pending().count() > 0;
}

/// Probes for the reason of a stall; an answer counts unless something came.
template <class Answer, class Handle, class F, class... Ts>
void probe_stall(self_pointer self, const Handle& whom,
                 caf::timespan answer_max, F on_answer, Ts... xs) {
  probe<Answer>(
    self, whom, answer_max,
    [self, on_answer](const Answer& x) {
      if (is_silent(self->state) && self->state.stalls.still_silent())
        on_answer(self, x);
    },
    [self](const caf::error&) {
      self->state.stalls.probe_failed(now_of(self));
    },
    std::move(xs)...);
}

/// The events were published long ago, are not applied and do not come.
/// @param last_seq The branch's last message in the stream.
void repair(self_pointer self, uint64_t last_seq) {
  auto& state = self->state;
  auto may_lack_events
    = state.sync->synced() && last_seq <= state.follower->inbox().last_seq();
  if (state.stalls.stream_answered(may_lack_events)
      == stall_detector::step::reopen) {
    state.stalls.repaired();
    reopen(self);
    return;
  }
  // The stream may have been lost before the branch's cursor knew any of its
  // incarnations: what was SENT and never applied is published again.
  auto permit = state.options.limiter->acquire();
  if (!permit)
    return; // The next tick probes again.
  state.stalls.repaired();
  auto open_again = [self] {
    if (self->state.follower->is_following())
      reopen(self);
  };
  republish(self, std::move(permit), open_again, open_again);
}

void outbox_answered(self_pointer self, int64_t sent_ms) {
  using next = stall_detector::step;
  auto& state = self->state;
  auto what
    = state.stalls.outbox_answered(std::chrono::milliseconds{sent_ms},
                                   now_of(self), state.sync->reconciled_at());
  if (what == next::check_event_log)
    state.sync->reconcile();
  else if (what == next::probe_stream)
    probe_stall<uint64_t>(self, state.options.consumer, state_answer_max,
                          repair, atom::state_v, branch_of(self));
}

} // namespace

void check_stall(self_pointer self) {
  auto& state = self->state;
  const auto& pending = state.sync->pending();
  auto now = now_of(self);
  auto ids = pending.oldest_ids(1);
  if (!is_silent(state) || ids.empty()
      || !state.stalls.is_overdue(now, *pending.oldest(), state.options.now())
      || !state.options.limiter->may_probe(now))
    return;
  state.stalls.begin();
  probe_stall<int64_t>(self, state.options.purchases, limits::shard_load_max,
                       outbox_answered, atom::state_v, branch_of(self),
                       ids.front());
}

} // namespace tillstream::shard_steps

#include "actors/outbox/relay.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/codec/event_codec.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>

#include <algorithm>
#include <cassert>
#include <memory>
#include <string>
#include <utility>

namespace tillstream {

namespace {

using self_pointer = outbox_relay_impl::stateful_pointer<outbox_relay_state>;
using time_point = outbox_relay_state::time_point;

constexpr std::string_view log_store_away = "relay.database_away";
constexpr std::string_view log_store_back = "relay.database_back";
constexpr std::string_view log_broker_away = "relay.broker_away";
constexpr std::string_view log_broker_back = "relay.broker_back";
constexpr std::string_view log_failed = "relay.publish_failed";
constexpr std::string_view log_republish = "relay.republish";

/// How many times as long as a count of the backlog took the next one waits,
/// and how long at least: nobody publishes meanwhile.
constexpr int backlog_wait_factor = 50;
constexpr auto backlog_wait_min = std::chrono::seconds{5};

/// Shortest wait for a `tick`.
constexpr auto tick_min = std::chrono::milliseconds{5};

struct relay_metrics {
  counter& published = metrics().get_counter(
    "tillstream_events_published_total", "Events the broker acknowledged.");
  counter& duplicates = metrics().get_counter(
    "tillstream_publish_duplicates_total",
    "Acknowledged events that the broker knew already.");
  counter& failures = metrics().get_counter(
    "tillstream_publish_failures_total",
    "Events refused or not acknowledged in time; each is published again.");
  histogram& latency
    = metrics().get_histogram("tillstream_publish_latency_seconds",
                              "From publishing to the acknowledgement.", 1e6);
  counter& marked = metrics().get_counter("tillstream_events_marked_total",
                                          "Outbox rows marked SENT.");
  gauge& queued = metrics().get_gauge("tillstream_relay_queue_depth",
                                      "Events in the relay's memory.");
  gauge& backlog = metrics().get_gauge("tillstream_outbox_backlog_rows",
                                       "Outbox rows that are not SENT.");
  gauge& backlog_age
    = metrics().get_gauge("tillstream_outbox_oldest_age_milliseconds",
                          "Age of the oldest outbox row that is not SENT.");
};

relay_metrics& stats() {
  static relay_metrics instance;
  return instance;
}

// -- the table ----------------------------------------------------------------

/// One warning for a database that is away, however often it is tried.
void report_store_away(self_pointer self, const caf::error& err) {
  if (!std::exchange(self->state.store_reported, true))
    log::warning(log_store_away, {{"error", describe(err)}});
}

void lose_store(self_pointer self, const caf::error& err) {
  report_store_away(self, err);
  self->state.store.drop(self->clock().now(), err);
}

bool open_store(self_pointer self) {
  auto& store = self->state.store;
  auto now = self->clock().now();
  if (store.is_open())
    return true;
  if (now < store.retry_at())
    return false;
  if (!store.open(now)) {
    report_store_away(self, store.error());
    return false;
  }
  if (std::exchange(self->state.store_reported, false))
    log::info(log_store_back);
  return true;
}

/// Announces what is committed: the notices of another node may be lost, above
/// all while the broker is away.
void announce_found(self_pointer self, std::vector<commit_notice> rows) {
  if (!self->state.options.feed || rows.empty())
    return;
  for (auto& x : rows)
    x.payload = nullptr;
  self->state.options.feed->publish_remote(
    std::make_shared<const std::vector<commit_notice>>(std::move(rows)));
}

/// Reads the page of NEW rows that starts at `from`.
/// @param announce Whether the shards hear of what is in it.
/// @returns where it ends; nothing when the session is lost.
std::optional<int64_t>
read_page(self_pointer self, int64_t from, bool announce = false) {
  auto& state = self->state;
  auto page_max = state.options.page_max;
  auto rows = from <= state.floor.seq ? state.store->poll(state.floor, page_max)
                                      : state.store->page(from, page_max);
  if (!rows) {
    lose_store(self, rows.error());
    return std::nullopt;
  }
  if (announce)
    announce_found(self, *rows);
  auto to
    = rows->size() < page_max ? publish_queue::no_end : rows->back().seq + 1;
  state.queue->admit_page(from, to, std::move(*rows));
  return to;
}

/// Counts the rows that are not SENT; a count that takes long, as after a
/// broker was away for hours, is made seldom.
void measure_backlog(self_pointer self) {
  auto& state = self->state;
  auto began = self->clock().now();
  if (began < state.backlog_at)
    return;
  auto backlog = state.store->backlog(state.floor);
  auto ended = self->clock().now();
  state.backlog_at = ended
                     + std::max<caf::timespan>(
                       (ended - began) * backlog_wait_factor, backlog_wait_min);
  if (!backlog) {
    lose_store(self, backlog.error());
    return;
  }
  stats().backlog.set(backlog->rows);
  stats().backlog_age.set(backlog->oldest_age_ms);
}

/// The safety net: one page each time, so that in the end all that is NEW is
/// looked at, also behind a branch that is stuck.
void poll(self_pointer self) {
  auto& state = self->state;
  state.poll_at = self->clock().now() + state.options.poll_interval;
  if (!open_store(self))
    return;
  if (auto end = read_page(self, state.scan_from, true)) {
    state.scan_from = *end == publish_queue::no_end ? 0 : *end;
    measure_backlog(self);
  }
}

/// Marks what the broker has. @returns false when the session is lost.
bool confirm_sent(self_pointer self) {
  auto& state = self->state;
  auto rows = state.queue->sent_rows(state.options.confirm_max);
  if (rows.empty())
    return true;
  if (!open_store(self))
    return false;
  if (auto done = state.store->confirm_sent(rows); !done) {
    lose_store(self, done.error());
    return false;
  }
  state.queue->confirm_sent(rows.size());
  stats().marked.add(rows.size());
  return true;
}

// -- the broker ---------------------------------------------------------------

/// One warning for a broker that is away, however often it is tried.
void report_broker_away(self_pointer self, const caf::error& why) {
  if (!std::exchange(self->state.broker.reported, true))
    log::warning(log_broker_away, {{"error", describe(why)}});
}

void pause(self_pointer self, const caf::error& why) {
  auto& broker = self->state.broker;
  report_broker_away(self, why);
  broker.paused_until = self->clock().now() + broker.retry.next();
}

/// Tells whether the broker may be there.
bool connected(self_pointer self) {
  auto& state = self->state;
  auto now = self->clock().now();
  if (state.broker.paused_until && now < *state.broker.paused_until)
    return false;
  if (!state.publisher.is_open()) {
    if (now < state.publisher.retry_at())
      return false;
    if (!state.publisher.open(now)) {
      report_broker_away(self, state.publisher.error());
      return false;
    }
  }
  if (!state.publisher->connected()) {
    pause(self, caf::make_error(errc::unavailable, "not connected"));
    return false;
  }
  state.broker.paused_until.reset();
  if (std::exchange(state.broker.reported, false))
    log::info(log_broker_back);
  return true;
}

/// Publishes one notice. @returns false when the broker is away.
bool publish(self_pointer self, uint64_t token) {
  auto& state = self->state;
  auto& notice = state.queue->in_flight(token);
  auto sent = state.publisher->publish(
    token, event_subject(notice.branch_id),
    message_id(notice.event_id, notice.publish_round), *notice.payload);
  if (sent)
    return true;
  if (sent.error() == errc::unavailable) {
    state.queue->unsent(token, self->clock().now());
    pause(self, sent.error());
    return false;
  }
  stats().failures.add();
  log::error(log_failed, {{"branch", notice.branch_id},
                          {"seq", notice.seq},
                          {"error", describe(sent.error())}});
  state.queue->failed(token, self->clock().now());
  return true;
}

/// Whether the few events that wait should wait for more.
bool in_batch_window(self_pointer self) {
  auto& state = self->state;
  return self->clock().now() < state.publish_at
         && state.queue->waiting() < state.options.batch_max;
}

void publish_all(self_pointer self) {
  auto& state = self->state;
  if (in_batch_window(self))
    return;
  while (state.queue->in_flight() < state.options.in_flight_max
         && connected(self)) {
    auto now = self->clock().now();
    auto token = state.queue->send_next(now);
    if (!token || !publish(self, *token))
      break;
    state.publish_at = now + state.options.batch_window;
  }
}

void take_success(self_pointer self, const publish_ack& ack) {
  auto& state = self->state;
  auto since = state.queue->acked(ack.token);
  if (!since)
    return;
  auto took = std::chrono::duration_cast<std::chrono::microseconds>(
    self->clock().now() - *since);
  stats().latency.observe(static_cast<uint64_t>(took.count()));
  stats().published.add();
  if (ack.duplicate)
    stats().duplicates.add();
  state.broker.retry.reset();
  state.broker.unanswered = false;
}

void take_failure(self_pointer self, const publish_ack& ack) {
  if (!self->state.queue->failed(ack.token, self->clock().now()))
    return;
  stats().failures.add();
  log::warning(log_failed, {{"token", ack.token}, {"error", ack.error}});
}

void fail_overdue(self_pointer self) {
  auto& state = self->state;
  auto now = self->clock().now();
  auto count
    = state.queue->fail_overdue(now - state.options.publish_timeout, now);
  if (count == 0)
    return;
  stats().failures.add(count);
  state.broker.unanswered = true;
  log::warning(log_failed, {{"error", "time-out"}, {"branches", count}});
}

// -- the loop -----------------------------------------------------------------

/// Reads one page if there is a gap and the broker is there to take it.
/// @returns whether the next one should follow at once.
bool catch_up(self_pointer self) {
  auto& queue = *self->state.queue;
  auto page_max = self->state.options.page_max;
  if (!connected(self) || !open_store(self))
    return false;
  auto from = queue.gap(page_max);
  if (!from || !queue.make_room_for(page_max) || !read_page(self, *from))
    return false;
  // Without progress acknowledgements must come first.
  return queue.gap(page_max) > from;
}

void send_flush(self_pointer self) {
  auto& state = self->state;
  if (state.queue->sent_rows() == 0 || state.flush_sent)
    return;
  // Without a session, the tick that opens it flushes.
  if (!state.store.is_open())
    return;
  state.flush_sent = true;
  self->delayed_send(self, state.options.confirm_delay, atom::flush_v);
}

void answer_drains(self_pointer self) {
  auto& state = self->state;
  auto done = state.queue->done();
  auto now = self->clock().now();
  std::erase_if(state.drains, [&](auto& x) {
    if (!done && now < x.first)
      return false;
    x.second.deliver(bool{done});
    return true;
  });
}

/// When a `tick` has to come by itself.
time_point next_due(const outbox_relay_state& state, time_point now) {
  auto due = state.poll_at;
  if (state.queue->waiting() > 0 && state.publish_at > now)
    due = std::min(due, state.publish_at);
  if (auto t = state.queue->next_due(state.options.publish_timeout))
    due = std::min(due, *t);
  if (state.broker.paused_until)
    due = std::min(due, *state.broker.paused_until);
  if (!state.store.is_open())
    due = std::min(due, state.store.retry_at());
  if (!state.publisher.is_open())
    due = std::min(due, state.publisher.retry_at());
  for (auto& [deadline, promise] : state.drains)
    due = std::min(due, deadline);
  return due;
}

void schedule(self_pointer self) {
  auto& state = self->state;
  // What is due while it cannot be done must not make a busy loop.
  auto now = self->clock().now();
  auto due = std::max(next_due(state, now), now + tick_min);
  if (state.wake && *state.wake <= due)
    return;
  state.wake = due;
  self->scheduled_send(self, due, atom::tick_v);
}

/// What follows after everything that happens: fill the gap, publish what may
/// be published, mark what is acknowledged, and wake up when more is due.
void step(self_pointer self) {
  fail_overdue(self);
  auto more = catch_up(self);
  publish_all(self);
  send_flush(self);
  answer_drains(self);
  stats().queued.set(static_cast<int64_t>(self->state.queue->size()));
  if (more)
    self->send(self, atom::tick_v);
  schedule(self);
}

// -- handlers -----------------------------------------------------------------

void take_committed(self_pointer self,
                    const std::vector<commit_notice>& notices) {
  fault_point("outbox-relay.committed");
  for (auto& notice : notices)
    self->state.queue->admit(notice);
  step(self);
}

void take_acks(self_pointer self, const std::vector<publish_ack>& acks) {
  fault_point("outbox-relay.acked");
  for (auto& ack : acks) {
    if (ack.error.empty())
      take_success(self, ack);
    else
      take_failure(self, ack);
  }
  step(self);
}

void tick(self_pointer self) {
  fault_point("outbox-relay.tick");
  auto& state = self->state;
  auto now = self->clock().now();
  if (state.wake && *state.wake <= now)
    state.wake.reset();
  open_store(self);
  if (state.poll_at <= now)
    poll(self);
  step(self);
}

void flush(self_pointer self) {
  fault_point("outbox-relay.flush");
  auto& state = self->state;
  state.flush_sent = false;
  confirm_sent(self);
  step(self);
}

caf::result<int64_t>
republish(self_pointer self, const std::string& branch_id, int64_t after_seq) {
  fault_point("outbox-relay.republish");
  auto& state = self->state;
  // What is acknowledged and not marked would stay NEW in its old round.
  while (state.queue->sent_rows() > 0 && confirm_sent(self))
    ; // nop
  if (state.queue->sent_rows() > 0 || !open_store(self))
    return caf::make_error(errc::unavailable, "no database session");
  auto count = state.store->republish(branch_id, after_seq);
  if (!count) {
    lose_store(self, count.error());
    return count.error();
  }
  log::warning(
    log_republish,
    {{"branch", branch_id}, {"after_seq", after_seq}, {"events", *count}});
  state.queue->forget(branch_id, after_seq);
  state.floor = {}; // The store has lowered it.
  step(self);
  return *count;
}

caf::result<bool> drain(self_pointer self) {
  auto& state = self->state;
  auto promise = self->make_response_promise<bool>();
  state.drains.emplace_back(self->clock().now() + state.options.drain_max,
                            promise);
  poll(self);
  confirm_sent(self);
  step(self);
  return promise;
}

readiness ready(self_pointer self) {
  auto& state = self->state;
  if (!state.store.is_open())
    return {state.name, false, describe(state.store.error())};
  if (!state.publisher.is_open())
    return {state.name, false, describe(state.publisher.error())};
  if (!state.publisher->connected())
    return {state.name, false, "not connected to the broker"};
  if (state.broker.unanswered)
    return {state.name, false, "the broker does not answer"};
  return {state.name, true, ""};
}

/// Hands acknowledgements over from the publisher's thread.
storage::event_publisher::ack_handler ack_handler(self_pointer self) {
  return [relay = outbox_relay_impl{self}](std::vector<publish_ack> acks) {
    caf::anon_send(
      relay, atom::acked_v,
      std::make_shared<const std::vector<publish_ack>>(std::move(acks)));
  };
}

} // namespace

outbox_relay_state::~outbox_relay_state() {
  for (auto& [deadline, promise] : drains)
    promise.deliver(false);
}

outbox_relay_impl::behavior_type
outbox_relay(self_pointer self, outbox_relay_options options) {
  assert(options.open_store && options.connect);
  install_handlers(self);
  auto& state = self->state;
  state.options = std::move(options);
  std::mt19937_64 seeds{state.options.seed + self->id()};
  state.queue.emplace(state.options.queue_max, seeds());
  state.store = {state.options.open_store, seeds()};
  state.broker.retry = backoff{seeds()};
  state.publisher = {[connect = state.options.connect,
                      on_ack = ack_handler(self)] { return connect(on_ack); },
                     seeds()};
  state.poll_at = self->clock().now();
  self->send(self, atom::tick_v);
  return {
    [self](atom::committed, const commit_notices_ptr& x) {
      take_committed(self, *x);
    },
    [self](atom::republish, const std::string& branch_id, int64_t after_seq) {
      return republish(self, branch_id, after_seq);
    },
    [self](atom::ready) { return ready(self); },
    [self](atom::drain) { return drain(self); },
    [self](atom::acked, const publish_acks_ptr& x) { take_acks(self, *x); },
    [self](atom::tick) { tick(self); },
    [self](atom::flush) { flush(self); },
  };
}

} // namespace tillstream

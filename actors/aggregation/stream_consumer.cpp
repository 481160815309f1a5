#include "actors/aggregation/stream_consumer.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>

#include <algorithm>
#include <cassert>
#include <memory>
#include <utility>
#include <vector>

namespace tillstream {

namespace {

using self_pointer
  = stream_consumer_impl::stateful_pointer<stream_consumer_state>;

constexpr std::string_view log_connected = "stream_consumer.connected";
constexpr std::string_view log_not_connected = "stream_consumer.not_connected";
constexpr std::string_view log_lost = "stream_consumer.connection_lost";
constexpr std::string_view log_open_failed = "stream_consumer.open_failed";

struct consumer_metrics {
  counter& delivered = metrics().get_counter(
    "tillstream_events_delivered_total",
    "Messages that came from the stream, redeliveries included.");
  counter& redelivered
    = metrics().get_counter("tillstream_events_redelivered_total",
                            "Messages that the broker delivered before.");
  counter& connects = metrics().get_counter(
    "tillstream_stream_connects_total", "Connections made to read the stream.");
};

consumer_metrics& stats() {
  static consumer_metrics instance;
  return instance;
}

/// Whether the broker is there now.
readiness readiness_of(const stream_consumer_state& state) {
  const auto& source = state.source;
  if (!source.is_open())
    return {state.name, false, describe(source.error())};
  auto connected = source->connected();
  return {state.name, connected, connected ? "" : "not connected"};
}

void publish_broker(self_pointer self) {
  auto& state = self->state;
  if (!state.options.broker)
    return;
  auto now = readiness_of(state);
  state.options.broker->set(std::make_shared<const broker_state>(
    broker_state{now.ready, std::move(now.reason), self->clock().now()}));
}

/// Reports to SHARD MANAGER that a branch's deliveries ended. Without a branch:
/// all did.
void report_lost(self_pointer self, const std::string& branch_id,
                 uint64_t generation, const std::string& why) {
  delivery x;
  x.branch_id = branch_id;
  x.generation = generation;
  x.lost = why;
  self->send(self->state.options.shards, atom::deliver_v,
             std::make_shared<const std::vector<delivery>>(1, std::move(x)));
}

void lose_connection(self_pointer self, const caf::error& why) {
  auto& state = self->state;
  log::warning(log_lost, {{"error", describe(why)}});
  state.away = true;
  state.source.drop(self->clock().now(), why);
  state.last_reading.reset();
  state.open.clear();
  publish_broker(self);
  report_lost(self, {}, 0, "the connection was lost");
}

/// Deals with a failed call: it ends the branch's deliveries, or all.
void call_failed(self_pointer self, const std::string& branch_id,
                 const caf::error& why) {
  auto& state = self->state;
  if (!state.source->connected()) {
    lose_connection(self, why);
    return;
  }
  log::warning(log_open_failed,
               {{"branch", branch_id}, {"error", describe(why)}});
  auto i = state.open.find(branch_id);
  if (i == state.open.end())
    return;
  report_lost(self, branch_id, i->second, describe(why));
  state.open.erase(i);
}

/// Connects if there is no connection, and looks after the one there is.
void check_connection(self_pointer self) {
  auto& state = self->state;
  auto now = self->clock().now();
  if (state.source.is_open() && !state.source->connected())
    lose_connection(self, caf::make_error(errc::unavailable, "not connected"));
  if (!state.source.is_open()) {
    if (state.source.open(now)) {
      stats().connects.add();
      log::info(log_connected);
      state.away = false;
      report_lost(self, {}, 0, "a new connection");
    } else if (!std::exchange(state.away, true)) {
      log::warning(log_not_connected,
                   {{"error", describe(state.source.error())}});
    }
  }
  publish_broker(self);
  auto next = now + state.options.check_interval;
  if (!state.source.is_open())
    next = std::min(next, state.source.retry_at());
  self->scheduled_send(self, next, atom::reopen_v);
}

void open(self_pointer self, const std::string& branch_id, uint64_t first_seq,
          uint64_t generation) {
  auto& state = self->state;
  if (!state.source.is_open()) {
    report_lost(self, branch_id, generation, "not connected");
    return;
  }
  state.open[branch_id] = generation;
  auto result = state.source->open(branch_id, first_seq, generation);
  if (!result)
    call_failed(self, branch_id, result.error());
}

void close(self_pointer self, const std::string& branch_id) {
  auto& state = self->state;
  if (state.open.erase(branch_id) > 0 && state.source.is_open())
    state.source->close(branch_id);
}

void fetch(self_pointer self, const std::string& branch_id, uint64_t count) {
  fault_point("stream-consumer.fetch");
  auto& state = self->state;
  // Its shard was told that the branch is not open.
  if (!state.source.is_open() || state.open.count(branch_id) == 0)
    return;
  auto result = state.source->fetch(branch_id, count);
  if (!result)
    call_failed(self, branch_id, result.error());
}

/// The readings of all shards of a second are one. It never looks shorter than
/// what was delivered.
caf::result<stream_state> read_state(self_pointer self) {
  auto& state = self->state;
  auto& progress = *state.progress;
  auto now = self->clock().now();
  auto losses = progress.losses.load();
  if (const auto& last = state.last_reading;
      last && now - last->at < limits::stream_state_age_max
      && last->losses == losses) {
    auto result = last->stream;
    result.last_seq = std::max(result.last_seq, progress.last_seq.load());
    return result;
  }
  if (!state.source.is_open())
    return caf::make_error(errc::unavailable, "not connected");
  // What is delivered from here on counts.
  progress.last_seq = 0;
  auto result = state.source->state();
  if (!result)
    return result.error();
  state.last_reading = {*result, now, losses};
  return *result;
}

caf::result<uint64_t>
read_last_seq(self_pointer self, const std::string& branch_id) {
  auto& state = self->state;
  if (!state.source.is_open())
    return caf::make_error(errc::unavailable, "not connected");
  auto result = state.source->last_seq(branch_id);
  if (!result)
    return result.error();
  return *result;
}

void raise(std::atomic<uint64_t>& what, uint64_t to) {
  auto now = what.load();
  while (now < to && !what.compare_exchange_weak(now, to))
    ; // nop
}

/// Runs on threads of the client library.
void count(delivery_progress& progress, const std::vector<delivery>& xs) {
  for (const auto& x : xs) {
    stats().delivered.add(x.messages.size());
    // What was known of the stream may be over.
    if (!x.lost.empty()) {
      progress.last_seq = 0;
      ++progress.losses;
    }
    for (const auto& message : x.messages) {
      stats().redelivered.add(message.delivery > 1 ? 1 : 0);
      raise(progress.last_seq, message.stream_seq);
    }
  }
}

/// Runs on threads of the client library.
storage::event_source::delivery_handler
make_callback(const stream_consumer_state& state) {
  return [shards = state.options.shards,
          progress = state.progress](std::vector<delivery> xs) {
    count(*progress, xs);
    caf::anon_send(
      shards, atom::deliver_v,
      std::make_shared<const std::vector<delivery>>(std::move(xs)));
  };
}

} // namespace

stream_consumer_impl::behavior_type
stream_consumer(self_pointer self, stream_consumer_options options) {
  assert(options.connect && options.shards);
  install_handlers(self);
  auto& state = self->state;
  state.options = std::move(options);
  state.source = {
    [self] { return self->state.options.connect(make_callback(self->state)); },
    state.options.seed};
  check_connection(self);
  return {
    [self](atom::open, const std::string& branch_id, uint64_t first_seq,
           uint64_t generation) {
      open(self, branch_id, first_seq, generation);
    },
    [self](atom::close, const std::string& branch_id) {
      close(self, branch_id);
    },
    [self](atom::fetch, const std::string& branch_id, uint64_t count) {
      fetch(self, branch_id, count);
    },
    [self](atom::ack, const strings_ptr& replies) {
      if (self->state.source.is_open())
        self->state.source->ack(*replies);
    },
    [self](atom::state) { return read_state(self); },
    [self](atom::state, const std::string& branch_id) {
      return read_last_seq(self, branch_id);
    },
    [self](atom::reopen) { check_connection(self); },
  };
}

} // namespace tillstream

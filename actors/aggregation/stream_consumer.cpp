#include "actors/aggregation/stream_consumer.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/actor_cast.hpp>
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
  = stream_consumer_actor::stateful_pointer<stream_consumer_state>;

constexpr std::string_view log_connected = "stream-connected";
constexpr std::string_view log_not_connected = "stream-not-connected";
constexpr std::string_view log_lost = "stream-connection-lost";
constexpr std::string_view log_open_failed = "stream-open-failed";

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

void forward(self_pointer self, deliveries_ptr xs) {
  self->send(self->state.options.shards, atom::deliver_v, std::move(xs));
}

/// Tells SHARD MANAGER that a branch's deliveries ended. Without a branch: all
/// did.
void tell_lost(self_pointer self, const std::string& branch_id,
               uint64_t generation, const std::string& why) {
  delivery x;
  x.branch_id = branch_id;
  x.generation = generation;
  x.lost = why;
  forward(self, std::make_shared<const std::vector<delivery>>(1, std::move(x)));
}

void lose_connection(self_pointer self, const caf::error& why) {
  auto& state = self->state;
  log::warning(log_lost, {{"error", describe(why)}});
  state.source.drop(self->clock().now(), why);
  state.stream.reset();
  state.open.clear();
  tell_lost(self, {}, 0, "the connection was lost");
}

/// Deals with a failed call: it ends the branch's deliveries, or all.
void call_failed(self_pointer self, const std::string& branch_id,
                 const caf::error& why) {
  auto& state = self->state;
  log::warning(log_open_failed,
               {{"branch", branch_id}, {"error", describe(why)}});
  if (!state.source->connected()) {
    lose_connection(self, why);
    return;
  }
  auto i = state.open.find(branch_id);
  if (i == state.open.end())
    return;
  tell_lost(self, branch_id, i->second, describe(why));
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
      tell_lost(self, {}, 0, "a new connection");
    } else {
      log::warning(log_not_connected,
                   {{"error", describe(state.source.error())}});
    }
  }
  auto next = now + state.options.check_interval;
  if (!state.source.is_open())
    next = std::min(next, state.source.retry_at());
  self->scheduled_send(self, next, atom::reopen_v);
}

void open(self_pointer self, const std::string& branch_id, uint64_t first_seq,
          uint64_t generation) {
  auto& state = self->state;
  if (!state.source.is_open()) {
    tell_lost(self, branch_id, generation, "not connected");
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
  auto& state = self->state;
  // Its shard was told that the branch is not open.
  if (!state.source.is_open() || state.open.count(branch_id) == 0)
    return;
  auto result = state.source->fetch(branch_id, count);
  if (!result)
    call_failed(self, branch_id, result.error());
}

caf::result<stream_state> read_state(self_pointer self) {
  auto& state = self->state;
  auto now = self->clock().now();
  if (state.stream && now - state.read_at < limits::stream_state_age_max)
    return *state.stream;
  if (!state.source.is_open())
    return caf::make_error(errc::unavailable, "not connected");
  auto result = state.source->state();
  if (!result)
    return result.error();
  state.stream = *result;
  state.read_at = now;
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

void deliver(self_pointer self, const deliveries_ptr& xs) {
  fault_point("stream-consumer.deliver");
  auto& state = self->state;
  for (const auto& x : *xs) {
    stats().delivered.add(x.messages.size());
    // What we knew of the stream may be over.
    if (!x.lost.empty())
      state.stream.reset();
    for (const auto& message : x.messages) {
      stats().redelivered.add(message.delivery > 1 ? 1 : 0);
      if (state.stream)
        state.stream->last_seq
          = std::max(state.stream->last_seq, message.stream_seq);
    }
  }
  forward(self, xs);
}

readiness tell(const stream_consumer_state& state) {
  auto& source = state.source;
  if (!source.is_open())
    return {state.name, false, describe(source.error())};
  auto connected = source->connected();
  return {state.name, connected, connected ? "" : "not connected"};
}

/// Runs on threads of the client library.
storage::event_source::delivery_handler
make_callback(stream_consumer_actor consumer) {
  return [consumer](std::vector<delivery> xs) {
    caf::anon_send(
      consumer, atom::deliver_v,
      std::make_shared<const std::vector<delivery>>(std::move(xs)));
  };
}

} // namespace

stream_consumer_actor::behavior_type
stream_consumer(self_pointer self, stream_consumer_options options) {
  assert(options.connect && options.shards);
  install_handlers(self);
  auto& state = self->state;
  state.options = std::move(options);
  state.source = {[self] {
                    return self->state.options.connect(make_callback(
                      caf::actor_cast<stream_consumer_actor>(self)));
                  },
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
    [self](atom::ready) { return tell(self->state); },
    [self](atom::deliver, const deliveries_ptr& xs) { deliver(self, xs); },
    [self](atom::reopen) { check_connection(self); },
  };
}

} // namespace tillstream

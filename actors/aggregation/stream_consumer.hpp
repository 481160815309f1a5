#pragma once

#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "actors/runtime/snapshot_holder.hpp"
#include "messages/model/broker_state.hpp"
#include "messages/protocol/aggregation.hpp"
#include "storage/ports/event_stream.hpp"

#include <caf/actor_clock.hpp>
#include <caf/expected.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace tillstream {

/// Tuning of a STREAM CONSUMER.
struct stream_consumer_options {
  /// Connects on the consumer's thread; the handler runs on threads of the
  /// client library.
  std::function<caf::expected<storage::event_source_ptr>(
    storage::event_source::delivery_handler)>
    connect = nullptr;

  /// Who gets the deliveries.
  delivery_sink_actor shards = {};

  /// Where it publishes whether the broker is there. May be null.
  snapshot_holder_ptr<broker_state> broker = nullptr;

  /// How often it checks whether the connection still is there.
  caf::timespan check_interval = std::chrono::seconds{1};

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();
};

/// What arrived by a connection; written by the client library's threads.
struct delivery_progress {
  /// Raised whenever deliveries may be missing.
  std::atomic<uint64_t> losses{0};
  /// The highest message since the stream was read last.
  std::atomic<uint64_t> last_seq{0};
};

/// With what a STREAM CONSUMER says to itself.
using stream_consumer_impl = stream_consumer_actor::extend<
  // Checks the connection, and connects again.
  caf::reacts_to<atom::reopen>>;

/// State of a STREAM CONSUMER.
struct stream_consumer_state {
  stream_consumer_state() = default;

  static inline const char* name = "stream-consumer";

  stream_consumer_options options;

  session<storage::event_source> source;

  /// Generation of each branch that is open.
  std::map<std::string, uint64_t> open;

  std::shared_ptr<delivery_progress> progress
    = std::make_shared<delivery_progress>();

  /// The stream as last read; of no use after a loss.
  struct reading {
    stream_state stream;
    caf::actor_clock::time_point at;
    uint64_t losses = 0;
  };
  std::optional<reading> last_reading;

  /// The broker is away, and that was logged.
  bool away = false;
};

/// Controls the branches' deliveries: opens, closes, gives credit and
/// acknowledges. The messages themselves go from the client library's threads
/// straight to SHARD MANAGER.
///
///                     open, close, fetch, ack
///   shards ─────────────────────────────────> STREAM CONSUMER ──> event source
///     ^                                              │ lost            │
///     └── SHARD MANAGER <────────────────────────────┴──── deliveries ─┘
///
/// - Promise: whatever may have cut a branch's deliveries short is told to
///   SHARD MANAGER as `lost`, so that the shard opens again at its cursor: a
///   new connection, an `open` or `fetch` that failed, a start of this actor.
///   Whether the broker is there is published at each check.
/// - Thread: `caf::detached`, because the client library blocks. Its callback
///   counts the messages and sends them on.
/// - Limits: a branch has at most what its shard fetched; one entry a branch.
/// - Failure: a connection that is gone is thrown away and made again with
///   backoff and jitter. `state` is answered with an error meanwhile.
/// @param self The actor handle.
/// @param options Moved into the state.
stream_consumer_impl::behavior_type stream_consumer(
  stream_consumer_impl::stateful_pointer<stream_consumer_state> self,
  stream_consumer_options options);

} // namespace tillstream

#pragma once

#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/protocol/aggregation.hpp"
#include "storage/ports/event_stream.hpp"

#include <caf/actor_clock.hpp>
#include <caf/expected.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
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

  /// How often it looks whether the connection still is there.
  caf::timespan check_interval = std::chrono::seconds{1};

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();
};

/// State of a STREAM CONSUMER.
struct stream_consumer_state {
  stream_consumer_state() = default;

  static inline const char* name = "stream-consumer";

  stream_consumer_options options;

  session<storage::event_source> source;

  /// Generation of each branch that is open.
  std::map<std::string, uint64_t> open;

  /// The stream as last read. Its end follows the deliveries, so that it never
  /// looks shorter than what was delivered.
  std::optional<stream_state> stream;
  caf::actor_clock::time_point read_at;
};

/// Pulls the branches' events from the broker and hands them to SHARD MANAGER.
///
/// - Promise: whatever may have cut a branch's deliveries short is told to
///   SHARD MANAGER as `lost`, so that the shard opens again at its cursor: a
///   new connection, an `open` or `fetch` that failed, a start of this actor.
/// - Thread: `caf::detached`, because the client library blocks. Its callback
///   sends `deliver` to the actor and does nothing else.
/// - Limits: a branch has at most what its shard fetched; one entry a branch.
/// - Failure: a connection that is gone is thrown away and made again with
///   backoff and jitter. `state` is answered with an error meanwhile.
/// @param self The actor handle.
/// @param options Moved into the state.
stream_consumer_actor::behavior_type stream_consumer(
  stream_consumer_actor::stateful_pointer<stream_consumer_state> self,
  stream_consumer_options options);

} // namespace tillstream

#pragma once

#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/protocol/aggregation.hpp"
#include "storage/ports/aggregate_store.hpp"

#include <caf/expected.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <cstdint>
#include <functional>

namespace tillstream {

/// Tuning of an AGGREGATE READER.
struct aggregate_reader_options {
  /// Opens a session; runs on the reader's own thread.
  std::function<caf::expected<storage::aggregate_store_ptr>()> open_store
    = nullptr;

  /// Opens a session on a read replica, likewise; null: there is none.
  std::function<caf::expected<storage::aggregate_store_ptr>()> open_replica
    = nullptr;

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();
};

/// State of an AGGREGATE READER.
struct aggregate_reader_state {
  aggregate_reader_state() = default;

  static inline const char* name = "aggregate-reader";

  aggregate_reader_options options;

  session<storage::aggregate_store> store;

  /// Never opened without `open_replica`.
  session<storage::aggregate_store> replica;
};

/// Reads the analytics tables for the shards and QUERY.
///
/// - Replica: slices of history are read there, if it stands exactly at the
///   shard's snapshot; else, and for everything else, the primary is asked.
/// - Thread: `caf::detached`, because the store blocks. Several stand behind
///   one supervisor, which takes them in turn.
/// - Limits: none of its own. Each shard asks one thing at a time, at most
///   `limits::shard_starts_max` shards start at once, and QUERY has a limit on
///   its queries.
/// - Failure: a lost session answers `errc::unavailable`, and so does every
///   request until the backoff is over; the first one after it opens a new
///   session.
/// @param self The actor handle.
/// @param options Moved into the state.
aggregate_reader_actor::behavior_type aggregate_reader(
  aggregate_reader_actor::stateful_pointer<aggregate_reader_state> self,
  aggregate_reader_options options);

} // namespace tillstream

#pragma once

#include "actors/aggregation/backlog_sync.hpp"
#include "actors/aggregation/branch_cache.hpp"
#include "actors/aggregation/event_waiters.hpp"
#include "actors/aggregation/query_queue.hpp"
#include "actors/aggregation/repair_limiter.hpp"
#include "actors/aggregation/stall_detector.hpp"
#include "actors/aggregation/stream_follower.hpp"
#include "actors/aggregation/writer_pool.hpp"
#include "actors/runtime/backoff.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/aggregation.hpp"
#include "messages/protocol/intake.hpp"
#include "messages/protocol/outbox.hpp"

#include <caf/actor_clock.hpp>
#include <caf/error.hpp>
#include <caf/local_actor.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tillstream {

/// Tuning and surroundings of an AGGREGATE SHARD.
struct aggregate_shard_options {
  std::string branch_id = {};

  /// As the ownership was taken with.
  int64_t epoch = 0;

  /// The branch's clock.
  branch_clock clock = {};

  /// The generations of this shard's deliveries are above, and below those of
  /// any later shard of the branch.
  uint64_t generation = 0;

  stream_consumer_actor consumer = {};
  /// Not null.
  writer_pool_ptr writers = nullptr;
  aggregate_reader_actor reader = {};
  backlog_reader_actor purchases = {};
  outbox_relay_actor relay = {};

  /// The database's clock.
  std::function<timestamp()> now = nullptr;

  /// Where SHARD MANAGER reads how far we are behind, milliseconds. May be
  /// null.
  std::shared_ptr<std::atomic<int64_t>> lag_ms = nullptr;

  /// Messages fetched and not yet applied.
  size_t fetch_max = limits::branch_fetch_max;

  /// Events of one apply.
  size_t batch_max = limits::shard_batch_max;

  /// How long events wait for others between two applies at most, as long as
  /// there are fewer than `batch_window_max`. A transaction of the aggregates
  /// costs as much as a few dozen events do; a sale after a quiet moment goes
  /// at once. The windows end at multiples of it on the clock, so that all
  /// branches of a node come together.
  caf::timespan batch_window = caf::timespan{0};
  size_t batch_window_max = 250;

  /// Rows of all slices.
  size_t slice_rows_max = limits::shard_slice_rows_max;

  backlog_limits pending = {};

  /// Notices that `purchases` gives at most; that many mean that there may be
  /// more.
  size_t notices_max = limits::backlog_ids_max;

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();

  /// Shared with the other shards of the node.
  repair_limiter_ptr limiter = std::make_shared<repair_limiter>();
};

/// The AGGREGATE SHARD with what it sends to itself.
using aggregate_shard_impl = aggregate_shard_actor::extend<
  // Loads its state, again after a failure.
  caf::reacts_to<atom::load>,
  // Retries and time-outs.
  caf::reacts_to<atom::tick>>;

/// State of an AGGREGATE SHARD.
struct aggregate_shard_state {
  using time_point = caf::actor_clock::time_point;

  /// What is under way with the analytics database. One at a time, so that
  /// cache and tables are equal whenever a slice is loaded.
  ///
  ///                  loaded             a batch, or another incarnation
  ///   loading ────────────────> idle <─────────────────────────> applying
  ///      ^                      │  ^                                 │
  ///      │                      │  └──────> reading                  │
  ///      │  snapshot mismatch   │           a slice, the event log   │
  ///      └──────────────────────┴────────────────────────────────────┘
  ///                                failed, in doubt, unexpected cursor
  enum class work : uint8_t { loading, idle, applying, reading };

  /// Has the branch's state loaded again.
  struct loader {
    std::optional<backoff> retry;
    /// The last read failed; the next failure is no news.
    bool is_failing = false;
  };

  /// What the AGGREGATE WRITER has.
  struct batch {
    apply_request_ptr request;
    writer_pool::place place;
    /// Where to acknowledge its events.
    std::vector<std::string> replies;
  };

  /// Few events wait for more.
  struct window {
    time_point ends_at;
    /// A `tick` comes then.
    bool tick_sent = false;
  };

  struct schedule {
    time_point tick_at;
    time_point idle_slices_at;
  };

  aggregate_shard_state() = default;

  /// Answers queries and waiters that are left.
  ~aggregate_shard_state();

  static inline const char* name = "aggregate-shard";

  aggregate_shard_options options;

  std::optional<branch_cache> cache;
  std::optional<backlog_sync> sync;
  std::optional<stream_follower> follower;
  stall_detector stalls;
  query_queue<caf::typed_response_promise<shard_answer_ptr>> queries;
  event_waiters<caf::typed_response_promise<bool>> waiters;

  work busy = work::loading;

  /// STREAM CONSUMER, relay or purchases were asked about the stream and have
  /// not answered. One such probe at a time; applying goes on meanwhile.
  bool is_probing = false;

  loader load;
  batch applying;
  window gathering;

  /// Whether the next work is a query's, if there is any.
  bool queries_first = false;

  schedule due;

  /// Set once we are to end: what to quit with when nothing is in flight.
  std::optional<caf::error> end_reason;
};

/// One branch's analytics: takes its events in stream order, has them applied
/// exactly once, and answers its part of every query from memory.
///
/// The parts are plain classes that know neither each other nor CAF:
///
///   STREAM CONSUMER ─ deliveries ─> stream_follower ─ batches ─> WRITER
///                                        ^                          │
///                     stall_detector ────┘ repairs                  │ outcomes
///                                                                   v
///   AGGREGATE READER ─ state, slices ──────────────────────> branch_cache
///   PURCHASE READER, event log ─> backlog_sync ─ progress ──┐       │
///                                      │ applied            v       v
///                                      └> event_waiters   query_queue ─>
///                                      answers
///
/// - Promise: events are applied in the order of the branch's subject, each
///   once; acknowledged after the commit; the cache changes only after a known
///   COMMIT. Either one apply or one load of a slice is in flight, never both.
/// - Stream data loss: when the stream has another incarnation than the
///   cursor, or ends before it, that is logged as an error; the relay publishes
///   again what is missing, and only then the cursor moves into the new
///   incarnation. A crash in between repeats it; the event log drops
///   duplicates.
/// - Stall: when events are pending and none is delivered, the outbox tells
///   whether they were published at all: if not, the relay is behind, and
///   waiting is all there is to do. If they were, long ago, and neither the
///   event log nor a delivery has them, the branch opens again; if the stream
///   does not have them either, they are published again.
/// - Thread: cooperative; no handler blocks.
/// - Limits: `fetch_max` messages, `backlog_ids_max` pending ids,
///   `shard_queries_max` queries, `after_waiters_max` waiters,
///   `shard_slice_rows_max` rows of slices.
/// - Failure: a failed apply drops the cache and loads it again with backoff;
///   queries are then answered `errc::unavailable`. A stale epoch ends the
///   actor with `errc::not_owner`; SHARD MANAGER takes the branch again, or
///   not. An event that can't be read goes to the quarantine and delays no
///   others.
/// - Shutdown: an exit message lets the apply that is in flight be answered
///   first, so that its events are acknowledged and nobody applies them again.
/// @param self The actor handle.
/// @param options Moved into the state.
aggregate_shard_impl::behavior_type aggregate_shard(
  aggregate_shard_impl::stateful_pointer<aggregate_shard_state> self,
  aggregate_shard_options options);

/// Starts a shard as a child of `parent`.
aggregate_shard_actor spawn_aggregate_shard(caf::local_actor* parent,
                                            aggregate_shard_options options);

} // namespace tillstream

#pragma once

#include "actors/aggregation/backlog.hpp"
#include "actors/aggregation/branch_cache.hpp"
#include "actors/aggregation/branch_inbox.hpp"
#include "actors/aggregation/repair_limiter.hpp"
#include "actors/aggregation/writer_pool.hpp"
#include "actors/runtime/backoff.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/queries.hpp"
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

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
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

  /// Messages fetched and not yet applied.
  size_t fetch_max = limits::branch_fetch_max;

  /// Events of one apply.
  size_t batch_max = limits::shard_batch_max;

  /// How long events batch_window between two applies at most, as long as fewer
  /// than `batch_window_max` wait. A transaction of the aggregates costs as
  /// much as a few dozen events do; a sale after a quiet moment goes at once.
  /// The ends are multiples of it on the clock, so that all branches of a node
  /// come together.
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
  repair_limiter_ptr gate = std::make_shared<repair_limiter>();
};

/// State of an AGGREGATE SHARD.
struct aggregate_shard_state {
  using time_point = caf::actor_clock::time_point;

  /// See the drawing below.
  enum class phase : uint8_t { loading, opening, live };

  /// What is under way with the analytics database. At most one at a time, so
  /// that memory and tables are equal whenever a slice is loaded.
  enum class work : uint8_t { none, applying, adopting, reading };

  /// How far the outbox has been compared with what we know.
  enum class sync : uint8_t { due, reading, checking, done };

  /// A query whose slices are being loaded.
  struct asked {
    shard_query_ptr query;
    caf::typed_response_promise<shard_answer_ptr> promise;
    time_point deadline;
  };

  /// Somebody waits for an event.
  struct waiter {
    uuid event_id;
    caf::typed_response_promise<bool> promise;
    time_point deadline;
    /// The event log must be asked: it may have been applied long ago.
    bool check = false;
  };

  aggregate_shard_state() = default;

  /// Answers whoever still waits, and takes the branch out of the metrics.
  ~aggregate_shard_state();

  static inline const char* name = "aggregate-shard";

  aggregate_shard_options options;

  std::optional<branch_cache> memory;
  std::optional<branch_inbox> inbox;
  backlog pending;

  phase at = phase::loading;
  work busy = work::none;

  // -- loading
  std::optional<backoff> load_wait;
  /// A `load` is on its way to ourselves.
  bool load_sent = false;

  // -- the stream
  std::optional<backoff> open_wait;
  uint64_t generation = 0;
  /// Not before this.
  time_point open_at;
  /// STREAM CONSUMER or relay were asked and have not answered.
  bool open_asked = false;
  /// What STREAM CONSUMER said last while `opening`.
  std::optional<stream_state> stream;
  /// The relay publishes again what the stream lost data of this life.
  std::string republished_for;
  std::string alarmed_for;
  time_point checked_at;
  /// Last sign of life from the stream.
  time_point heard_at;
  caf::timespan stall_wait = limits::stall_min;

  // -- applying
  /// What the AGGREGATE WRITER has; null: nothing.
  apply_request_ptr batch;
  /// Whose it is while something is applied or adopted.
  writer_pool::place writing;
  /// Where to acknowledge its events.
  std::vector<std::string> batch_replies;
  /// Not before this, while few events wait.
  time_point apply_at;
  /// A `tick` comes then.
  bool gathering = false;
  /// Whether the next work is a query's, if there is any.
  bool queries_first = false;

  /// Set once we are to end: what to quit with when nothing is in flight.
  std::optional<caf::error> end_reason;

  // -- who waits
  std::deque<asked> queries;
  std::vector<waiter> waiters;

  // -- the backlog
  sync sync_at = sync::due;
  /// Tells the answer that counts from those of earlier rounds.
  uint64_t sync_round = 0;
  std::optional<backoff> sync_wait;
  time_point sync_due_at;
  /// Whether `pending` is what the tables say.
  bool synced = false;
  /// While it is not, answers wait for it until then.
  time_point learning_until;
  /// Read from the outbox, to be compared with the event log.
  std::vector<commit_notice> notices;
  std::optional<backlog::rest> notices_rest;
  time_point reconciled_at;
  bool reconcile_due = false;

  // -- time
  time_point next_tick;
  time_point idle_slices_at;
  int64_t shown_pending = 0;
  /// -1: not yet.
  int64_t shown_lag = -1;
};

/// One branch's analytics: takes its events in stream order, has them applied
/// exactly once, and answers its part of every query from memory.
///
///                load          state of the stream
///   ┌─> loading ──────> opening ──────────────────> live ──┐
///   │                  ^    │  ^                     │     │
///   │  no connection   └────┘  │  gap, redelivery,   │     │
///   │                          └─────────────────────┘     │
///   │        apply failed or in doubt, slice does not fit  │
///   └──────────────────────────────────────────────────────┘
///
/// - Promise: events are applied in the order of the branch's subject, each
///   once; acknowledged after the commit; memory changes only after a known
///   COMMIT. Either one apply or one load of a slice is in flight, never both.
/// - The stream lost data: when the stream is another than the cursor's, or
/// ends
///   before it, that is an alarm; the relay publishes again what is missing,
///   and only then the cursor moves into the new life of the stream. A crash
///   in between does it all again; the event log drops what comes twice.
/// - Stall: when something is pending and nothing comes, the outbox tells
///   whether it was published at all: if not the relay is behind, and waiting
///   is all there is to do. If it was, long ago, and neither the event log nor
///   a delivery has it, the branch opens again; if the stream does not have it
///   either, it is published again.
/// - Thread: cooperative; no handler blocks.
/// - Limits: `fetch_max` messages, `backlog_ids_max` pending ids,
///   `shard_queries_max` queries, `after_waiters_max` waiters,
///   `shard_slice_rows_max` rows of slices.
/// - Failure: a failed apply drops the memory and loads it again with backoff;
///   queries are then answered `errc::unavailable`. A stale epoch ends the
///   actor with `errc::not_owner`; SHARD MANAGER takes the branch again, or
///   not. An event that can't be read goes to the quarantine and stops nobody.
/// - Shutdown: an exit message lets the apply that is in flight be answered
///   first, so that its events are acknowledged and nobody applies them again.
/// @param self The actor handle.
/// @param options Moved into the state.
aggregate_shard_actor::behavior_type aggregate_shard(
  aggregate_shard_actor::stateful_pointer<aggregate_shard_state> self,
  aggregate_shard_options options);

/// Starts a shard as a child of `parent`.
aggregate_shard_actor spawn_aggregate_shard(caf::local_actor* parent,
                                            aggregate_shard_options options);

} // namespace tillstream

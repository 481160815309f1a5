#pragma once

#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/aggregation.hpp"
#include "storage/ports/aggregate_store.hpp"

#include <caf/expected.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

namespace tillstream {

/// Tuning of an AGGREGATE WRITER.
struct aggregate_writer_options {
  /// Opens a session; runs on the writer's own thread.
  std::function<caf::expected<storage::aggregate_store_ptr>()> open_store
    = nullptr;

  /// How long the first request waits for those of other branches, while
  /// together they have fewer than `batch_window_max` events. Shards whose
  /// batch windows end at the same moments send together, so a millisecond
  /// brings them into one commit.
  caf::timespan batch_window{0};
  size_t batch_window_max = 250;

  /// Upper bound of events in one commit. A single request may exceed it.
  size_t batch_max = limits::apply_batch_max;

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();
};

/// With what an AGGREGATE WRITER says to itself.
using aggregate_writer_impl = aggregate_writer_actor::extend<
  // Commits everything collected since the last commit.
  caf::reacts_to<atom::flush>,
  // Tries to open a session again.
  caf::reacts_to<atom::reopen>>;

/// State of an AGGREGATE WRITER. A request is in exactly one of `queued` and
/// `batch` until it is answered.
struct aggregate_writer_state {
  struct pending_apply {
    apply_request_ptr what;
    caf::typed_response_promise<apply_outcome_ptr> promise;
    /// The store refused a batch that it was in: it goes into one of its own.
    bool alone = false;
  };

  aggregate_writer_state() = default;

  /// Answers whoever still waits. CAF 0.17 has no broken promises: without
  /// this, a writer that ends early leaves the shards to their timeouts.
  ~aggregate_writer_state();

  static inline const char* name = "aggregate-writer";

  aggregate_writer_options options;

  session<storage::aggregate_store> store;
  /// It could not be opened, and that was logged.
  bool away = false;

  /// Collected since the last commit.
  std::deque<pending_apply> queued;
  /// Events of all of them.
  size_t queued_events = 0;
  /// A `flush` is on its way, at once or later.
  bool flush_sent = false;
  bool window_open = false;

  /// In the store's hands: it may be durable.
  std::vector<pending_apply> batch;
};

/// Applies the batches of many branches in one transaction.
///
/// While one commit blocks, requests wait in the mailbox. The first
/// request after a commit sends `flush` to the writer itself, which queues
/// behind all of them; the batch is therefore whatever arrived meanwhile. When
/// that is little, the `flush` comes after `batch_window`.
///
///          apply               flush                 answer
///   shard ───────> queued ──────────────> batch ────────────> shard
///                     │  one a branch, up to `batch_max` events
///                     └─ what is left: another flush
///
/// - Promise: an outcome is answered only for what is durable. After
///   `errc::in_doubt` the shards load their state again.
/// - Thread: `caf::detached`, because the store blocks.
/// - Limits: `batch_max` events per commit. The mailbox is bounded by its
///   clients: each shard has one request under way.
/// - Failure: losing the database is no failure of the actor: everybody is
///   answered, also those who come while it is away, and the session is opened
///   anew with backoff. What the store refuses for another reason is tried
///   again request by request, so that one branch's trouble stays its own.
/// @param self The actor handle.
/// @param options Moved into the state.
aggregate_writer_impl::behavior_type aggregate_writer(
  aggregate_writer_impl::stateful_pointer<aggregate_writer_state> self,
  aggregate_writer_options options);

} // namespace tillstream

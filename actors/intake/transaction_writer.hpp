#pragma once

#include "actors/intake/commit_pacer.hpp"
#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/intake.hpp"
#include "storage/ports/purchase_store.hpp"

#include <caf/actor_clock.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace tillstream {

/// Tuning of a TRANSACTION WRITER.
struct transaction_writer_options {
  /// Opens a session; runs on the writer's own thread.
  std::function<caf::expected<storage::purchase_store_ptr>()> open_store
    = nullptr;

  /// Called with what became durable before anybody is answered, so that
  /// whoever reads after a 201 finds it pending. Runs on the writer's thread:
  /// hand the notices to actors and return.
  std::function<void(const commit_notices_ptr&)> on_committed = nullptr;

  /// Upper bound of one commit.
  size_t batch_max = limits::write_batch_max;

  /// Spaces small commits, and counts who arrives. Not null.
  commit_pacer_ptr pacer = std::make_shared<commit_pacer>();

  /// Seeds the jitter, together with the actor's id: several actors may be
  /// started with the same options.
  uint64_t seed = random_seed();
};

/// A purchase and who waits for it.
struct pending_purchase {
  using time_point = caf::actor_clock::time_point;

  submission request;
  caf::typed_response_promise<record_result> promise;

  /// When it may go into another batch, if it was held back.
  time_point retry_at;

  /// The wait before `retry_at`; grows.
  caf::timespan retry_wait{0};

  /// It was in a batch whose COMMIT got no answer.
  bool in_doubt = false;
};

/// State of a TRANSACTION WRITER. A purchase is in exactly one of `queued`,
/// `batch` and `deferred` until it is answered.
struct transaction_writer_state {
  transaction_writer_state() = default;

  /// Answers whoever still waits. CAF 0.17 has no broken promises: without
  /// this, a writer that ends early leaves its clients to their timeouts.
  ~transaction_writer_state();

  static inline const char* name = "transaction-writer";

  transaction_writer_options options;

  session<storage::purchase_store> store;

  /// There is no session, and the log says so.
  bool store_reported = false;

  /// Collected since the last commit; at most `batch_max`.
  std::vector<pending_purchase> queued;

  /// In the store's hands.
  std::vector<pending_purchase> batch;

  /// Whether `batch` may be durable: the store was asked, and its answer is
  /// not dealt with yet.
  bool recording = false;

  /// For a later batch: key or receipt are in use elsewhere, or in doubt.
  std::vector<pending_purchase> deferred;

  /// When the next `flush` for `deferred` is due.
  std::optional<pending_purchase::time_point> wake;
};

/// The writer and its messages to itself.
using transaction_writer_impl = transaction_writer_actor::extend<
  // Commits everything collected since the last commit.
  caf::reacts_to<atom::flush>,
  // Tries to open a session again.
  caf::reacts_to<atom::reopen>>;

/// Makes purchases durable, many per commit.
///
/// While one commit blocks, requests collect in the mailbox. The first
/// request after a commit sends `flush` to the writer itself, which queues
/// behind all of them; the batch is therefore whatever arrived meanwhile,
/// without a timer. After a small commit the thread may wait
/// (`commit_pacer`), with the same effect.
///
///           submit             flush               answer
///   client ────────> queued ─────────────> batch ──────────> client
///                                          │   ^
///               key in use, or in doubt    v   │ due, after the queued
///                                        deferred  (in doubt: before)
///
/// - Promise: answers `recorded` and `replayed` only for what is durable, and
///   `errc::unavailable` only for what it did not write. A COMMIT without an
///   answer is settled by running the same batch again on a new session; until
///   then its purchases wait, at most to their deadlines, then they get
///   `errc::in_doubt`.
/// - Thread: `caf::detached`, because the store blocks.
/// - Limits: `batch_max` per commit. The mailbox and `deferred` are bounded by
///   ADMISSION: each purchase holds a permit until it is answered.
/// - Failure: losing the database is no failure of the actor: everybody not in
///   doubt is answered `errc::unavailable` at once, also those who come while
///   it is away, and the session is opened anew with backoff. When the actor
///   ends, its state answers whoever waits.
transaction_writer_impl::behavior_type transaction_writer(
  transaction_writer_impl::stateful_pointer<transaction_writer_state> self,
  transaction_writer_options options);

} // namespace tillstream

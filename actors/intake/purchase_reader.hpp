#pragma once

#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/protocol/intake.hpp"
#include "storage/ports/backlog_store.hpp"
#include "storage/ports/purchase_lookup_store.hpp"

#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <cstdint>
#include <functional>

namespace tillstream {

/// Tuning of a PURCHASE READER.
struct purchase_reader_options {
  /// Open sessions; both run on the reader's own thread.
  std::function<caf::expected<storage::purchase_lookup_store_ptr>()> open_reader
    = nullptr;
  std::function<caf::expected<storage::backlog_store_ptr>()> open_backlog
    = nullptr;

  /// Seeds the jitter, together with the actor's id: several actors may be
  /// started with the same options.
  uint64_t seed = random_seed();
};

/// State of a PURCHASE READER.
struct purchase_reader_state {
  purchase_reader_state() = default;

  static inline const char* name = "purchase-reader";

  session<storage::purchase_lookup_store> reader;

  session<storage::backlog_store> backlog;
};

/// Answers queries about single purchases, known customers and recent events
/// from the OLTP database.
///
/// - Promise: an answer is a committed state; each request is answered from a
///   session that was alive, or by an error.
/// - Thread: `caf::detached`, because the stores block. Several of them share
///   the load behind one supervisor.
/// - Limits: its clients bound the mailbox: an HTTP connection asks one
///   query at a time, a shard one at its start.
/// - Failure: a session that had served for a while is opened again at once
///   and the query repeated. While the database is away, queries get
///   `errc::unavailable` at once.
/// @param self The actor handle.
/// @param options Moved into the state.
purchase_reader_actor::behavior_type purchase_reader(
  purchase_reader_actor::stateful_pointer<purchase_reader_state> self,
  purchase_reader_options options);

} // namespace tillstream

#pragma once

#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/protocol/intake.hpp"
#include "storage/ports/purchase_lookup_store.hpp"

#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <cstdint>
#include <functional>

namespace tillstream {

/// Tuning of a PURCHASE LOOKUP.
struct purchase_lookup_options {
  /// Opens a session; runs on the actor's own thread.
  std::function<caf::expected<storage::purchase_lookup_store_ptr>()> open_store
    = nullptr;

  /// Seeds the jitter, together with the actor's id: several actors may be
  /// started with the same options.
  uint64_t seed = random_seed();
};

/// State of a PURCHASE LOOKUP.
struct purchase_lookup_state {
  purchase_lookup_state() = default;

  static inline const char* name = "purchase-lookup";

  session<storage::purchase_lookup_store> store;
};

/// Answers queries about single purchases and known customers from the OLTP
/// database.
///
/// - Promise: an answer is a committed state; each request is answered from a
///   session that was alive, or by an error.
/// - Thread: `caf::detached`, because the store blocks. Several of them share
///   the load behind one supervisor.
/// - Limits: its clients bound the mailbox: an HTTP connection asks one query
///   at a time.
/// - Failure: a session that had served for a while is opened again at once
///   and the query repeated. While the database is away, queries get
///   `errc::unavailable` at once.
purchase_lookup_actor::behavior_type purchase_lookup(
  purchase_lookup_actor::stateful_pointer<purchase_lookup_state> self,
  purchase_lookup_options options);

} // namespace tillstream

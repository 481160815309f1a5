#pragma once

#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/protocol/intake.hpp"
#include "storage/ports/backlog_store.hpp"

#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <cstdint>
#include <functional>

namespace tillstream {

/// Tuning of a BACKLOG READER.
struct backlog_reader_options {
  /// Opens a session; runs on the actor's own thread.
  std::function<caf::expected<storage::backlog_store_ptr>()> open_store
    = nullptr;

  /// Seeds the jitter, together with the actor's id.
  uint64_t seed = random_seed();
};

/// State of a BACKLOG READER.
struct backlog_reader_state {
  backlog_reader_state() = default;

  static inline const char* name = "backlog-reader";

  session<storage::backlog_store> store;
};

/// Answers what is committed and may not be applied yet, from the OLTP
/// database. An actor of its own beside the PURCHASE LOOKUP: after a start the
/// backlog is long, and no till waits behind it.
///
/// - Promise: an answer is a committed state; each request is answered from a
///   session that was alive, or by an error.
/// - Thread: `caf::detached`, because the store blocks.
/// - Limits: `limits::backlog_ids_max` events an answer; a shard asks one query
///   at a time.
/// - Failure: as the PURCHASE LOOKUP.
backlog_reader_actor::behavior_type backlog_reader(
  backlog_reader_actor::stateful_pointer<backlog_reader_state> self,
  backlog_reader_options options);

} // namespace tillstream

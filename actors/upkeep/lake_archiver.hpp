#pragma once

#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/core/time.hpp"
#include "messages/protocol/upkeep.hpp"
#include "storage/ports/aggregate_store.hpp"
#include "storage/ports/outbox_store.hpp"

#include <caf/expected.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tillstream {

/// Tuning of the LAKE ARCHIVER.
struct lake_archiver_options {
  /// Open sessions on the analytics and the OLTP database; both run on the
  /// archiver's own thread.
  std::function<caf::expected<storage::lake_plan_store_ptr>()> open_plan
    = nullptr;
  std::function<caf::expected<storage::outbox_store_ptr>()> open_outbox
    = nullptr;

  /// Writes one file (`storage::event_lake::write`): the same arguments must
  /// give the same file.
  std::function<caf::expected<std::string>(
    const std::string& branch_id, calendar_day day, int64_t from_no,
    int64_t to_no, const std::vector<std::string>& events)>
    write = nullptr;

  /// Events of one segment: at 1 KiB an event 10 MiB in memory.
  int64_t rows_max = 10'000;

  /// A quiet branch's events wait at most this long for a file.
  std::chrono::milliseconds age_max = std::chrono::minutes{5};

  /// Segments of one round; a round blocks the actor.
  size_t segments_max = 64;

  caf::timespan interval = std::chrono::seconds{10};

  /// Seeds the jitter, together with the actor's id: several actors may be
  /// started with the same options.
  uint64_t seed = random_seed();
};

/// With what the LAKE ARCHIVER says to itself.
using lake_archiver_impl = lake_archiver_actor::extend<
  // Writes what is due.
  caf::reacts_to<atom::tick>>;

/// State of the LAKE ARCHIVER.
struct lake_archiver_state {
  lake_archiver_state() = default;

  static inline const char* name = "lake-archiver";

  lake_archiver_options options;

  session<storage::lake_plan_store> plan;

  session<storage::outbox_store> outbox;

  /// After a round that failed.
  backoff retry{0};

  /// Why the last round failed.
  caf::error trouble;
};

/// Writes applied events to the lake: append-only files.
///
///   plan ──> entries ──> payloads ──> one file a business day ──> finish
///
/// - Promise: each applied event is in exactly one file. Which events belong
///   to which file is planned durably before it is written, a file is replaced
///   by itself, and a segment is finished after its files are on disk: whatever
///   is interrupted is done again.
/// - Thread: `caf::detached`, because databases and disk block.
/// - Limits: one segment in memory (`rows_max` events).
/// - Failure: errors are logged and the round is repeated with backoff; sales
///   and figures do not depend on it. Events whose outbox row is gone already
///   are counted and logged: the lake can't have them any more.
/// @param self The actor handle.
/// @param options Moved into the state.
lake_archiver_impl::behavior_type
lake_archiver(lake_archiver_impl::stateful_pointer<lake_archiver_state> self,
              lake_archiver_options options);

} // namespace tillstream

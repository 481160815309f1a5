#pragma once

#include "actors/directory/view.hpp"
#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/directory.hpp"
#include "storage/ports/directory_store.hpp"

#include <caf/expected.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace tillstream {

/// Tuning of the DIRECTORY.
struct directory_refresher_options {
  /// Opens a connection, on the actor's own thread.
  reconnecting<storage::directory_store>::opener open_store;

  /// Receives the copy.
  directory_view_ptr view;

  std::chrono::milliseconds interval{limits::key_refresh_interval};

  /// Called on the actor's thread after the view has the new copy, when the
  /// branches are not the ones of before; also after the first reading. May be
  /// empty; must not block.
  std::function<void(const directory&)> on_change;

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();
};

/// The DIRECTORY with what it sends to itself.
using directory_impl = directory_actor::extend<
  // Time to read again, if the version changed.
  caf::reacts_to<atom::tick>>;

/// State of the DIRECTORY.
struct directory_refresher_state {
  directory_refresher_state() = default;

  static inline const char* name = "directory";

  directory_refresher_options options;

  /// Not open while the database is away.
  reconnecting<storage::directory_store> store;

  /// Round trip of the best measurement of the clock's offset so far; it
  /// widens with time, so that a newer measurement wins in the end.
  std::chrono::microseconds best_round_trip{std::chrono::hours{1}};

  /// Why the last reading failed; empty when it did not.
  std::string trouble = "not read yet";
};

/// Keeps the node's copy of chain, keys and catalogue fresh.
///
/// Every `interval` it compares the version (one row) and reads the rest only
/// when that moved. The same round trip measures how far the database's clock
/// is from ours. The rare writes of signing in to the page go through it too.
///
/// - Thread: `caf::detached`, because the store blocks.
/// - Limits: one reading at a time; the next is due after the last one ended.
/// - Failure: without the database the last copy stays in force and the actor
///   says that it is not ready, with the reason. The broken connection is
///   replaced after a backoff; requests fail at once until then.
directory_impl::behavior_type directory_refresher(
  directory_impl::stateful_pointer<directory_refresher_state> self,
  directory_refresher_options options);

} // namespace tillstream

#pragma once

#include "actors/directory/view.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/directory.hpp"
#include "storage/ports/directory_store.hpp"

#include <caf/expected.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <chrono>
#include <functional>
#include <string>

namespace tillstream {

/// Tuning of the DIRECTORY.
struct directory_refresher_options {
  /// Opens a session, on the actor's own thread.
  std::function<caf::expected<storage::directory_store_ptr>()> open_store;

  /// Where the copy is put.
  directory_view_ptr view;

  std::chrono::milliseconds interval{limits::key_refresh_interval};

  /// Called on the actor's thread after the view has the new copy, when the
  /// branches are not the ones of before; also after the first reading. May be
  /// empty; must not block.
  std::function<void(const directory&)> on_change;
};

/// State of the DIRECTORY.
struct directory_refresher_state {
  directory_refresher_state() = default;

  static inline const char* name = "directory";

  directory_refresher_options options;

  /// Null while the database is away.
  storage::directory_store_ptr store;

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
/// is from ours. What signing in to the page has to write goes through it too,
/// since it is rare.
///
/// - Thread: `caf::detached`, because the store blocks.
/// - Limits: one reading at a time; the next is due after the last one ended.
/// - Failure: without the database the last copy stays in force and the actor
///   says that it is not ready, with the reason. The dead session is replaced
///   at the next tick.
directory_actor::behavior_type directory_refresher(
  directory_actor::stateful_pointer<directory_refresher_state> self,
  directory_refresher_options options);

} // namespace tillstream

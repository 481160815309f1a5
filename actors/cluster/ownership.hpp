#pragma once

#include "actors/cluster/handover.hpp"
#include "actors/cluster/lease.hpp"
#include "actors/cluster/membership.hpp"
#include "actors/cluster/ownership_view.hpp"
#include "actors/cluster/placement_plan.hpp"
#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "actors/runtime/snapshot_holder.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/broker_state.hpp"
#include "messages/model/shard_load.hpp"
#include "messages/protocol/aggregation.hpp"
#include "messages/protocol/cluster.hpp"
#include "storage/ports/ownership_store.hpp"

#include <caf/expected.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace tillstream {

/// Tuning and surroundings of OWNERSHIP.
struct ownership_options {
  /// Its `http` comes with `open`.
  storage::node_identity who = {};

  /// How long a heartbeat holds the lease; there are five to a lease.
  std::chrono::milliseconds lease_duration = limits::node_lease;

  /// Opens a session; runs on OWNERSHIP's own thread.
  std::function<caf::expected<storage::ownership_store_ptr>()> open_store
    = nullptr;

  /// Null on a node without the role.
  branch_control_actor shards = {};

  /// Whether the broker is there, as STREAM CONSUMER publishes it. Null on a
  /// node without the role.
  snapshot_holder_ptr<broker_state> broker = nullptr;

  /// What SHARD MANAGER publishes of its load. May be null.
  snapshot_holder_ptr<shard_load> load = nullptr;

  /// Renewed here, read by SHARD MANAGER.
  lease_ptr own_lease = std::make_shared<lease>();

  /// Who owns what, for everybody on this node. May be null.
  ownership_view_ptr view = nullptr;

  /// How long an orderly end may take before everything is released at once.
  std::chrono::milliseconds leave_max = std::chrono::seconds{2};

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();
};

/// With what OWNERSHIP says to itself.
using ownership_impl = ownership_actor::extend<
  // Time for a heartbeat; only the latest number counts.
  caf::reacts_to<atom::tick, uint64_t>>;

/// State of OWNERSHIP.
struct ownership_state {
  using time_point = lease::time_point;

  /// How the node ends.
  ///
  ///            drain                 nothing left, or late         all ended
  ///   running ──────> handing_over ──────────────────────> ending ───────>
  ///   left
  enum class stage : uint8_t { running, handing_over, ending, left };

  ownership_state() = default;

  /// Answers whoever waits for the drain.
  ~ownership_state();

  static inline const char* name = "ownership";

  ownership_options options;

  session<storage::ownership_store> store;

  /// What the tables say.
  ownership_facts facts;
  membership node;
  handover branches;
  /// The facts changed since `view` was written.
  bool view_due = true;

  stage at = stage::running;
  /// Since when the node has been leaving.
  time_point leaving_since;
  std::vector<caf::typed_response_promise<bool>> draining;

  /// Until when ticks come often: branches are about to change hands.
  time_point tick_soon_until;
  /// Numbers the ticks: only the latest that was sent counts.
  uint64_t tick_no = 0;
};

/// The node's place among the nodes: announces it, renews its lease, acquires
/// and releases branches.
///
/// - Promise: SHARD MANAGER is told of a branch only after its new epoch is
///   committed, and ends its shard before the tables say that it is released.
///   The lease in `own_lease` ends before anybody else may acquire what it
///   stands for.
/// - One statement a heartbeat, whatever the number of branches; the table of
///   owners is read again only when it changed; acquiring any number takes
///   four.
/// - A node whose lease ran out is declared dead when that was seen twice,
///   `limits::suspicion_min` apart. After a heartbeat of our own that failed or
///   was slow we suspect nobody for a while: when the database is slow for all,
///   nobody acquires anything from anybody.
/// - Branches go to another node in batches: stopped, released, and the next
///   batch when this one was acquired. Whoever expects branches reads the
///   tables often.
/// - A node that can't reach the broker for `limits::broker_away_max` is not
///   eligible, and releases its branches unless all are as badly off.
/// - Thread: `caf::detached`, because the store blocks.
/// - Limits: one heartbeat at a time; one batch at a time.
/// - Failure: while the database is away nothing changes hands; the lease runs
///   out by itself. Another process under our name ends us with
///   `errc::not_owner`.
/// - Shutdown: `drain` releases everything, for `leave_max` in order, then at
///   once, and ends the lease.
/// @param self The actor handle.
/// @param options Moved into the state.
ownership_impl::behavior_type
ownership_manager(ownership_impl::stateful_pointer<ownership_state> self,
                  ownership_options options);

} // namespace tillstream

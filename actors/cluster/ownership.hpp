#pragma once

#include "actors/cluster/lease.hpp"
#include "actors/cluster/ownership_view.hpp"
#include "actors/cluster/placement_plan.hpp"
#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/core/limits.hpp"
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
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tillstream {

/// Tuning and surroundings of OWNERSHIP.
struct ownership_options {
  /// Its `http` comes with `open`.
  storage::node_identity who = {};

  /// How long a heartbeat holds; a beat comes every fifth of it.
  std::chrono::milliseconds lease = limits::node_lease;

  /// Opens a session; runs on OWNERSHIP's own thread.
  std::function<caf::expected<storage::ownership_store_ptr>()> open_store
    = nullptr;

  /// Null on a node without the role.
  shard_manager_actor shards = {};

  /// Renewed here, looked at by SHARD MANAGER.
  node_lease_ptr own_lease = std::make_shared<node_lease>();

  /// Who owns what, for everybody on this node. May be null.
  ownership_view_ptr view = nullptr;

  /// How long an orderly end may take before everything is let go of at once.
  std::chrono::milliseconds leave_max = std::chrono::seconds{2};

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();
};

/// State of OWNERSHIP.
struct ownership_state {
  using time_point = node_lease::time_point;

  /// Branches that are being given away together.
  ///
  ///            SHARD MANAGER ended them, written         all taken, or late
  ///   stopping ──────────────────────────> released ──────────────────> none
  struct lot {
    uint64_t number = 0;
    std::vector<std::pair<std::string, std::string>> branches;
    /// Since when the tables say that we let go of them; nothing: stopping.
    std::optional<time_point> released_at;
  };

  ownership_state() = default;

  /// Answers whoever waits for the drain.
  ~ownership_state();

  static inline const char* name = "ownership";

  ownership_options options;

  session<storage::ownership_store> store;

  /// The door is open: the node may announce itself.
  bool opened = false;
  /// Joined once; from then on we come back, and do not start.
  bool joined = false;
  /// 0: not joined, or dead.
  int64_t incarnation = 0;

  // -- what the tables say
  ownership_facts facts;
  /// Of `facts.owners`.
  ownership_digest digest;
  /// The facts changed since the plan was made.
  bool dirty = true;
  /// ... and since `view` was written.
  bool view_due = true;
  ownership_plan plan;

  // -- what SHARD MANAGER was told
  int64_t told_incarnation = 0;
  std::map<std::string, int64_t> told;

  // -- giving away
  std::optional<lot> giving;
  uint64_t lot_no = 0;
  /// Since when there has been something to give.
  std::optional<time_point> give_since;

  // -- others
  /// Leases that ran out: since when we have seen it, by node and incarnation.
  std::map<std::pair<std::string, int64_t>, time_point> suspects;
  /// Before this nobody is suspected.
  time_point judge_from;

  // -- ourselves
  bool willing = true;
  /// When SHARD MANAGER said last that the broker is there.
  std::optional<time_point> broker_seen;
  std::optional<time_point> unwilling_since;
  bool asking_broker = false;

  // -- the end
  std::optional<time_point> leaving_since;
  /// SHARD MANAGER ends all that is left.
  bool ending = false;
  std::vector<caf::typed_response_promise<bool>> draining;

  /// Until when we look often: something is about to change hands.
  time_point hurry_until;
  /// Numbers the ticks: only the latest that was sent counts.
  uint64_t tick_no = 0;
};

/// The node's place among the nodes: announces it, renews its lease, takes and
/// gives away branches.
///
/// - Promise: SHARD MANAGER is told of a branch only after its new epoch is
/// committed,
///   and lets go of it before the tables do. The lease in `own_lease` ends
///   before anybody else may take what it stands for.
/// - One statement a beat, whatever the number of branches; the table of owners
///   is read again only when it changed; taking any number takes four.
/// - A node whose lease ran out is declared dead when that was seen twice,
///   `limits::suspicion_min` apart. After a beat of our own that failed or was
///   slow we suspect nobody for a while: when the database is slow for all,
///   nobody takes anything from anybody.
/// - What goes to another node goes in lots: stopped, let go of, and the next
///   lot when this one was taken. Whoever expects branches looks often.
/// - A node that can't reach the broker for `limits::broker_away_max` wants no
///   branches, and gives its own away unless all are as badly off.
/// - Thread: `caf::detached`, because the store blocks.
/// - Limits: one beat at a time; one lot at a time.
/// - Failure: while the database is away nothing changes hands; the lease runs
///   out by itself. Another process under our name ends us with
///   `errc::not_owner`.
/// - Shutdown: `drain` gives everything away, for `leave_max` in order, then at
///   once, and ends the lease.
/// @param self The actor handle.
/// @param options Moved into the state.
ownership_actor::behavior_type
ownership_keeper(ownership_actor::stateful_pointer<ownership_state> self,
                 ownership_options options);

} // namespace tillstream

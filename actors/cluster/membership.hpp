#pragma once

#include "actors/cluster/lease.hpp"
#include "actors/cluster/placement_plan.hpp"
#include "storage/ports/ownership_store.hpp"

#include <caf/error.hpp>
#include <caf/expected.hpp>
#include <caf/timespan.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// @file actors/cluster/membership.hpp
/// The node among the nodes: its incarnation and lease, whether it is eligible
/// for branches, and which other nodes have failed. No actor: OWNERSHIP calls
/// it on its thread and brings the store.

namespace tillstream {

/// Keeps `nodes` and `incarnation` of the facts. A call that fails changes
/// nothing; the caller drops the store then, and calls
/// `suspend_failure_detection`.
class membership {
public:
  using time_point = lease::time_point;

  ///            open            joined          others declared us dead
  ///   closed ───────> joining ───────> member ────────────────────────> lapsed
  ///                                      ^                                │
  ///                                      └────────────────────────────────┘
  ///   any of them ─── leave ───> left               joined again
  enum class phase : uint8_t { closed, joining, member, lapsed, left };

  membership() = default;

  /// @param duration How long a heartbeat holds the lease.
  membership(storage::node_identity who, std::chrono::milliseconds duration,
             lease_ptr own_lease);

  phase at() const {
    return at_;
  }

  const std::string& name() const {
    return who_.name;
  }

  /// By the lease's clock.
  time_point now() const {
    return own_lease_->now();
  }

  bool lease_holds() const {
    return own_lease_->holds();
  }

  /// Four heartbeats of a lease may fail or be late.
  caf::timespan heartbeat_interval() const;

  /// The node listens at this address and may join.
  void open(std::string http);

  // -- the lease --------------------------------------------------------------

  /// Joins under a new incarnation. @returns `errc::not_owner` when another
  /// process lives under our name.
  caf::error join(storage::ownership_store& store, ownership_facts& facts);

  /// Sends a heartbeat. What it brings is for the caller to take over; only
  /// then may the lease be renewed.
  caf::expected<storage::heartbeat_outcome>
  heartbeat(storage::ownership_store& store, const ownership_facts& facts,
            int64_t lag_ms);

  /// Takes over the nodes of a heartbeat. @returns whether anything changed
  /// that a plan depends on: how long a node was silent does not count.
  static bool set_nodes(ownership_facts& facts, std::vector<node_state> nodes);

  /// The lease holds from the moment that the last heartbeat was sent.
  void renew_lease(const ownership_facts& facts);

  /// Others declared us dead: what we knew to be ours is void.
  void lapse(ownership_facts& facts);

  /// Releases all that is left and ends the lease; `left` in any case.
  /// @returns whether that is written.
  caf::expected<bool>
  leave(storage::ownership_store* store, ownership_facts& facts);

  // -- eligibility ------------------------------------------------------------

  /// @param broker_seen When the broker was last known to be there.
  /// @param leaving A node that leaves is not eligible.
  void update_eligibility(std::optional<time_point> broker_seen, bool leaving);

  /// Since when the broker has been away for `limits::broker_away_max`.
  std::optional<time_point> ineligible_since() const {
    return ineligible_since_;
  }

  // -- failure detection ------------------------------------------------------

  /// Declares nodes dead whose lease ran out, seen twice `suspicion_min`
  /// apart. @returns how many.
  caf::expected<size_t>
  detect_failures(storage::ownership_store& store, ownership_facts& facts);

  /// The database was away or slow for us, so it may have been for all:
  /// whoever waits before it tries again must get to renew its lease first.
  void suspend_failure_detection();

  /// Leases of others have run out that are not declared dead yet.
  bool suspects_anybody() const {
    return !suspects_.empty();
  }

private:
  using suspects = std::map<std::pair<std::string, int64_t>, time_point>;

  storage::node_identity who_;
  std::chrono::milliseconds duration_{0};
  lease_ptr own_lease_;
  phase at_ = phase::closed;

  /// When the last heartbeat was sent.
  time_point sent_at_;

  time_point broker_seen_;
  std::optional<time_point> ineligible_since_;
  bool eligible_ = true;

  /// Leases that ran out: since when we have seen it, by node and incarnation.
  suspects suspects_;
  /// Before this nobody is suspected.
  time_point detect_failures_from_;
};

} // namespace tillstream

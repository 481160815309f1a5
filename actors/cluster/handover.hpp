#pragma once

#include "actors/cluster/lease.hpp"
#include "actors/cluster/placement_plan.hpp"
#include "messages/protocol/fwd.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// @file actors/cluster/handover.hpp
/// Which branches this node acquires and releases, and when. No actor, no I/O,
/// no clock: OWNERSHIP tells it what the tables say, and does what it returns.

namespace tillstream {

/// Branches go to other nodes in batches: stopped, released, and the next batch
/// when this one was acquired.
class handover {
public:
  using time_point = lease::time_point;

  /// Branches that are released together.
  ///
  ///            SHARD MANAGER ended them, written       all acquired, or late
  ///   stopping ──────────────────────────> released ─────────────────> gone
  struct batch {
    uint64_t number = 0;
    /// Branch and the node that it is released for.
    std::vector<std::pair<std::string, std::string>> branches;
    /// Since when the tables say that they are released; nothing: stopping.
    std::optional<time_point> released_at;
  };

  // -- what the tables say ----------------------------------------------------

  /// @returns whether the table of owners must be read again.
  bool owners_changed(const ownership_digest& digest);

  /// The table of owners is to be read whatever its digest says.
  void forget_owners() {
    digest_ = {};
  }

  /// The plan is to be made again.
  void facts_changed() {
    dirty_ = true;
  }

  /// Others declared us dead: nothing is ours to release.
  void lapse() {
    batch_.reset();
    dirty_ = true;
  }

  // -- the plan ---------------------------------------------------------------

  /// Plans again if anything changed. @returns whether branches are about to
  /// change hands now.
  bool update_plan(const ownership_facts& facts);

  const ownership_plan& plan() const {
    return plan_;
  }

  // -- announcing -------------------------------------------------------------

  /// @returns what is to be announced to SHARD MANAGER as ours; null when that
  ///          is what was announced last.
  ownerships_ptr announce(const ownership_facts& facts);

  /// How many branches were announced as ours.
  size_t announced() const {
    return announced_.size();
  }

  // -- releasing --------------------------------------------------------------

  /// Ends a released batch that was acquired, or is late.
  void settle(const ownership_facts& facts, time_point now);

  /// Begins the next batch if there is something to release, none is under way
  /// and its receivers are ready.
  /// @param leaving A node that leaves has little time: larger batches, no
  ///                grace.
  /// @param ineligible_since As of `membership`.
  /// @returns the branches that SHARD MANAGER is to end; null: none now.
  strings_ptr begin(const ownership_facts& facts, time_point now, bool leaving,
                    std::optional<time_point> ineligible_since);

  /// @returns the batch that SHARD MANAGER has ended; null when it is not the
  ///          current one any more.
  const batch* stopped(uint64_t number) const;

  uint64_t batch_number() const {
    return last_batch_;
  }

  /// It is written that the batch is released.
  void released(time_point now) {
    batch_->released_at = now;
  }

  /// It could not be written: the branches are ours again, until it can.
  void release_failed();

  /// Whether there is nothing to release, and nothing being released.
  bool done() const {
    return !batch_ && plan_.release.empty();
  }

private:
  /// Without the broker, while others say that they have it: they may only be a
  /// little later to lose it, or a little earlier to have it back.
  bool in_handover_grace(time_point now,
                         std::optional<time_point> ineligible_since) const;

  ownership_digest digest_;
  ownership_plan plan_;
  bool dirty_ = true;

  int64_t announced_incarnation_ = 0;
  std::map<std::string, int64_t> announced_;

  std::optional<batch> batch_;
  uint64_t last_batch_ = 0;
  /// Since when there has been something to release.
  std::optional<time_point> waiting_since_;
};

} // namespace tillstream

#pragma once

#include "messages/core/uuid.hpp"
#include "messages/model/nodes.hpp"

#include <caf/expected.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tillstream::storage {

/// What a node announces when it joins.
struct node_identity {
  std::string name;
  /// One start of the program.
  uuid process;
  std::string roles;
  std::string version;
  std::string http;
};

/// What a node says of itself with each heartbeat.
struct heartbeat_report {
  std::string name;
  int64_t incarnation = 0;
  /// Whether it can serve branches; stored as `willing`.
  bool eligible = true;
  int64_t lag_ms = 0;
};

/// What a heartbeat gets to know.
struct heartbeat_outcome {
  /// The lease is renewed. Otherwise this incarnation is dead: what it owned
  /// may be somebody else's, and it must join again.
  bool kept = false;
  std::vector<node_state> nodes;
  ownership_digest digest;
};

/// A branch that was acquired.
struct acquired_branch {
  std::string branch_id;
  int64_t epoch = 0;
  /// How long it had been without owner since the last one released it,
  /// milliseconds; -1: nobody released it.
  int64_t unowned_ms = -1;
};

/// Nodes and ownership, in the analytics database (ARCHITECTURE, 16). Calls
/// block; one thread, one store. All times are the database's.
///
/// Errors as everywhere: `errc::unavailable` and `errc::in_doubt` replace the
/// store. Every call may be repeated.
///
/// An incarnation lives until it is declared dead, and never again. So 'that
/// one is dead' stays true however old the reading is, and a branch of a dead
/// incarnation is free for good.
class ownership_store {
public:
  virtual ~ownership_store() = default;

  /// Announces a node, under a new incarnation; the one before it is dead.
  /// @param first Whether the program starts. If not, it comes back: another
  ///        process that lives under our name keeps it, and an operator's
  ///        wish to drain the node still counts.
  /// @returns the incarnation; `errc::not_owner` when another process lives
  ///          under our name.
  virtual caf::expected<int64_t>
  join(const node_identity& who, std::chrono::milliseconds lease, bool first)
    = 0;

  /// Renews the lease and reads the state of all nodes: one statement.
  virtual caf::expected<heartbeat_outcome>
  heartbeat(const heartbeat_report& report, std::chrono::milliseconds lease)
    = 0;

  /// All nodes that were seen lately, in order of their names.
  virtual caf::expected<std::vector<node_state>> nodes() = 0;

  /// All branches that were ever owned, in order. Who is named as an owner may
  /// be dead: compare with the nodes.
  virtual caf::expected<std::vector<branch_owner>> owners() = 0;

  /// Declares an incarnation dead whose lease has run out.
  /// @returns whether it is dead now.
  virtual caf::expected<bool>
  declare_dead(const std::string& name, int64_t incarnation) = 0;

  /// Acquires those of the branches that are free: epoch plus one, committed
  /// before this returns; few statements, however many. What is locked by an
  /// apply at this moment is left out.
  virtual caf::expected<std::vector<acquired_branch>>
  acquire(const std::string& name, int64_t incarnation,
          const std::vector<std::string>& branch_ids)
    = 0;

  /// Releases branches, each for the node behind it (empty: for anybody).
  /// Waits until an apply that locks them is done.
  virtual caf::expected<void>
  release(const std::string& name, int64_t incarnation,
          const std::vector<std::pair<std::string, std::string>>& branches)
    = 0;

  /// Releases all that the incarnation owns and ends it.
  virtual caf::expected<void>
  leave(const std::string& name, int64_t incarnation) = 0;

  /// Asks a node to release its branches, or withdraws that.
  /// @returns `errc::not_found` when there is no such node alive.
  virtual caf::expected<void>
  set_draining(const std::string& name, bool draining) = 0;
};

using ownership_store_ptr = std::unique_ptr<ownership_store>;

} // namespace tillstream::storage

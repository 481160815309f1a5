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

/// How a node introduces itself.
struct node_identity {
  std::string name;
  /// One start of the program.
  uuid process;
  std::string roles;
  std::string version;
  std::string http;
};

/// What a beat says of the node.
struct node_news {
  std::string name;
  int64_t incarnation = 0;
  bool willing = true;
  int64_t lag_ms = 0;
};

/// What a beat gets to know.
struct beat_outcome {
  /// The lease is renewed. Otherwise this incarnation is dead: what it owned
  /// may be somebody else's, and it must join again.
  bool kept = false;
  std::vector<node_state> nodes;
  ownership_digest digest;
};

/// A branch that changed hands.
struct taken_branch {
  std::string branch_id;
  int64_t epoch = 0;
  /// How long it had been without owner since the last one let go of it,
  /// milliseconds; -1: nobody let go of it.
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

  /// Renews the lease and tells how things stand: one statement.
  virtual caf::expected<beat_outcome>
  beat(const node_news& news, std::chrono::milliseconds lease) = 0;

  /// All nodes that were seen lately, in order of their names.
  virtual caf::expected<std::vector<node_state>> nodes() = 0;

  /// All branches that were ever owned, in order. Who is named as an owner may
  /// be dead: compare with the nodes.
  virtual caf::expected<std::vector<branch_owner>> owners() = 0;

  /// Declares an incarnation dead whose lease has run out.
  /// @returns whether it is dead now.
  virtual caf::expected<bool>
  declare_dead(const std::string& name, int64_t incarnation) = 0;

  /// Takes those of the branches that are free: epoch plus one, committed
  /// before this returns; few statements, however many. What is locked by an
  /// apply at this moment is left out.
  virtual caf::expected<std::vector<taken_branch>>
  take(const std::string& name, int64_t incarnation,
       const std::vector<std::string>& branch_ids)
    = 0;

  /// Lets go of branches, each for the node behind it (empty: for anybody).
  /// Waits until an apply that locks them is done.
  virtual caf::expected<void>
  release(const std::string& name, int64_t incarnation,
          const std::vector<std::pair<std::string, std::string>>& branches)
    = 0;

  /// Lets go of all that the incarnation owns and ends it.
  virtual caf::expected<void>
  leave(const std::string& name, int64_t incarnation) = 0;

  /// Asks a node to give its branches away, or takes that back.
  /// @returns `errc::not_found` when there is no such node alive.
  virtual caf::expected<void>
  set_draining(const std::string& name, bool draining) = 0;
};

using ownership_store_ptr = std::unique_ptr<ownership_store>;

} // namespace tillstream::storage

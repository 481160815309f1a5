#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// @file messages/model/nodes.hpp
/// Which nodes there are and who owns which branch, as the analytics database
/// tells it.

namespace tillstream {

/// A node as it stood when the table was read.
struct node_state {
  std::string name;
  /// Raised whenever the node starts, or comes back after it was declared
  /// dead.
  int64_t incarnation = 0;
  /// `intake,shards,query`, or a part of it.
  std::string roles;
  std::string version;
  /// Address of its HTTP edge.
  std::string http;
  /// Nobody has declared it dead.
  bool alive = false;
  /// Its lease holds, by the database's clock.
  bool holds = false;
  /// It may own branches. False while it ends, or can't reach the broker. The
  /// column is `willing`.
  bool eligible = false;
  /// An operator asked that it releases its branches.
  bool draining = false;
  /// How far its slowest branch is behind, milliseconds.
  int64_t lag_ms = 0;
  /// Since its last heartbeat, by the database's clock, milliseconds.
  int64_t silent_ms = 0;

  bool has_role(const char* role) const {
    return ("," + roles + ",").find(std::string{","} + role + ",")
           != std::string::npos;
  }
};

/// Changes whenever a branch changes hands: acquiring one raises `epochs`,
/// releasing one lowers `owned`, a new branch raises `branches`.
struct ownership_digest {
  int64_t epochs = -1;
  int64_t owned = 0;
  int64_t branches = 0;

  friend bool operator==(const ownership_digest&, const ownership_digest&)
    = default;
};

/// Who owns a branch.
struct branch_owner {
  std::string branch_id;
  /// Empty: nobody.
  std::string node;
  int64_t incarnation = 0;
  int64_t epoch = 0;
  /// Whom the last owner released it for. Empty: nobody in particular.
  std::string next;
};

} // namespace tillstream

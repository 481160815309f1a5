#pragma once

#include "messages/model/nodes.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

/// @file actors/cluster/placement_plan.hpp
/// What a node is to do about the branches, out of what the tables say: no
/// I/O, no clock. All nodes compute it, and act on their own part only.

namespace tillstream {

struct ownership_facts {
  /// In order of their names.
  std::vector<node_state> nodes;
  /// In order of their ids. Branches that were never owned are missing.
  std::vector<branch_owner> owners;
  /// The chain's branches, in order.
  std::vector<std::string> branches;
  /// Who we are.
  std::string node;
  int64_t incarnation = 0;
};

struct ownership_plan {
  /// Free, and to be ours.
  std::vector<std::string> acquire;
  /// Ours, and to be somebody else's: branch and node.
  std::vector<std::pair<std::string, std::string>> release;
  /// Others have branches that are to be ours.
  bool expecting = false;
};

/// Nodes that can own branches, in order: those that live, have the role and
/// are eligible. If nobody is (the broker is away for all), those that live and
/// were not asked to release theirs; else whoever lives.
std::vector<std::string> candidates(const std::vector<node_state>& nodes);

ownership_plan plan_ownership(const ownership_facts& facts);

/// Whether an incarnation owns what is written under it.
bool is_owned(const branch_owner& x, const std::vector<node_state>& nodes);

} // namespace tillstream

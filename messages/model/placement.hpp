#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// @file messages/model/placement.hpp
/// Which node is to own which branch: a pure function that every node computes
/// for itself from the same tables.

namespace tillstream {

/// Nobody.
constexpr size_t no_node = static_cast<size_t>(-1);

/// A branch and who has it now.
struct branch_slot {
  std::string_view branch_id;
  /// Index of the node that owns it, or that it was released for; `no_node`:
  /// it is to be assigned.
  size_t holder = no_node;
};

/// Rendezvous hashing with bounded load, in which only those branches move that
/// balance requires to (docs/decisions/0012):
///
/// - A branch with a holder stays, a branch without one goes to the node with
///   the highest score that is not full.
/// - A node that is more than a tenth of the fair share (rounded down) below it
///   is filled up to the fair share, from the fullest nodes; one that is as
///   much above it is lowered. So a new node gets its share by that many moves,
///   a node that leaves moves its own branches only, and where nothing changed
///   nothing moves.
/// - Nobody has more than ceil(1.1 × fair) + 1.
///
/// @param nodes Names of those who can own branches, in order. The same names
///              give the same result on every machine and version.
/// @param branches In order of their ids.
/// @returns for each branch the index of the node that is to own it, `no_node`
///          if there are no nodes.
std::vector<size_t> place(const std::vector<std::string>& nodes,
                          const std::vector<branch_slot>& branches);

/// The most branches that a node ever has: ceil(1.1 × fair) + 1.
size_t placement_cap(size_t nodes, size_t branches);

} // namespace tillstream

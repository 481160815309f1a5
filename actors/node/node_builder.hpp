#pragma once

#include "actors/intake/admission.hpp"
#include "actors/node/node_resources.hpp"
#include "actors/runtime/root_supervisor.hpp"
#include "actors/runtime/snapshot_holder.hpp"
#include "messages/protocol/cluster.hpp"
#include "messages/protocol/gateway.hpp"
#include "messages/protocol/outbox.hpp"

#include <caf/actor_system.hpp>

#include <chrono>
#include <vector>

namespace tillstream {

/// The actors of a node.
struct node_actors {
  gateway_actor gateway;
  /// The gateway that runs now: the edge saves the hop over its supervisor.
  snapshot_holder_ptr<gateway_actor> gateway_now;
  /// Null without the role `intake`.
  admission_ptr admission;
  outbox_relay_actor relay;
  ownership_actor ownership;
  /// All of them, in the order in which they end: who asks before who answers.
  std::vector<std::vector<top_actor>> stages;
};

/// Spawns all actors of a node and wires them to each other, as drawn in
/// actors/node/README.md.
/// @param from What they need from outside; its `server` stays where it is.
node_actors spawn_node(caf::actor_system& sys, const node_resources& from);

/// What each step of an orderly end may take of the grace period.
std::chrono::milliseconds shutdown_share(const settings& how);

} // namespace tillstream

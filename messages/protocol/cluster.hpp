#pragma once

#include "messages/core/uuid.hpp"
#include "messages/model/apply.hpp"
#include "messages/model/peer.hpp"
#include "messages/model/purchase.hpp"
#include "messages/model/readiness.hpp"
#include "messages/protocol/fwd.hpp"

#include <caf/replies_to.hpp>

/// @file messages/protocol/cluster.hpp
/// What the actors of actors/cluster may be asked. Each alias is one actor;
/// each signature carries one line that says what the message asks for.

namespace tillstream {

/// The PEERS interface: the other nodes.
using peers_actor = caf::typed_actor<
  // Asks a node for the parts of branches that it owns.
  caf::replies_to<atom::ask, std::string,
                  peer_query_ptr>::with<peer_answer_ptr>,
  // Tells all nodes what a TRANSACTION WRITER committed here.
  caf::reacts_to<atom::committed, commit_notices_ptr>,
  // Tells whether the broker is there.
  caf::replies_to<atom::ready>::with<readiness>>;

/// The OWNERSHIP interface: the node's place among the nodes.
using ownership_actor = caf::typed_actor<
  // The node listens at this address: announces it to the others.
  caf::reacts_to<atom::open, std::string>,
  // The chain has these branches.
  caf::reacts_to<atom::update, strings_ptr>,
  // Ready while the node's lease holds.
  caf::replies_to<atom::ready>::with<readiness>,
  // Releases all branches, in order as long as there is time, and ends the
  // lease; true when that is written.
  caf::replies_to<atom::drain>::with<bool>>;

} // namespace tillstream

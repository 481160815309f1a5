#pragma once

#include "messages/model/purchase.hpp"
#include "messages/model/readiness.hpp"
#include "messages/protocol/fwd.hpp"

#include <caf/replies_to.hpp>

/// @file messages/protocol/outbox.hpp
/// What the actors of actors/outbox may be asked. Each alias is one actor; each
/// signature carries one line that says what the message asks for.

namespace tillstream {

/// The OUTBOX RELAY interface.
using outbox_relay_actor = caf::typed_actor<
  // A writer's wake-up: these events are committed.
  caf::reacts_to<atom::committed, commit_notices_ptr>,
  // The stream lost data: publish the branch's events above this `outbox_seq`
  // again. Replies how many.
  caf::replies_to<atom::republish, std::string, int64_t>::with<int64_t>,
  // Tells whether database and broker are there.
  caf::replies_to<atom::ready>::with<readiness>,
  // Publishes what it has, waits (bounded) for acknowledgements and marks
  // them; true when nothing was left.
  caf::replies_to<atom::drain>::with<bool>>;

} // namespace tillstream

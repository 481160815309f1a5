#pragma once

#include "messages/model/readiness.hpp"
#include "messages/protocol/fwd.hpp"

#include <caf/replies_to.hpp>

/// @file messages/protocol/upkeep.hpp
/// What the actors of actors/upkeep may be asked. Each alias is one actor; each
/// signature carries one line that says what the message asks for.

namespace tillstream {

/// The LAKE ARCHIVER interface.
using lake_archiver_actor = caf::typed_actor<
  // Ready while its last round did not fail.
  caf::replies_to<atom::ready>::with<readiness>>;

/// The JANITOR interface: attaches and detaches partitions.
using janitor_actor = caf::typed_actor<
  // Does its round now, and not only when its time has come.
  caf::reacts_to<atom::tick>>;

} // namespace tillstream

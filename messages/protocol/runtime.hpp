#pragma once

#include "messages/protocol/fwd.hpp"

#include <caf/replies_to.hpp>

/// @file messages/protocol/runtime.hpp
/// What the actors of actors/runtime may be asked. Each alias is one actor;
/// each signature carries one line that says what the message asks for.

namespace tillstream {

/// The ROOT SUPERVISOR interface.
using root_supervisor_actor = caf::typed_actor<
  // Ends all top-level actors, stage by stage; true when all ended in time.
  caf::replies_to<atom::close>::with<bool>>;

} // namespace tillstream

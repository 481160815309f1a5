#pragma once

#include "messages/core/uuid.hpp"
#include "messages/model/readiness.hpp"
#include "messages/model/sign_in.hpp"
#include "messages/protocol/fwd.hpp"

#include <caf/replies_to.hpp>

/// @file messages/protocol/directory.hpp
/// What the actors of actors/directory may be asked. Each alias is one actor;
/// each signature carries one line that says what the message asks for.

namespace tillstream {

/// The DIRECTORY interface: keeps the node's copy of chain, keys and catalogue
/// fresh.
using directory_actor = caf::typed_actor<
  // Ready when the last reading is recent.
  caf::replies_to<atom::ready>::with<readiness>,
  // Uses a one-time sign-in link up: the id of the key that it was made for,
  // or `errc::not_found`.
  caf::replies_to<atom::open, sign_in_link>::with<uuid>,
  // Ends a session of the page, here at once and elsewhere with the next
  // reading.
  caf::replies_to<atom::close, session_end>::with<bool>>;

} // namespace tillstream

#pragma once

#include "messages/model/http.hpp"
#include "messages/protocol/fwd.hpp"

#include <caf/replies_to.hpp>

/// @file messages/protocol/gateway.hpp
/// What the actors of actors/gateway may be asked. Each alias is one actor;
/// each signature carries one line that says what the message asks for.

namespace tillstream {

/// The GATEWAY interface.
using gateway_actor = caf::typed_actor<
  // Answers one HTTP request through its exchange.
  caf::reacts_to<atom::request, http_exchange_ptr>,
  // Refuses new work from now on.
  caf::reacts_to<atom::drain>>;

} // namespace tillstream

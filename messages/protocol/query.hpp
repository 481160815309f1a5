#pragma once

#include "messages/core/uuid.hpp"
#include "messages/model/http.hpp"
#include "messages/model/queries.hpp"
#include "messages/protocol/fwd.hpp"

#include <caf/replies_to.hpp>

/// @file messages/protocol/query.hpp
/// What the actors of actors/query may be asked. Each alias is one actor; each
/// signature carries one line that says what the message asks for.

namespace tillstream {

/// The FALLBACK READER interface: answers for branches whose owner is away.
using fallback_reader_actor = caf::typed_actor<
  // Answers a branch's part of a query from the tables.
  caf::replies_to<atom::ask, std::string,
                  shard_query_ptr>::with<shard_answer_ptr>,
  // Waits until an event of one of the branches is in the event log; false
  // after `limits::after_wait_max`.
  caf::replies_to<atom::after, uuid, strings_ptr>::with<bool>>;

/// The QUERY interface.
using query_actor = caf::typed_actor<
  // Answers a query of the dashboard, rendered.
  caf::replies_to<atom::ask, analytics_query_ptr>::with<query_reply>>;

/// The LIVE FEED interface.
using live_feed_actor = caf::typed_actor<
  // Tells this page from now on what changes.
  caf::reacts_to<atom::open, live_listener_ptr>>;

} // namespace tillstream

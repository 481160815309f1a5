#pragma once

#include "messages/core/uuid.hpp"
#include "messages/model/purchase.hpp"
#include "messages/model/readiness.hpp"
#include "messages/protocol/fwd.hpp"

#include <caf/replies_to.hpp>

/// @file messages/protocol/intake.hpp
/// What the actors of actors/intake may be asked. Each alias is one actor; each
/// signature carries one line that says what the message asks for.

namespace tillstream {

/// The TRANSACTION WRITER interface.
using transaction_writer_actor = caf::typed_actor<
  // Makes one purchase durable, or says why not.
  caf::replies_to<atom::submit, submission>::with<record_result>,
  // Tells whether a session is open.
  caf::replies_to<atom::ready>::with<readiness>>;

/// The PURCHASE LOOKUP interface: a pool of them is one address.
using purchase_lookup_actor = caf::typed_actor<
  // Finds one purchase; null when there is none.
  caf::replies_to<atom::find, purchase_key>::with<purchase_details_ptr>,
  // Reads a page of known customers.
  caf::replies_to<atom::list, customer_page_request>::with<customer_page_ptr>>;

/// The BACKLOG READER interface.
using backlog_reader_actor = caf::typed_actor<
  // Events of a branch committed since a time, without payload.
  caf::replies_to<atom::recent, std::string,
                  timestamp>::with<commit_notices_ptr>,
  // For how many milliseconds an event of a branch has been SENT; -1: it is
  // NEW. `errc::not_found`: the outbox has no such row.
  caf::replies_to<atom::state, std::string, uuid>::with<int64_t>>;

} // namespace tillstream

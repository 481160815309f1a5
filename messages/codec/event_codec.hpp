#pragma once

#include "messages/model/event.hpp"

#include <caf/expected.hpp>

#include <string>
#include <string_view>

/// @file messages/codec/event_codec.hpp
/// `purchases.created`, as CloudEvents 1.0 structured JSON. The bytes are made
/// once, in the purchase's own transaction, and never again.

namespace tillstream {

/// Renders the event. `data` holds `purchase_id`, `branch_id`, `receipt_id`,
/// `cashier_id`, `pos_id`, `idempotency_key`, `user_id`, `new_customer`,
/// `occurred_at`, `recorded_at`, `business_day`, `business_hour` (RFC 3339
/// UTC), `business_minute`, `currency`, `total`, `items_count` and `items`
/// (`product_id`, `name` and `category` where known, `unit_price`, `qty` 1).
std::string encode_event(const purchase_event& event);

/// Reads an event back. Everything from the broker is checked: types, the
/// lengths of the contract, that the subject's branch is the event's, and that
/// the total is the sum of the items.
/// @param branch_id The branch whose subject delivered it.
/// @returns `errc::invalid` with the reason, for the quarantine.
caf::expected<purchase_event>
decode_event(std::string_view bytes, std::string_view branch_id);

/// `purchases.created.<branch_id>`
std::string event_subject(std::string_view branch_id);

/// `Nats-Msg-Id`: the event id; from the second round on with `.<round>`, as
/// the broker would otherwise take it for a duplicate.
std::string message_id(const uuid& event_id, int publish_round);

} // namespace tillstream

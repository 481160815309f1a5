#pragma once

#include "messages/chain.hpp"
#include "messages/money.hpp"
#include "messages/purchase.hpp"
#include "messages/time.hpp"
#include "messages/uuid.hpp"

#include <caf/expected.hpp>

#include <string>
#include <string_view>
#include <vector>

/// @file messages/event.hpp
/// `purchases.created`, as CloudEvents 1.0 structured JSON. The bytes are made
/// once, in the purchase's own transaction, and never again.

namespace tillstream {

/// One line of a sale as the event carries it: names and categories are
/// enriched from the catalogue.
struct event_item {
  std::string product_id;
  /// Empty: nobody knows a name.
  std::string name;
  /// Empty: none.
  std::string category;
  minor_units unit_price = 0;
};

/// Everything that a consumer needs to know of one sale.
struct purchase_event {
  uuid event_id;
  uuid purchase_id;
  /// `outbox_events.seq`.
  int64_t outbox_seq = 0;
  std::string branch_id;
  std::string cashier_id;
  std::string pos_id;
  std::string receipt_id;
  uuid idempotency_key;
  uuid user_id;
  bool new_customer = false;
  minor_units total = 0;
  tillstream::currency currency;
  timestamp occurred_at;
  timestamp recorded_at;
  /// Stamped when recorded.
  business_time when;
  std::vector<event_item> items;
  std::string traceparent;
};

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
caf::expected<purchase_event> decode_event(std::string_view bytes,
                                           std::string_view branch_id);

/// `purchases.created.<branch_id>`
std::string event_subject(std::string_view branch_id);

/// `Nats-Msg-Id`: the event id; from the second round on with `.<round>`, as
/// the broker would otherwise take it for a duplicate.
std::string message_id(const uuid& event_id, int publish_round);

} // namespace tillstream

#pragma once

#include "messages/core/money.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/chain.hpp"
#include "messages/model/purchase.hpp"

#include <string>
#include <vector>

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

} // namespace tillstream

#pragma once

#include "messages/core/hash.hpp"
#include "messages/core/money.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tillstream {

/// One product in a purchase, always one unit.
struct purchase_item {
  std::string product_id;
  /// As the till sent it.
  std::optional<std::string> name;
  minor_units unit_price = 0;
};

/// A purchase that passed every check of the schema and of the rules; only
/// the database can still refuse it.
struct purchase {
  std::string branch_id;
  std::string cashier_id;
  std::string pos_id;
  std::string receipt_id;
  uuid idempotency_key;
  /// Absent: a new customer, to whom the store gives an id.
  std::optional<uuid> user_id;
  /// The till made `user_id` up: it becomes known with this purchase.
  bool new_customer = false;
  /// Absent: when it is recorded.
  std::optional<timestamp> occurred_at;
  std::vector<purchase_item> items;
  /// Sum of the unit prices.
  minor_units total = 0;
  /// Tells 'the same purchase' from another under one key: SHA-256 of the
  /// normalised fields; item order does not matter.
  sha256_digest fingerprint{};
  /// W3C trace context of the request, passed on in the event.
  std::string traceparent;
};

using purchase_ptr = std::shared_ptr<const purchase>;

/// A purchase on its way to a TRANSACTION WRITER.
struct submission {
  purchase_ptr what;
  /// When it is answered at the latest, unless its database session blocks.
  std::chrono::steady_clock::time_point deadline;
  /// Its place among the purchases in flight, given back with the last copy.
  std::shared_ptr<const void> permit;
};

/// What is known of a recorded purchase, and all that its 201 says.
struct recorded_purchase {
  uuid purchase_id;
  uuid event_id;
  std::string branch_id;
  std::string receipt_id;
  uuid user_id;
  bool new_customer = false;
  minor_units total = 0;
  std::string currency;
  int items_count = 0;
  timestamp occurred_at;
  timestamp recorded_at;
  /// As in its `commit_notice`; no part of the 201.
  int64_t outbox_seq = 0;
};

/// A recorded purchase with its lines, for `GET /purchases/{id}`.
struct purchase_details {
  recorded_purchase head;
  std::string cashier_id;
  std::string pos_id;
  uuid idempotency_key;
  calendar_day business_day;
  std::vector<purchase_item> items;
};

/// How the store resolved a purchase. Order of the checks: key, then receipt,
/// then customer.
enum class verdict : uint8_t {
  /// Durable with this call.
  recorded,
  /// The same purchase was durable before.
  replayed,
  /// Another purchase has the key; nothing was written.
  key_reused,
  /// Another purchase of the branch has the receipt; nothing was written.
  receipt_taken,
  /// A returning customer whom nobody knows; nothing was written.
  customer_unknown,
  /// Key or receipt are held by a transaction elsewhere; nothing was written,
  /// a later batch may succeed.
  in_progress,
  /// Something else keeps it from being written, which is no fault of the
  /// purchase: a lock on a table, a branch without a time zone. A later batch
  /// may succeed.
  unavailable,
};

std::string to_string(verdict x);

struct record_result {
  verdict outcome = verdict::in_progress;
  /// Whole for `recorded` and `replayed`; only `purchase_id` for
  /// `receipt_taken`.
  recorded_purchase purchase;
};

/// A committed event on its way: what the relay needs to publish it and the
/// shard to know that it is pending.
struct commit_notice {
  std::string branch_id;
  /// Order of publication within a branch (`outbox_events.seq`).
  int64_t seq = 0;
  uuid event_id;
  timestamp recorded_at;
  /// 1, or more after the stream lost data it: part of `Nats-Msg-Id`.
  int publish_round = 1;
  /// The CloudEvent, exactly as committed. Null in a notice from another node.
  std::shared_ptr<const std::string> payload;
};

/// What finds one purchase.
struct purchase_key {
  /// Where to look.
  std::vector<std::string> branches;
  /// Exactly one of both is set.
  std::optional<uuid> purchase_id;
  std::optional<uuid> idempotency_key;
};

struct customer_page_request {
  std::optional<uuid> after;
  size_t limit = 100;
};

struct known_customer {
  uuid user_id;
  timestamp since;
};

using customer_page_ptr = std::shared_ptr<const std::vector<known_customer>>;

} // namespace tillstream

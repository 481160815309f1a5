#pragma once

#include "messages/core/money.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/event.hpp"

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

/// @file messages/model/aggregates.hpp
/// What is counted, and the one function that counts. The tables and the
/// shard's memory are fed with the same delta, so they cannot drift apart.

namespace tillstream {

/// Sums over sales. Commutative: the order of events does not matter.
struct sales_totals {
  minor_units revenue = 0;
  int64_t purchases = 0;
  int64_t items = 0;

  sales_totals& operator+=(const sales_totals& x) {
    revenue += x.revenue;
    purchases += x.purchases;
    items += x.items;
    return *this;
  }

  friend bool operator==(const sales_totals&, const sales_totals&) = default;
};

/// Distinct customers. `customers` counts a branch's own set. `chain` is the
/// branch's contribution to the chain's set: the chain's number is the sum of
/// contributions. `fresh` are customers first recorded with a sale of here.
struct customer_counts {
  int64_t customers = 0;
  int64_t fresh = 0;
  int64_t chain = 0;

  customer_counts& operator+=(const customer_counts& x) {
    customers += x.customers;
    fresh += x.fresh;
    chain += x.chain;
    return *this;
  }

  friend bool operator==(const customer_counts&, const customer_counts&)
    = default;
};

struct day_totals {
  sales_totals sales;
  customer_counts customers;

  friend bool operator==(const day_totals&, const day_totals&) = default;
};

struct product_totals {
  int64_t quantity = 0;
  minor_units revenue = 0;

  friend bool operator==(const product_totals&, const product_totals&)
    = default;
};

/// A customer's history in one branch.
struct loyalty {
  int64_t purchases = 0;
  minor_units revenue = 0;
  timestamp last_purchase_at;

  friend bool operator==(const loyalty&, const loyalty&) = default;
};

/// The latest name and category that sales of a branch gave a product; 'latest'
/// by `outbox_seq`.
struct product_label {
  std::string name;
  std::string category;
  int64_t outbox_seq = 0;

  friend bool operator==(const product_label&, const product_label&) = default;
};

/// First minute of the business day at which a customer bought, 0..1439.
using first_minutes = std::map<std::pair<calendar_day, uuid>, int>;

/// What a batch of new events of one branch adds. Ordered maps: every upsert
/// runs in key order.
struct branch_delta {
  std::map<calendar_day, sales_totals> days;
  /// New customers per day (events with `new_customer`).
  std::map<calendar_day, int64_t> fresh;
  /// Keyed by business day and hour: an hour in which the day changes has a
  /// part in each.
  std::map<std::pair<calendar_day, timestamp>, sales_totals> hours;
  /// Keyed by business day and minute of the day; every event is in, the
  /// store keeps only the days that the comparison needs.
  std::map<std::pair<calendar_day, int>, sales_totals> minutes;
  std::map<std::pair<calendar_day, std::string>, product_totals> products;
  std::map<uuid, loyalty> customers;
  first_minutes visits;
  std::map<std::string, product_label> labels;
  int64_t events = 0;
};

/// Adds one event to a delta.
void accumulate(branch_delta& delta, const purchase_event& event);

/// Where a branch's applied state stands. Stored with the aggregates, in the
/// same transaction.
struct branch_cursor {
  /// Which life of the stream `stream_seq` belongs to: its creation time as
  /// the broker tells it. Empty: nothing applied yet.
  std::string stream_incarnation;
  /// Last stream sequence of the branch's subject that was applied or
  /// quarantined; all before it are, too.
  uint64_t stream_seq = 0;
  /// Highest applied `outbox_events.seq`.
  int64_t outbox_seq = 0;
  /// How many events of the branch were ever applied; the last one's number.
  int64_t apply_no = 0;
  /// Highest `recorded_at` among the applied.
  timestamp recorded_at;

  friend bool operator==(const branch_cursor&, const branch_cursor&) = default;
};

} // namespace tillstream

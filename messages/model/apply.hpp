#pragma once

#include "messages/model/aggregates.hpp"
#include "messages/model/event.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

/// @file messages/model/apply.hpp
/// What shards, the AGGREGATE WRITER and the AGGREGATE READER say to each
/// other.

namespace tillstream {

/// An event of a branch in the order of its subject.
struct stream_event {
  uint64_t stream_seq = 0;
  /// Set aside instead of applied when `reason` is not empty.
  purchase_event event;
  std::string reason;
  /// The raw message, for the quarantine only.
  std::shared_ptr<const std::string> raw;
};

/// What one shard asks to be applied.
struct apply_request {
  std::string branch_id;
  /// The owner's epoch; a stale one is refused.
  int64_t epoch = 0;
  /// Where the branch must stand before; the store checks it.
  branch_cursor before;
  std::string stream_incarnation;
  /// In stream order; never empty, except to store a new incarnation.
  std::vector<stream_event> events;
};

using apply_request_ptr = std::shared_ptr<const apply_request>;

/// What a commit did for one shard; memory follows it.
struct apply_outcome {
  /// Whether the request was in the transaction. If not, `epoch` was stale:
  /// the shard stops.
  bool owned = false;
  /// Not in the transaction although the epoch holds (`owned` is false): the
  /// branch stood elsewhere than `before`. The shard loads its state again.
  bool moved = false;
  branch_cursor cursor;
  /// Sums of the really new events.
  branch_delta added;
  /// Distinct customers that were really new, per day. `fresh` included.
  std::map<calendar_day, customer_counts> customers;
  /// Signed changes of 'first visits' per day and minute: own set, chain's
  /// set. A first visit that moves to an earlier minute takes one away at the
  /// later. Only days that the comparison needs.
  std::map<std::pair<calendar_day, int>, std::pair<int64_t, int64_t>> visits;
  /// Totals after this commit of the customers who bought.
  std::map<uuid, loyalty> loyal;
  /// Really new, in apply order.
  std::vector<uuid> applied;
  int64_t duplicates = 0;
  int64_t quarantined = 0;
};

/// State of a branch as a shard needs it at its start.
struct branch_state {
  branch_cursor cursor;
  int64_t epoch = 0;
  /// Every business day that has sales.
  std::map<calendar_day, day_totals> days;
};

/// Pieces of a branch's tables that a shard loads when somebody asks. Each is
/// read in one snapshot together with the cursor's `apply_no`, so that the
/// shard can tell whether it fits its memory.
struct slice_request {
  enum class kind : uint8_t {
    /// `hourly`: business days `from`..`to`.
    hours,
    /// `products`: sums per product over business days `from`..`to`.
    products,
    /// `product_days`: one product per day over `from`..`to`.
    product_days,
    /// `minutes`: the day `from`.
    minutes,
    /// `loyal`: the best `limits::rank_max` by purchases and by revenue.
    loyal,
    /// `known_events`: which of `event_ids` the event log has; without
    /// `branch_id` of any branch, and `apply_no` is 0.
    known_events,
    /// `subset_customers`: distinct customers of `branch_ids` together, per
    /// day of `from`..`to`. `apply_no` is 0: it belongs to no one branch.
    subset_customers,
  };
  kind what = kind::hours;
  std::string branch_id;
  calendar_day from;
  calendar_day to;
  std::string product_id;
  std::vector<uuid> event_ids;
  std::vector<std::string> branch_ids;
  /// The branch's apply number that the piece is wanted of: a read replica
  /// that stands elsewhere is no use. -1: a replica is not asked.
  int64_t apply_no = -1;
  /// Either empty, or for each of `branch_ids` the last minute of the business
  /// day that counts.
  std::vector<int> until_minutes;
};

/// Sales and first visits of one minute.
struct minute_totals {
  sales_totals sales;
  int64_t customers = 0;
  int64_t chain = 0;

  friend bool operator==(const minute_totals&, const minute_totals&) = default;
};

struct loyal_customer {
  uuid customer_id;
  loyalty totals;
};

struct slice {
  int64_t apply_no = 0;
  std::map<std::pair<calendar_day, timestamp>, sales_totals> hours;
  std::map<std::string, product_totals> products;
  std::map<std::string, product_label> labels;
  std::map<calendar_day, product_totals> product_days;
  std::map<int, minute_totals> minutes;
  /// Best by purchases; ties: revenue, then id.
  std::vector<loyal_customer> by_purchases;
  /// Best by revenue; ties: purchases, then id.
  std::vector<loyal_customer> by_revenue;
  std::vector<uuid> known_events;
  /// Whose each of them is.
  std::vector<std::string> known_branches;
  std::map<calendar_day, int64_t> subset_customers;
};

struct ownership {
  std::string branch_id;
  std::string node;
  int64_t epoch = 0;
};

using ownerships_ptr = std::shared_ptr<const std::vector<ownership>>;
using apply_outcome_ptr = std::shared_ptr<const apply_outcome>;
using branch_state_ptr = std::shared_ptr<const branch_state>;
using slice_ptr = std::shared_ptr<const slice>;

/// A file of the lake: a branch's apply numbers `from_no`..`to_no`.
struct lake_segment {
  std::string branch_id;
  int64_t from_no = 0;
  int64_t to_no = 0;
};

struct lake_entry {
  int64_t apply_no = 0;
  uuid event_id;
  calendar_day day;
};

} // namespace tillstream

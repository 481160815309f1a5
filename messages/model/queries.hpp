#pragma once

#include "messages/core/error.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/aggregates.hpp"
#include "messages/model/apply.hpp"
#include "messages/model/http.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// @file messages/model/queries.hpp
/// What QUERY asks the shard of a branch, and what the shard says of its own
/// branch. QUERY merges, ranks and renders.

namespace tillstream {

/// Last minute of a business day.
constexpr int last_minute = 24 * 60 - 1;

/// One shard's part of a query of the dashboard.
struct shard_query {
  enum class kind : uint8_t {
    /// Whether the branch has loaded, and how far it reaches, which every
    /// answer tells. The only one that does not wait until it is known what is
    /// pending.
    status,
    /// Totals of the business days `from`..`to`.
    days,
    /// Totals of the day `from`, and of the day `previous_from` up to its
    /// minute `minute_max`.
    summary,
    /// Totals of the hours of `from`..`to`.
    hours,
    /// Totals by weekday and hour of the clock over `from`..`to`.
    heat,
    /// Sums per product over `from`..`to`, and over
    /// `previous_from`..`previous_to`.
    products,
    /// One product per day over `from`..`to`.
    product_days,
    /// The best `limit` customers.
    loyal,
  };

  kind what = kind::status;
  calendar_day from;
  calendar_day to;
  calendar_day previous_from;
  calendar_day previous_to;
  /// `last_minute`: the whole day.
  int minute_max = last_minute;
  std::string product_id;
  bool by_revenue = false;
  size_t limit = 0;
};

using shard_query_ptr = std::shared_ptr<const shard_query>;

/// Sales of an hour within a business day.
struct hour_sales {
  calendar_day day;
  /// When the hour of the local clock began.
  timestamp hour;
  sales_totals sales;

  friend bool operator==(const hour_sales&, const hour_sales&) = default;
};

/// Sums of a product, with the name and category that it has now.
struct product_sums {
  std::string product_id;
  product_label label;
  product_totals totals;

  friend bool operator==(const product_sums&, const product_sums&) = default;
};

/// Ordered by product id; shared between shard and QUERY, never changed.
using product_sums_ptr = std::shared_ptr<const std::vector<product_sums>>;

/// Row: ISO weekday of the business day, Monday first; column: hour of the
/// local clock.
constexpr size_t heat_cells = 7 * 24;
using heat_map = std::array<sales_totals, heat_cells>;

constexpr size_t heat_cell(int iso_weekday, int clock_hour) {
  return static_cast<size_t>(iso_weekday - 1) * 24
         + static_cast<size_t>(clock_hour);
}

/// What a shard answers. The parts that the query did not ask for stay
/// empty.
struct shard_answer {
  std::string branch_id;
  /// Everything recorded up to here is applied, by the database's clock.
  timestamp as_of;
  /// Committed and not yet applied.
  int64_t pending_events = 0;
  /// Age of the oldest of those, milliseconds; nothing when it can't be known.
  std::optional<int64_t> lag_ms;

  std::vector<std::pair<calendar_day, day_totals>> days;
  /// `summary`: both zero where nothing was sold.
  day_totals day;
  day_totals previous;
  std::vector<hour_sales> hours;
  std::shared_ptr<const heat_map> heat;
  product_sums_ptr products;
  product_sums_ptr previous_products;
  std::vector<std::pair<calendar_day, product_totals>> product_days;
  product_label label;
  /// Ranked.
  std::vector<loyal_customer> customers;
};

using shard_answer_ptr = std::shared_ptr<const shard_answer>;

/// What is asked of one branch.
struct branch_query {
  std::string branch_id;
  /// Many branches share one.
  shard_query_ptr query;
};

/// The queries of many branches of a node: one message.
struct shard_queries {
  std::vector<branch_query> branches;
  /// Branches that have not answered by then count as unavailable; the others
  /// are not made late.
  std::chrono::milliseconds timeout{0};
};

/// What came of one branch's query.
struct branch_answer {
  /// `none`: there is an answer.
  errc error = errc::none;
  shard_answer_ptr answer;
};

struct shard_answers {
  /// In the order of the queries.
  std::vector<branch_answer> branches;
};

using shard_queries_ptr = std::shared_ptr<const shard_queries>;
using shard_answers_ptr = std::shared_ptr<const shard_answers>;

/// A query of the dashboard that passed authentication.
struct analytics_query {
  http_request_ptr request;
  /// Last segment of the path, e.g. `summary`.
  std::string name;
  std::string trace_id;
};

using analytics_query_ptr = std::shared_ptr<const analytics_query>;

} // namespace tillstream

#pragma once

#include "actors/directory/view.hpp"
#include "actors/query/buckets.hpp"
#include "messages/codec/problem.hpp"
#include "messages/model/apply.hpp"
#include "messages/model/queries.hpp"
#include "messages/protocol/fwd.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// @file actors/query/plan.hpp
/// From the parameters of a query to the queries for the shards. No actor.

namespace tillstream {

enum class analytics : uint8_t {
  summary,
  revenue,
  top_products,
  loyal_customers,
  unique_customers,
  product,
  heatmap,
};

/// @returns the analytics of a path's last segment, e.g. `top-products`.
std::optional<analytics> find_analytics(std::string_view name);

/// A branch of the query, at the time of the query.
struct planned_branch {
  const branch* where = nullptr;
  const branch_clock* clock = nullptr;
  /// The business day and its minute that it is there now.
  calendar_day today;
  int minute = 0;
  /// `summary`: its day, and the last minute of the day one week before that it
  /// is compared up to.
  calendar_day date;
  int minute_max = last_minute;
};

/// Branches whose summaries are of the same day. Distinct customers are counted
/// for a group together.
struct day_group {
  calendar_day date;
  /// Indexes of `analytics_plan::branches`.
  std::vector<size_t> branches;
  /// Which of `analytics_plan::subsets` counts the customers of `date`, and of
  /// the day one week before; nothing when the shards' numbers add up.
  std::optional<size_t> subset;
  std::optional<size_t> previous_subset;
};

/// A query whose parameters are right.
struct analytics_plan {
  analytics what = analytics::summary;
  /// Owns the branches and clocks.
  directory_ptr chain;
  /// By the database's clock.
  timestamp now;
  /// Ordered by id.
  std::vector<planned_branch> branches;
  /// All branches of the chain are in the query.
  bool whole_chain = false;
  /// `top-products`: the day in the period.
  calendar_day date;
  calendar_day from;
  calendar_day to;
  /// `top-products`: the period before.
  calendar_day previous_from;
  calendar_day previous_to;
  /// `top-products`: `from` and `to` were named, not a period.
  bool any_days = false;
  bucket_size step = bucket_size::day;
  bool by_revenue = false;
  size_t limit = 0;
  std::string product_id;
  std::optional<uuid> after;
  /// `detail=total`: the answer has no sections for single branches.
  bool total_only = false;
  bool csv = false;
  std::vector<day_group> groups;
  /// Distinct customers that do not add up over these branches: counted in the
  /// tables.
  std::vector<slice_request> subsets;
};

/// Reads the parameters.
///
/// Defaults: `date` today, in each branch's own zone; `to` the latest today of
/// these branches; `from` that day for hours, 30 days for days, 12 weeks
/// or 12 months; for `top-products` `from` and `to` may stand in the place of
/// `period` and `date`; `granularity` and `period` day; `by` revenue for
/// products, purchases for customers; `limit` 10; all branches,
/// each with a section of its own.
/// @returns a `400` that names the parameter, or `404` for an unknown name.
std::variant<analytics_plan, problem>
plan_query(const analytics_query& query, directory_ptr chain, timestamp now);

/// The query for the shard of `branches[index]`.
shard_query_ptr query_for(const analytics_plan& plan, size_t index);

/// The same for all branches: one query for all of them where none differs.
std::vector<shard_query_ptr> make_shard_queries(const analytics_plan& plan);

} // namespace tillstream

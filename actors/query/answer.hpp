#pragma once

#include "actors/query/plan.hpp"
#include "messages/model/http.hpp"
#include "messages/model/queries.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// @file actors/query/answer.hpp
/// From what the shards answered to the reply: merges, ranks, renders. Pure:
/// the same parts give the same bytes.

namespace tillstream {

/// Everything that an answer is made of.
struct answer_parts {
  /// One for each of `analytics_plan::branches`; each fits its query
  /// (`check_part`).
  std::vector<shard_answer_ptr> shards;
  /// One for each of `analytics_plan::subsets`.
  std::vector<slice_ptr> subsets;
  /// Whether the event of `?after=` is in; nothing if none was named.
  std::optional<bool> applied_after;
  /// Whether the reply is to have a version.
  bool wants_version = false;
};

/// Renders the answer, as JSON or CSV.
///
/// Money are decimal strings, days `YYYY-MM-DD`. A summary over branches whose
/// clocks show different dates adds the distinct customers of each date.
/// @pre all parts are there
query_reply
render_answer(const analytics_plan& plan, const answer_parts& parts);

/// How far a branch's part reaches.
query_progress progress_of(const shard_answer& x);

/// How far the whole reaches: the worst of all branches.
query_progress progress_of(const answer_parts& parts);

/// Renders `part / whole` with four digits, rounded half up; nothing of nothing
/// is 0. @pre 0 <= part <= whole
std::string render_share(int64_t part, int64_t whole);

// -- the seven answers, one file each -----------------------------------------

struct rendered_answer {
  std::string body;
  /// See `query_reply::version`; empty unless it is wanted.
  std::string version;
};

rendered_answer
render_summary(const analytics_plan& plan, const answer_parts& parts);

rendered_answer
render_revenue(const analytics_plan& plan, const answer_parts& parts);

rendered_answer
render_top_products(const analytics_plan& plan, const answer_parts& parts);

rendered_answer
render_loyal_customers(const analytics_plan& plan, const answer_parts& parts);

rendered_answer
render_unique_customers(const analytics_plan& plan, const answer_parts& parts);

rendered_answer
render_product(const analytics_plan& plan, const answer_parts& parts);

rendered_answer
render_heatmap(const analytics_plan& plan, const answer_parts& parts);

} // namespace tillstream

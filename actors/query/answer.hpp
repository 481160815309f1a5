#pragma once

#include "actors/query/plan.hpp"
#include "messages/model/http.hpp"
#include "messages/model/queries.hpp"

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

/// @file actors/query/answer.hpp
/// From what the shards answered to the reply: merges, ranks, renders. Pure:
/// the same parts give the same bytes.

namespace tillstream {

/// Everything that an answer is made of.
struct answer_parts {
  /// One for each of `analytics_plan::branches`.
  std::vector<shard_answer_ptr> shards;
  /// One for each of `analytics_plan::subsets`.
  std::vector<slice_ptr> subsets;
  /// Whether the event of `?after=` is in; nothing if none was named.
  std::optional<bool> applied_after;
};

/// Renders the answer, as JSON or CSV.
///
/// Money are decimal strings, days `YYYY-MM-DD`. A summary over branches whose
/// clocks show different dates adds the distinct customers of each date.
/// @pre all parts are there
http_reply render_answer(const analytics_plan& plan, const answer_parts& parts);

/// The hours that the clock shows on the business days `from`..`to`: when each
/// began, with the UTC offset then. A day has 23 to 25 of them.
std::vector<std::pair<timestamp, std::chrono::seconds>>
local_hours(const branch_clock& clock, calendar_day from, calendar_day to);

/// Renders `part / whole` with four digits, rounded half up; nothing of nothing
/// is 0. @pre 0 <= part <= whole
std::string render_share(int64_t part, int64_t whole);

} // namespace tillstream

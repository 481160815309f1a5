#include "actors/query/answer.hpp"

#include "messages/core/time.hpp"

#include <algorithm>
#include <cassert>
#include <memory>
#include <utility>

namespace tillstream {

namespace {

rendered_answer
render_any(const analytics_plan& plan, const answer_parts& parts) {
  switch (plan.what) {
    case analytics::summary:
      return render_summary(plan, parts);
    case analytics::revenue:
      return render_revenue(plan, parts);
    case analytics::top_products:
      return render_top_products(plan, parts);
    case analytics::loyal_customers:
      return render_loyal_customers(plan, parts);
    case analytics::unique_customers:
      return render_unique_customers(plan, parts);
    case analytics::product:
      return render_product(plan, parts);
    case analytics::heatmap:
      return render_heatmap(plan, parts);
  }
  return {};
}

/// CSV has no place for it: headers tell how far the answer reaches.
void add_progress_headers(http_reply& to, const query_progress& x) {
  to.headers.emplace_back("As-Of", to_rfc3339(x.as_of));
  to.headers.emplace_back("Pending-Events", std::to_string(x.pending_events));
  to.headers.emplace_back("Lag-Ms",
                          x.lag_ms ? std::to_string(*x.lag_ms) : "unknown");
}

} // namespace

query_progress progress_of(const shard_answer& x) {
  return {x.as_of, x.pending_events, x.lag_ms};
}

query_progress progress_of(const answer_parts& parts) {
  auto result = progress_of(*parts.shards.front());
  for (size_t i = 1; i < parts.shards.size(); ++i) {
    const auto& x = *parts.shards[i];
    result.as_of = std::min(result.as_of, x.as_of);
    result.pending_events += x.pending_events;
    if (result.lag_ms && x.lag_ms)
      result.lag_ms = std::max(*result.lag_ms, *x.lag_ms);
    else
      result.lag_ms.reset();
  }
  return result;
}

query_reply
render_answer(const analytics_plan& plan, const answer_parts& parts) {
  assert(parts.shards.size() == plan.branches.size());
  assert(parts.subsets.size() == plan.subsets.size());
  auto rendered = render_any(plan, parts);
  query_reply result;
  result.version = std::move(rendered.version);
  result.progress = progress_of(parts);
  http_reply reply;
  reply.body = std::move(rendered.body);
  if (plan.csv) {
    reply.content_type = "text/csv; charset=utf-8; header=present";
    add_progress_headers(reply, result.progress);
  }
  reply.headers.emplace_back("Vary", "Accept");
  if (parts.applied_after)
    reply.headers.emplace_back("Applied-After",
                               *parts.applied_after ? "true" : "false");
  result.reply = std::make_shared<const http_reply>(std::move(reply));
  return result;
}

} // namespace tillstream

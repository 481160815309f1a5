#include "actors/query/part_check.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace tillstream {

namespace {

/// Each day of the query at most once, in order.
template <class T>
bool days_fit(const shard_query& query,
              const std::vector<std::pair<calendar_day, T>>& xs) {
  auto not_ascending
    = [](const auto& x, const auto& y) { return x.first >= y.first; };
  return xs.empty()
         || (xs.front().first >= query.from && xs.back().first <= query.to
             && std::adjacent_find(xs.begin(), xs.end(), not_ascending)
                  == xs.end());
}

bool hours_fit(const shard_query& query, const std::vector<hour_sales>& xs) {
  return std::all_of(xs.begin(), xs.end(), [&](const auto& x) {
    return x.day >= query.from && x.day <= query.to;
  });
}

/// Ordered by id, each once.
bool products_fit(const product_sums_ptr& xs) {
  auto not_ascending
    = [](const auto& x, const auto& y) { return x.product_id >= y.product_id; };
  return xs
         && std::adjacent_find(xs->begin(), xs->end(), not_ascending)
              == xs->end();
}

bool fits(const shard_query& query, const shard_answer& x) {
  using kind = shard_query::kind;
  switch (query.what) {
    case kind::status:
    case kind::summary:
      return true;
    case kind::days:
      return days_fit(query, x.days);
    case kind::hours:
      return hours_fit(query, x.hours);
    case kind::heat:
      return x.heat != nullptr;
    case kind::products:
      return products_fit(x.products) && products_fit(x.previous_products);
    case kind::product_days:
      return days_fit(query, x.product_days);
    case kind::loyal:
      return x.customers.size() <= query.limit;
  }
  return false;
}

} // namespace

caf::error check_part(const shard_query& query, std::string_view branch_id,
                      const shard_answer_ptr& part) {
  if (part && part->branch_id == branch_id && fits(query, *part))
    return caf::none;
  return caf::make_error(
    errc::internal,
    fmt::format("the part of branch {} does not fit the query", branch_id));
}

} // namespace tillstream

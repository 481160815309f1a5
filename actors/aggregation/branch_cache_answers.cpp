#include "actors/aggregation/branch_cache.hpp"

#include <algorithm>
#include <memory>
#include <utility>

/// @file actors/aggregation/branch_cache_answers.cpp
/// The part of the BRANCH CACHE that answers queries.

namespace tillstream {

shard_answer branch_cache::answer(const shard_query& query) {
  using kind = shard_query::kind;
  shard_answer result;
  result.branch_id = branch_id_;
  switch (query.what) {
    case kind::status:
      break;
    case kind::days:
      answer_days(query, result);
      break;
    case kind::summary:
      answer_summary(query, result);
      break;
    case kind::hours:
      visit_hours(query.from, query.to,
                  [&](const hour_row& x) { result.hours.push_back(x.sales); });
      break;
    case kind::heat:
      answer_heat(query, result);
      break;
    case kind::products:
      result.products = share({query.from, query.to});
      result.previous_products
        = share({query.previous_from, query.previous_to});
      break;
    case kind::product_days:
      answer_product_days(query, result);
      break;
    case kind::loyal:
      answer_loyal(query, result);
      break;
  }
  return result;
}

void branch_cache::answer_days(const shard_query& query,
                               shard_answer& out) const {
  auto end = days_.upper_bound(query.to);
  for (auto i = days_.lower_bound(query.from); i != end && i->first <= query.to;
       ++i)
    out.days.emplace_back(*i);
}

day_totals branch_cache::day(calendar_day x) const {
  auto i = days_.find(x);
  return i != days_.end() ? i->second : day_totals{};
}

void branch_cache::answer_summary(const shard_query& query,
                                  shard_answer& out) const {
  out.day = day(query.from);
  if (query.minute_max >= last_minute) {
    out.previous = day(query.previous_from);
    return;
  }
  auto slice = minutes_.find(query.previous_from);
  if (slice == minutes_.end())
    return;
  const auto& minutes = slice->second.value;
  auto end = minutes.upper_bound(query.minute_max);
  for (auto i = minutes.begin(); i != end; ++i) {
    out.previous.sales += i->second.sales;
    out.previous.customers.customers += i->second.customers;
    out.previous.customers.chain += i->second.chain;
  }
}

template <class Visit>
void branch_cache::visit_hours(calendar_day from, calendar_day to,
                               Visit visit) const {
  for (auto i = hours_.lower_bound(month_start(from));
       i != hours_.end() && i->first <= to; ++i)
    for (const auto& row : i->second.value)
      if (row.sales.day >= from && row.sales.day <= to)
        visit(row);
}

void branch_cache::answer_heat(const shard_query& query,
                               shard_answer& out) const {
  auto cells = std::make_shared<heat_map>();
  visit_hours(query.from, query.to,
              [&](const hour_row& x) { (*cells)[x.cell] += x.sales.sales; });
  out.heat = std::move(cells);
}

product_sums_ptr branch_cache::share(const period& days) {
  auto i = products_.find(days);
  if (i == products_.end())
    return std::make_shared<std::vector<product_sums>>();
  i->second.value.is_shared = true;
  return i->second.value.rows;
}

void branch_cache::answer_product_days(const shard_query& query,
                                       shard_answer& out) const {
  const auto& id = query.product_id;
  auto i = product_days_.lower_bound({id, year_start(query.from)});
  for (; i != product_days_.end() && i->first.first == id
         && i->first.second <= query.to;
       ++i) {
    const auto& x = i->second.value;
    if (x.label.outbox_seq > out.label.outbox_seq)
      out.label = x.label;
    auto end = x.days.upper_bound(query.to);
    for (auto day = x.days.lower_bound(query.from);
         day != x.days.end() && day != end; ++day)
      out.product_days.emplace_back(*day);
  }
}

void branch_cache::answer_loyal(const shard_query& query,
                                shard_answer& out) const {
  auto i = loyal_.find(0);
  if (i == loyal_.end())
    return;
  const auto& x = i->second.value;
  const auto& list = query.by_revenue ? x.by_revenue : x.by_purchases;
  auto count = std::min(query.limit, list.size());
  out.customers.assign(list.begin(),
                       list.begin() + static_cast<std::ptrdiff_t>(count));
}

} // namespace tillstream

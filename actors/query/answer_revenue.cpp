#include "actors/query/sheet.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tillstream {

namespace {

using namespace std::chrono_literals;

constexpr auto one_day = std::chrono::days{1};

struct bucket_row {
  std::string name;
  timestamp start;
  sales_totals sales;
  bool unfinished = false;
};

template <class F>
void describe(F& f, const bucket_row& x) {
  f("bucket", x.name);
  f("start", x.start);
  f("revenue", money{x.sales.revenue});
  f("purchases", x.sales.purchases);
  f("items", x.sales.items);
  f("unfinished", x.unfinished);
}

using series = section<bucket_row>;

series day_series(const analytics_plan& plan, const planned_branch& branch,
                  const shard_answer& x) {
  series result;
  auto sales = x.days.begin();
  for (auto first = bucket_start(plan.from, plan.step); first <= plan.to;
       first = next_bucket(first, plan.step)) {
    auto& row = result.rows.emplace_back();
    auto last = std::min<calendar_day>(next_bucket(first, plan.step) - one_day,
                                       plan.to);
    row.name = to_string(first);
    row.start = branch.clock->begin_of(first);
    row.unfinished = last >= branch.today;
    for (; sales != x.days.end() && sales->first <= last; ++sales)
      row.sales += sales->second.sales;
  }
  return result;
}

/// Orders rows by start, and sums those with the same one.
void merge_equal_starts(std::vector<bucket_row>& rows) {
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.start < b.start;
  });
  size_t size = 0;
  for (auto& x : rows) {
    if (size > 0 && rows[size - 1].start == x.start) {
      rows[size - 1].sales += x.sales;
      rows[size - 1].unfinished |= x.unfinished;
      continue;
    }
    if (&rows[size] != &x)
      rows[size] = std::move(x);
    ++size;
  }
  rows.resize(size);
}

series hour_series(const analytics_plan& plan, const planned_branch& branch,
                   const shard_answer& x) {
  series result;
  auto end = branch.clock->begin_of(plan.to + one_day);
  auto hours = local_hours(*branch.clock, plan.from, plan.to);
  for (size_t i = 0; i < hours.size(); ++i) {
    auto& row = result.rows.emplace_back();
    row.start = hours[i].start;
    row.name = to_rfc3339_local(row.start, hours[i].utc_offset);
    row.unfinished
      = (i + 1 < hours.size() ? hours[i + 1].start : end) > plan.now;
  }
  // Sales stamped under other rules of the zone have hours of their own: they
  // count all the same.
  for (const auto& sale : x.hours) {
    auto& row = result.rows.emplace_back();
    row.start = sale.hour;
    row.name = to_rfc3339_local(row.start, branch.clock->utc_offset(row.start));
    row.sales = sale.sales;
  }
  merge_equal_starts(result.rows);
  return result;
}

/// Days of all branches, by date.
series total_days(const std::vector<series>& branches) {
  auto result = branches.front();
  for (size_t i = 1; i < branches.size(); ++i) {
    for (size_t k = 0; k < result.rows.size(); ++k) {
      auto& sum = result.rows[k];
      const auto& x = branches[i].rows[k];
      sum.sales += x.sales;
      sum.start = std::min(sum.start, x.start);
      sum.unfinished |= x.unfinished;
    }
  }
  return result;
}

bool one_zone(const analytics_plan& plan) {
  const auto& zone = plan.branches.front().where->time_zone;
  return std::all_of(plan.branches.begin(), plan.branches.end(),
                     [&](const auto& x) { return x.where->time_zone == zone; });
}

/// Hours of all branches, by the instant.
series
total_hours(const analytics_plan& plan, const std::vector<series>& branches) {
  series result;
  for (const auto& xs : branches)
    result.rows.insert(result.rows.end(), xs.rows.begin(), xs.rows.end());
  merge_equal_starts(result.rows);
  if (!one_zone(plan))
    for (auto& x : result.rows)
      x.name = to_rfc3339_local(x.start, 0s);
  return result;
}

} // namespace

rendered_answer
render_revenue(const analytics_plan& plan, const answer_parts& parts) {
  sheet<series> result{"series", {}, {}};
  auto by_hour = plan.step == bucket_size::hour;
  auto make = by_hour ? hour_series : day_series;
  for (size_t i = 0; i < parts.shards.size(); ++i)
    result.branches.push_back(make(plan, plan.branches[i], *parts.shards[i]));
  result.total = by_hour ? total_hours(plan, result.branches)
                         : total_days(result.branches);
  return render(plan, parts, result, [&](auto& f) {
    describe_range(f, plan);
    f("granularity", to_string(plan.step));
  });
}

} // namespace tillstream

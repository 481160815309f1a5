#include "actors/query/sheet.hpp"

#include <chrono>
#include <optional>
#include <utility>

namespace tillstream {

namespace {

constexpr auto week = std::chrono::weeks{1};

/// A day's numbers.
struct day_row {
  /// Nothing where the branches' dates differ.
  std::optional<calendar_day> date;
  sales_totals sales;
  int64_t customers = 0;
};

struct summary_row {
  day_row day;
  int64_t new_customers = 0;
  std::optional<timestamp> until;
  day_row previous;
};

template <class F>
void describe_sales(F& f, const day_row& x) {
  f("date", x.date);
  f("revenue", money{x.sales.revenue});
  f("purchases", x.sales.purchases);
  f("items", x.sales.items);
  f("average_basket",
    x.sales.purchases > 0
      ? std::optional{money{average(x.sales.revenue, x.sales.purchases)}}
      : std::nullopt);
  f("unique_customers", x.customers);
}

template <class F>
void describe(F& f, const day_row& x) {
  describe_sales(f, x);
}

template <class F>
void describe(F& f, const summary_row& x) {
  describe_sales(f, x.day);
  f("new_customers", x.new_customers);
  f("until", moving<std::optional<timestamp>>{x.until});
  f.group("previous", x.previous);
}

using summary_section = section<summary_row>;

summary_row summarize(const analytics_plan& plan, const planned_branch& branch,
                      const shard_answer& x) {
  summary_row result;
  result.day = {branch.date, x.day.sales, x.day.customers.customers};
  result.new_customers = x.day.customers.fresh;
  if (branch.date >= branch.today)
    result.until = plan.now;
  result.previous
    = {branch.date - week, x.previous.sales, x.previous.customers.customers};
  return result;
}

/// Distinct customers of a group, on its day and one week before.
std::pair<int64_t, int64_t>
count_group(const day_group& group, const answer_parts& parts) {
  std::pair<int64_t, int64_t> result;
  auto alone = group.branches.size() == 1;
  for (auto i : group.branches) {
    const auto& x = *parts.shards[i];
    result.first += alone ? x.day.customers.customers : x.day.customers.chain;
    result.second
      += alone ? x.previous.customers.customers : x.previous.customers.chain;
  }
  if (group.subset)
    result.first = customers_on(*parts.subsets[*group.subset], group.date);
  if (group.previous_subset)
    result.second
      = customers_on(*parts.subsets[*group.previous_subset], group.date - week);
  return result;
}

std::optional<calendar_day> common_date(const analytics_plan& plan) {
  return plan.groups.size() == 1 ? std::optional{plan.groups.front().date}
                                 : std::nullopt;
}

summary_row summarize_all(const analytics_plan& plan, const answer_parts& parts,
                          const std::vector<summary_section>& branches) {
  summary_row result;
  for (const auto& branch : branches) {
    const auto& x = branch.rows.front();
    result.day.sales += x.day.sales;
    result.previous.sales += x.previous.sales;
    result.new_customers += x.new_customers;
    if (x.until)
      result.until = x.until;
  }
  for (const auto& group : plan.groups) {
    auto [customers, previous] = count_group(group, parts);
    result.day.customers += customers;
    result.previous.customers += previous;
  }
  result.day.date = common_date(plan);
  if (result.day.date)
    result.previous.date = *result.day.date - week;
  return result;
}

} // namespace

rendered_answer
render_summary(const analytics_plan& plan, const answer_parts& parts) {
  sheet<summary_section> result;
  for (size_t i = 0; i < parts.shards.size(); ++i)
    result.branches.push_back(
      {{summarize(plan, plan.branches[i], *parts.shards[i])}});
  result.total.rows = {summarize_all(plan, parts, result.branches)};
  return render(plan, parts, result,
                [&](auto& f) { f("date", common_date(plan)); });
}

} // namespace tillstream

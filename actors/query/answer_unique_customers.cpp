#include "actors/query/sheet.hpp"

namespace tillstream {

namespace {

struct customers_row {
  calendar_day day;
  int64_t customers = 0;
  int64_t new_customers = 0;
};

template <class F>
void describe(F& f, const customers_row& x) {
  f("day", x.day);
  f("customers", x.customers);
  f("new_customers", x.new_customers);
  f("returning_customers", x.customers - x.new_customers);
}

using customers_section = section<customers_row>;

} // namespace

rendered_answer
render_unique_customers(const analytics_plan& plan, const answer_parts& parts) {
  sheet<customers_section> result{"days", {}, {}};
  result.total = empty_days<customers_section>(plan);
  auto& total = result.total.rows;
  auto alone = parts.shards.size() == 1;
  for (const auto& x : parts.shards) {
    auto& rows
      = result.branches.emplace_back(empty_days<customers_section>(plan)).rows;
    for (const auto& [day, totals] : x->days) {
      const auto& counts = totals.customers;
      auto i = index_of(plan, day);
      rows[i].customers = counts.customers;
      rows[i].new_customers = counts.fresh;
      total[i].customers += alone ? counts.customers : counts.chain;
      total[i].new_customers += counts.fresh;
    }
  }
  if (!parts.subsets.empty())
    for (auto& row : total)
      row.customers = customers_on(*parts.subsets.front(), row.day);
  return render(plan, parts, result, [&](auto& f) { describe_range(f, plan); });
}

} // namespace tillstream

#include "actors/query/sheet.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace tillstream {

namespace {

struct customer_row {
  int64_t rank = 0;
  loyal_customer customer;
  /// Where he buys.
  std::string_view branch_id;
  /// A row of the total, which names the branch.
  bool in_total = false;
};

template <class F>
void describe(F& f, const customer_row& x) {
  f("rank", x.rank);
  f("user_id", x.customer.customer_id);
  f("purchases", x.customer.totals.purchases);
  f("revenue", money{x.customer.totals.revenue});
  f("last_purchase_at", x.customer.totals.last_purchase_at);
  // In CSV all rows have the same columns, and `branch_id` is the first.
  if constexpr (F::is_csv)
    f("customer_branch_id", x.branch_id);
  else if (x.in_total)
    f("branch_id", x.branch_id);
}

using customer_section = section<customer_row>;

bool ranks_before(const customer_row& x, const customer_row& y,
                  bool by_revenue) {
  const auto& a = x.customer.totals;
  const auto& b = y.customer.totals;
  auto key = [by_revenue](const loyalty& t) {
    return by_revenue ? std::pair{t.revenue, t.purchases}
                      : std::pair{t.purchases, t.revenue};
  };
  if (key(a) != key(b))
    return key(a) > key(b);
  return std::tie(x.customer.customer_id, x.branch_id)
         < std::tie(y.customer.customer_id, y.branch_id);
}

void number_ranks(customer_section& x) {
  int64_t rank = 0;
  for (auto& row : x.rows)
    row.rank = ++rank;
}

} // namespace

rendered_answer
render_loyal_customers(const analytics_plan& plan, const answer_parts& parts) {
  sheet<customer_section> result{"customers", {}, {}};
  auto& all = result.total.rows;
  for (size_t i = 0; i < parts.shards.size(); ++i) {
    auto& section = result.branches.emplace_back();
    for (const auto& customer : parts.shards[i]->customers) {
      section.rows.push_back({0, customer, plan.branches[i].where->id, false});
      all.push_back({0, customer, plan.branches[i].where->id, true});
    }
    number_ranks(section);
  }
  std::sort(all.begin(), all.end(), [&](const auto& x, const auto& y) {
    return ranks_before(x, y, plan.by_revenue);
  });
  all.resize(std::min(all.size(), plan.limit));
  number_ranks(result.total);
  return render(plan, parts, result, [&](auto& f) {
    f("by", std::string_view{plan.by_revenue ? "revenue" : "purchases"});
  });
}

} // namespace tillstream

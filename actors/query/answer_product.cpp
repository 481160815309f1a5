#include "actors/query/sheet.hpp"

namespace tillstream {

namespace {

struct product_day_row {
  calendar_day day;
  product_totals totals;
};

/// Over all days.
struct product_sum {
  product_totals totals;
};

template <class F>
void describe(F& f, const product_sum& x) {
  f("quantity", x.totals.quantity);
  f("revenue", money{x.totals.revenue});
}

template <class F>
void describe(F& f, const product_day_row& x) {
  f("day", x.day);
  f("quantity", x.totals.quantity);
  f("revenue", money{x.totals.revenue});
}

using product_section = section<product_day_row, product_sum>;

void add(product_section& to, size_t index, const product_totals& x) {
  for (auto* sum : {&to.rows[index].totals, &to.sums.totals}) {
    sum->quantity += x.quantity;
    sum->revenue += x.revenue;
  }
}

/// The latest name that sales gave it; empty where nobody sold it.
std::string_view name_of(const answer_parts& parts) {
  const product_label* latest = nullptr;
  for (const auto& x : parts.shards)
    if (x->label.outbox_seq > (latest ? latest->outbox_seq : 0))
      latest = &x->label;
  return latest ? std::string_view{latest->name} : std::string_view{};
}

} // namespace

rendered_answer
render_product(const analytics_plan& plan, const answer_parts& parts) {
  sheet<product_section> result{"days", {}, {}};
  result.total = empty_days<product_section>(plan);
  for (const auto& x : parts.shards) {
    auto& section
      = result.branches.emplace_back(empty_days<product_section>(plan));
    for (const auto& [day, totals] : x->product_days) {
      auto i = index_of(plan, day);
      add(section, i, totals);
      add(result.total, i, totals);
    }
  }
  return render(plan, parts, result, [&](auto& f) {
    f("product_id", plan.product_id);
    f("name", if_any(name_of(parts)));
    describe_range(f, plan);
  });
}

} // namespace tillstream

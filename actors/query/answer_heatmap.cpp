#include "actors/query/sheet.hpp"

namespace tillstream {

namespace {

struct cell_row {
  /// ISO, Monday is 1.
  int64_t weekday = 0;
  int64_t hour = 0;
  sales_totals sales;
};

template <class F>
void describe(F& f, const cell_row& x) {
  f("weekday", x.weekday);
  f("hour", x.hour);
  f("revenue", money{x.sales.revenue});
  f("purchases", x.sales.purchases);
}

using heat_section = section<cell_row>;

heat_section make_section(const heat_map& cells) {
  heat_section result;
  for (size_t i = 0; i < heat_cells; ++i)
    result.rows.push_back({static_cast<int64_t>(i / 24) + 1,
                           static_cast<int64_t>(i % 24), cells[i]});
  return result;
}

} // namespace

rendered_answer
render_heatmap(const analytics_plan& plan, const answer_parts& parts) {
  sheet<heat_section> result{"cells", {}, {}};
  heat_map total{};
  for (const auto& x : parts.shards) {
    for (size_t i = 0; i < heat_cells; ++i)
      total[i] += (*x->heat)[i];
    result.branches.push_back(make_section(*x->heat));
  }
  result.total = make_section(total);
  return render(plan, parts, result, [&](auto& f) { describe_range(f, plan); });
}

} // namespace tillstream

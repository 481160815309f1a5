#include "actors/query/sheet.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <limits>

namespace tillstream {

namespace {

/// Its texts are those of the shards' answers.
struct product_row {
  int64_t rank = 0;
  std::string_view product_id;
  std::string_view name;
  std::string_view category;
  product_totals totals;
  digits share;
  std::optional<int64_t> previous_rank;
};

template <class F>
void describe(F& f, const product_row& x) {
  f("rank", x.rank);
  f("product_id", x.product_id);
  f("name", if_any(x.name));
  f("category", if_any(x.category));
  f("quantity", x.totals.quantity);
  f("revenue", money{x.totals.revenue});
  f("share", x.share);
  f("previous_rank", x.previous_rank);
  f("rank_change",
    x.previous_rank ? std::optional{*x.previous_rank - x.rank} : std::nullopt);
}

using product_section = section<product_row>;

/// A product's sums over some branches. Points into the shards' answers.
struct product_ref {
  /// Of the branch that gave it its latest label.
  const product_sums* latest = nullptr;
  product_totals totals;

  const std::string& id() const {
    return latest->product_id;
  }

  int64_t measure(bool by_revenue) const {
    return by_revenue ? totals.revenue : totals.quantity;
  }
};

/// Ordered by product id.
using product_refs = std::vector<product_ref>;

bool has_id_before(const product_ref& x, const product_ref& y) {
  return x.id() < y.id();
}

product_refs refer_to(const std::vector<product_sums>& xs) {
  product_refs result;
  result.reserve(xs.size());
  for (const auto& x : xs)
    result.push_back({&x, x.totals});
  return result;
}

/// Sums up what both have; the latest label counts.
product_refs merge(const product_refs& xs, const product_refs& ys) {
  product_refs all;
  all.reserve(xs.size() + ys.size());
  std::merge(xs.begin(), xs.end(), ys.begin(), ys.end(),
             std::back_inserter(all), has_id_before);
  product_refs result;
  result.reserve(all.size());
  for (const auto& x : all) {
    if (result.empty() || result.back().id() != x.id()) {
      result.push_back(x);
      continue;
    }
    auto& sum = result.back();
    sum.totals.quantity += x.totals.quantity;
    sum.totals.revenue += x.totals.revenue;
    if (x.latest->label.outbox_seq > sum.latest->label.outbox_seq)
      sum.latest = x.latest;
  }
  return result;
}

product_refs merge_all(const std::vector<shard_answer_ptr>& shards,
                       product_sums_ptr shard_answer::*part) {
  product_refs result;
  for (const auto& shard : shards)
    result = merge(result, refer_to(*((*shard).*part)));
  return result;
}

/// A product and what it is ranked by.
struct product_rank {
  int64_t measure = 0;
  const product_ref* product = nullptr;

  /// Ties by id.
  friend bool operator<(const product_rank& x, const product_rank& y) {
    return x.measure != y.measure ? x.measure > y.measure
                                  : x.product->id() < y.product->id();
  }
};

using product_ranks = std::vector<product_rank>;

/// The best `count`, best first.
product_ranks
rank_products(const product_refs& xs, bool by_revenue, size_t count) {
  product_ranks result;
  result.reserve(xs.size());
  for (const auto& x : xs)
    result.push_back({x.measure(by_revenue), &x});
  count = std::min(count, result.size());
  auto end = result.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(result.begin(), end, result.end());
  result.erase(end, result.end());
  return result;
}

/// Where products stood in the period before.
class earlier_ranks {
public:
  earlier_ranks(const product_refs& products, bool by_revenue)
    : products_(products),
      ranks_(rank_products(products, by_revenue, products.size())),
      by_revenue_(by_revenue) {
    // nop
  }

  std::optional<int64_t> of(const product_ref& x) const {
    auto i
      = std::lower_bound(products_.begin(), products_.end(), x, has_id_before);
    if (i == products_.end() || i->id() != x.id())
      return std::nullopt;
    product_rank wanted{i->measure(by_revenue_), &*i};
    auto rank = std::lower_bound(ranks_.begin(), ranks_.end(), wanted);
    return rank - ranks_.begin() + 1;
  }

private:
  const product_refs& products_;
  product_ranks ranks_;
  bool by_revenue_;
};

product_section
top_products(const analytics_plan& plan, const product_refs& current,
             const product_refs& before) {
  earlier_ranks earlier{before, plan.by_revenue};
  int64_t whole = 0;
  for (const auto& x : current)
    whole += x.measure(plan.by_revenue);
  product_section result;
  for (const auto& x : rank_products(current, plan.by_revenue, plan.limit)) {
    auto& row = result.rows.emplace_back();
    row.rank = static_cast<int64_t>(result.rows.size());
    row.product_id = x.product->id();
    row.name = x.product->latest->label.name;
    row.category = x.product->latest->label.category;
    row.totals = x.product->totals;
    row.share.text = render_share(x.measure, whole);
    row.previous_rank = earlier.of(*x.product);
  }
  return result;
}

} // namespace

std::string render_share(int64_t part, int64_t whole) {
  constexpr int64_t digits = 10'000;
  if (whole <= 0)
    return "0.0000";
  // A share of more than 10^14 does not need its last digits.
  if (whole > std::numeric_limits<int64_t>::max() / (4 * digits)) {
    part /= 4 * digits;
    whole /= 4 * digits;
  }
  auto result = (2 * part * digits + whole) / (2 * whole);
  return fmt::format("{}.{:04}", result / digits, result % digits);
}

rendered_answer
render_top_products(const analytics_plan& plan, const answer_parts& parts) {
  sheet<product_section> result{"products", {}, {}};
  for (const auto& x : parts.shards)
    result.branches.push_back(top_products(plan, refer_to(*x->products),
                                           refer_to(*x->previous_products)));
  result.total
    = top_products(plan, merge_all(parts.shards, &shard_answer::products),
                   merge_all(parts.shards, &shard_answer::previous_products));
  return render(plan, parts, result, [&](auto& f) {
    f("period",
      plan.any_days ? std::string_view{"days"} : to_string(plan.step));
    f("date", plan.date);
    describe_range(f, plan);
    f("by", std::string_view{plan.by_revenue ? "revenue" : "quantity"});
  });
}

} // namespace tillstream

#include "actors/query/answer.hpp"

#include "actors/query/rows.hpp"
#include "messages/core/limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <tuple>

namespace tillstream {

namespace {

using one_day = std::chrono::duration<int64_t, std::ratio<86400>>;
using namespace std::chrono_literals;

constexpr auto week = one_day{7};

/// What an answer says of one branch, or of all branches together.
struct section {
  /// Fields beside the rows; a section without a list has only these.
  std::function<void(row_writer&)> fields;
  /// Name of the rows in JSON.
  std::string_view list;
  size_t rows = 0;
  std::function<void(row_writer&, size_t)> row;
};

/// The sections of an answer, and the header of its CSV.
struct sheet {
  std::vector<std::string_view> columns;
  /// One for each branch.
  std::vector<section> branches;
  section total;
};

/// Makes a section of rows of one type.
template <class Row, class Write>
section
list_section(std::string_view name, std::vector<Row> rows, Write write) {
  section result;
  result.list = name;
  result.rows = rows.size();
  auto shared = std::make_shared<std::vector<Row>>(std::move(rows));
  result.row = [shared, write](row_writer& out, size_t i) {
    write(out, (*shared)[i], i);
  };
  return result;
}

void write_sales(row_writer& out, const sales_totals& x) {
  out.money("revenue", x.revenue);
  out.integer("purchases", x.purchases);
  out.integer("items", x.items);
}

// -- summary ------------------------------------------------------------------

struct summary_row {
  /// Nothing where the branches' dates differ.
  std::optional<calendar_day> date;
  sales_totals sales;
  int64_t customers = 0;
  int64_t fresh = 0;
  std::optional<timestamp> until;
  sales_totals previous;
  int64_t previous_customers = 0;
};

void write_basket(row_writer& out, const sales_totals& x) {
  if (x.purchases > 0)
    out.money("average_basket", average(x.revenue, x.purchases));
  else
    out.null("average_basket");
}

void write_date(row_writer& out, std::optional<calendar_day> x) {
  out.text_or_null("date", x ? to_string(*x) : std::string{});
}

void write_summary(row_writer& out, const summary_row& x) {
  write_date(out, x.date);
  write_sales(out, x.sales);
  write_basket(out, x.sales);
  out.integer("unique_customers", x.customers);
  out.integer("new_customers", x.fresh);
  out.text_or_null("until", x.until ? to_rfc3339(*x.until) : std::string{});
  out.begin_group("previous");
  write_date(out, x.date ? std::optional{*x.date - week} : std::nullopt);
  write_sales(out, x.previous);
  write_basket(out, x.previous);
  out.integer("unique_customers", x.previous_customers);
  out.end_group();
}

summary_row summarize(const analytics_plan& plan, const asked_branch& branch,
                      const shard_answer& x) {
  summary_row result;
  result.date = branch.date;
  result.sales = x.day.sales;
  result.customers = x.day.customers.customers;
  result.fresh = x.day.customers.fresh;
  if (branch.date >= branch.today)
    result.until = plan.now;
  result.previous = x.previous.sales;
  result.previous_customers = x.previous.customers.customers;
  return result;
}

int64_t count_on(const slice& x, calendar_day day) {
  auto i = x.subset_customers.find(day);
  return i != x.subset_customers.end() ? i->second : 0;
}

/// Distinct customers of a group, on its day and one week before.
std::pair<int64_t, int64_t>
count_group(const day_group& group, const answer_parts& parts) {
  std::pair<int64_t, int64_t> result;
  for (auto i : group.branches) {
    const auto& x = *parts.shards[i];
    auto alone = group.branches.size() == 1;
    result.first += alone ? x.day.customers.customers : x.day.customers.chain;
    result.second
      += alone ? x.previous.customers.customers : x.previous.customers.chain;
  }
  if (group.subset)
    result.first = count_on(*parts.subsets[*group.subset], group.date);
  if (group.previous_subset)
    result.second
      = count_on(*parts.subsets[*group.previous_subset], group.date - week);
  return result;
}

summary_row
summarize_all(const analytics_plan& plan, const answer_parts& parts) {
  summary_row result;
  for (size_t i = 0; i < parts.shards.size(); ++i) {
    auto x = summarize(plan, plan.branches[i], *parts.shards[i]);
    result.sales += x.sales;
    result.previous += x.previous;
    result.fresh += x.fresh;
    if (x.until)
      result.until = x.until;
  }
  for (const auto& group : plan.groups) {
    auto [customers, previous] = count_group(group, parts);
    result.customers += customers;
    result.previous_customers += previous;
  }
  if (plan.groups.size() == 1)
    result.date = plan.groups.front().date;
  return result;
}

section summary_section(summary_row x) {
  section result;
  result.fields = [x](row_writer& out) { write_summary(out, x); };
  return result;
}

sheet make_summary(const analytics_plan& plan, const answer_parts& parts) {
  sheet result;
  result.columns = {"date",
                    "revenue",
                    "purchases",
                    "items",
                    "average_basket",
                    "unique_customers",
                    "new_customers",
                    "until",
                    "previous_date",
                    "previous_revenue",
                    "previous_purchases",
                    "previous_items",
                    "previous_average_basket",
                    "previous_unique_customers"};
  for (size_t i = 0; i < parts.shards.size(); ++i)
    result.branches.push_back(
      summary_section(summarize(plan, plan.branches[i], *parts.shards[i])));
  result.total = summary_section(summarize_all(plan, parts));
  return result;
}

// -- revenue ------------------------------------------------------------------

struct bucket_row {
  std::string name;
  timestamp start;
  sales_totals sales;
  bool unfinished = false;
};

void write_bucket(row_writer& out, const bucket_row& x, size_t) {
  out.text("bucket", x.name);
  out.text("start", to_rfc3339(x.start));
  write_sales(out, x.sales);
  out.boolean("unfinished", x.unfinished);
}

std::vector<bucket_row>
day_series(const analytics_plan& plan, const asked_branch& branch,
           const shard_answer& x) {
  std::vector<bucket_row> result;
  auto sales = x.days.begin();
  for (auto first = bucket_start(plan.from, plan.step); first <= plan.to;
       first = next_bucket(first, plan.step)) {
    auto& row = result.emplace_back();
    auto last = std::min(next_bucket(first, plan.step) - one_day{1}, plan.to);
    row.name = to_string(first);
    row.start = branch.clock->begin_of(first);
    row.unfinished = last >= branch.today;
    for (; sales != x.days.end() && sales->first <= last; ++sales)
      row.sales += sales->second.sales;
  }
  return result;
}

/// Sums rows with the same start. @pre `rows` is sorted by start
std::vector<bucket_row> merge_equal_starts(std::vector<bucket_row> rows) {
  std::vector<bucket_row> result;
  for (auto& x : rows) {
    if (result.empty() || result.back().start != x.start) {
      result.push_back(std::move(x));
      continue;
    }
    result.back().sales += x.sales;
    result.back().unfinished |= x.unfinished;
  }
  return result;
}

std::vector<bucket_row>
hour_series(const analytics_plan& plan, const asked_branch& branch,
            const shard_answer& x) {
  std::vector<bucket_row> rows;
  auto end = branch.clock->begin_of(plan.to + one_day{1});
  auto hours = local_hours(*branch.clock, plan.from, plan.to);
  for (size_t i = 0; i < hours.size(); ++i) {
    auto& row = rows.emplace_back();
    row.start = hours[i].first;
    row.name = to_rfc3339_local(row.start, hours[i].second);
    row.unfinished
      = (i + 1 < hours.size() ? hours[i + 1].first : end) > plan.now;
  }
  // Sales stamped under other rules of the zone have hours of their own: they
  // count all the same.
  for (const auto& sale : x.hours) {
    auto& row = rows.emplace_back();
    row.start = sale.hour;
    row.name = to_rfc3339_local(row.start, branch.clock->utc_offset(row.start));
    row.sales = sale.sales;
  }
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.start < b.start;
  });
  return merge_equal_starts(std::move(rows));
}

bool one_zone(const analytics_plan& plan) {
  const auto& zone = plan.branches.front().where->time_zone;
  return std::all_of(plan.branches.begin(), plan.branches.end(),
                     [&](const auto& x) { return x.where->time_zone == zone; });
}

/// Buckets of all branches: days by date, hours by the instant.
std::vector<bucket_row>
total_series(const analytics_plan& plan,
             const std::vector<std::vector<bucket_row>>& branches) {
  if (plan.step != bucket_size::hour) {
    auto result = branches.front();
    for (size_t i = 1; i < branches.size(); ++i) {
      for (size_t k = 0; k < result.size(); ++k) {
        result[k].sales += branches[i][k].sales;
        result[k].start = std::min(result[k].start, branches[i][k].start);
        result[k].unfinished |= branches[i][k].unfinished;
      }
    }
    return result;
  }
  std::vector<bucket_row> rows;
  for (const auto& xs : branches)
    rows.insert(rows.end(), xs.begin(), xs.end());
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.start < b.start;
  });
  auto result = merge_equal_starts(std::move(rows));
  if (!one_zone(plan))
    for (auto& x : result)
      x.name = to_rfc3339_local(x.start, 0s);
  return result;
}

sheet make_revenue(const analytics_plan& plan, const answer_parts& parts) {
  sheet result;
  result.columns
    = {"bucket", "start", "revenue", "purchases", "items", "unfinished"};
  std::vector<std::vector<bucket_row>> branches;
  for (size_t i = 0; i < parts.shards.size(); ++i) {
    auto make = plan.step == bucket_size::hour ? hour_series : day_series;
    branches.push_back(make(plan, plan.branches[i], *parts.shards[i]));
  }
  result.total
    = list_section("series", total_series(plan, branches), write_bucket);
  for (auto& xs : branches)
    result.branches.push_back(
      list_section("series", std::move(xs), write_bucket));
  return result;
}

// -- top products -------------------------------------------------------------

/// A product's sums over some branches. Points into the shards' answers.
struct product_ref {
  /// Of the branch that gave it its latest label.
  const product_sums* latest = nullptr;
  product_totals totals;

  const std::string& id() const {
    return latest->product_id;
  }
};

/// Ordered by product id.
using product_refs = std::vector<product_ref>;

struct product_row {
  product_ref product;
  std::string share;
  std::optional<int64_t> previous_rank;
};

void write_product(row_writer& out, const product_row& x, size_t index) {
  auto rank = static_cast<int64_t>(index) + 1;
  const auto& label = x.product.latest->label;
  out.integer("rank", rank);
  out.text("product_id", x.product.id());
  out.text_or_null("name", label.name);
  out.text_or_null("category", label.category);
  out.integer("quantity", x.product.totals.quantity);
  out.money("revenue", x.product.totals.revenue);
  out.number("share", x.share);
  out.integer_or_null("previous_rank", x.previous_rank);
  out.integer_or_null("rank_change", x.previous_rank
                                       ? std::optional{*x.previous_rank - rank}
                                       : std::nullopt);
}

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

product_refs merge_products(const std::vector<shard_answer_ptr>& shards,
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
    result.push_back({by_revenue ? x.totals.revenue : x.totals.quantity, &x});
  count = std::min(count, result.size());
  auto end = result.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(result.begin(), end, result.end());
  result.erase(end, result.end());
  return result;
}

/// Where a product stood in the period before.
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
    product_rank wanted{by_revenue_ ? i->totals.revenue : i->totals.quantity,
                        &*i};
    auto rank = std::lower_bound(ranks_.begin(), ranks_.end(), wanted);
    return rank - ranks_.begin() + 1;
  }

private:
  const product_refs& products_;
  product_ranks ranks_;
  bool by_revenue_;
};

section top_products(const analytics_plan& plan, const product_refs& current,
                     const product_refs& before) {
  earlier_ranks earlier{before, plan.by_revenue};
  int64_t whole = 0;
  for (const auto& x : current)
    whole += plan.by_revenue ? x.totals.revenue : x.totals.quantity;
  std::vector<product_row> rows;
  for (const auto& x : rank_products(current, plan.by_revenue, plan.limit))
    rows.push_back(
      {*x.product, render_share(x.measure, whole), earlier.of(*x.product)});
  return list_section("products", std::move(rows), write_product);
}

sheet make_top_products(const analytics_plan& plan, const answer_parts& parts) {
  sheet result;
  result.columns
    = {"rank",    "product_id", "name",          "category",   "quantity",
       "revenue", "share",      "previous_rank", "rank_change"};
  for (const auto& x : parts.shards)
    result.branches.push_back(top_products(plan, refer_to(*x->products),
                                           refer_to(*x->previous_products)));
  result.total = top_products(
    plan, merge_products(parts.shards, &shard_answer::products),
    merge_products(parts.shards, &shard_answer::previous_products));
  return result;
}

// -- loyal customers ----------------------------------------------------------

struct customer_row {
  loyal_customer customer;
  /// Where he buys; empty in a branch's own list.
  std::string branch_id;
};

void write_customer(row_writer& out, const customer_row& x, size_t index) {
  out.integer("rank", static_cast<int64_t>(index) + 1);
  out.text("user_id", to_string(x.customer.customer_id));
  out.integer("purchases", x.customer.totals.purchases);
  out.money("revenue", x.customer.totals.revenue);
  out.text("last_purchase_at", to_rfc3339(x.customer.totals.last_purchase_at));
  if (out.is_csv() || !x.branch_id.empty())
    out.text("branch_id", x.branch_id);
}

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

sheet make_loyal(const analytics_plan& plan, const answer_parts& parts) {
  sheet result;
  result.columns = {"rank",    "user_id",          "purchases",
                    "revenue", "last_purchase_at", "customer_branch_id"};
  std::vector<customer_row> all;
  for (const auto& x : parts.shards) {
    std::vector<customer_row> rows;
    for (const auto& customer : x->customers) {
      rows.push_back({customer, plan.csv ? x->branch_id : std::string{}});
      all.push_back({customer, x->branch_id});
    }
    result.branches.push_back(
      list_section("customers", std::move(rows), write_customer));
  }
  std::sort(all.begin(), all.end(), [&](const auto& x, const auto& y) {
    return ranks_before(x, y, plan.by_revenue);
  });
  all.resize(std::min(all.size(), plan.limit));
  result.total = list_section("customers", std::move(all), write_customer);
  return result;
}

// -- unique customers ---------------------------------------------------------

struct unique_row {
  calendar_day day;
  int64_t customers = 0;
  int64_t fresh = 0;
};

void write_unique(row_writer& out, const unique_row& x, size_t) {
  out.text("day", to_string(x.day));
  out.integer("customers", x.customers);
  out.integer("new_customers", x.fresh);
  out.integer("returning_customers", x.customers - x.fresh);
}

template <class Row>
std::vector<Row> empty_days(const analytics_plan& plan) {
  std::vector<Row> result;
  for (auto day = plan.from; day <= plan.to; day += one_day{1})
    result.emplace_back().day = day;
  return result;
}

size_t index_of(const analytics_plan& plan, calendar_day day) {
  return static_cast<size_t>((day - plan.from).count());
}

sheet make_unique_customers(const analytics_plan& plan,
                            const answer_parts& parts) {
  sheet result;
  result.columns = {"day", "customers", "new_customers", "returning_customers"};
  auto total = empty_days<unique_row>(plan);
  auto alone = parts.shards.size() == 1;
  for (const auto& x : parts.shards) {
    auto rows = empty_days<unique_row>(plan);
    for (const auto& [day, totals] : x->days) {
      const auto& counts = totals.customers;
      auto i = index_of(plan, day);
      rows[i].customers = counts.customers;
      rows[i].fresh = counts.fresh;
      total[i].customers += alone ? counts.customers : counts.chain;
      total[i].fresh += counts.fresh;
    }
    result.branches.push_back(
      list_section("days", std::move(rows), write_unique));
  }
  if (!parts.subsets.empty())
    for (auto& row : total)
      row.customers = count_on(*parts.subsets.front(), row.day);
  result.total = list_section("days", std::move(total), write_unique);
  return result;
}

// -- one product --------------------------------------------------------------

struct product_day_row {
  calendar_day day;
  product_totals totals;
};

void write_product_totals(row_writer& out, const product_totals& x) {
  out.integer("quantity", x.quantity);
  out.money("revenue", x.revenue);
}

void write_product_day(row_writer& out, const product_day_row& x, size_t) {
  out.text("day", to_string(x.day));
  write_product_totals(out, x.totals);
}

section product_section(std::vector<product_day_row> rows) {
  product_totals sum;
  for (const auto& x : rows) {
    sum.quantity += x.totals.quantity;
    sum.revenue += x.totals.revenue;
  }
  auto result = list_section("days", std::move(rows), write_product_day);
  result.fields = [sum](row_writer& out) { write_product_totals(out, sum); };
  return result;
}

sheet make_product(const analytics_plan& plan, const answer_parts& parts) {
  sheet result;
  result.columns = {"day", "quantity", "revenue"};
  auto total = empty_days<product_day_row>(plan);
  for (const auto& x : parts.shards) {
    auto rows = empty_days<product_day_row>(plan);
    for (const auto& [day, totals] : x->product_days) {
      auto i = index_of(plan, day);
      rows[i].totals = totals;
      total[i].totals.quantity += totals.quantity;
      total[i].totals.revenue += totals.revenue;
    }
    result.branches.push_back(product_section(std::move(rows)));
  }
  result.total = product_section(std::move(total));
  return result;
}

std::string product_name(const answer_parts& parts) {
  product_label latest;
  for (const auto& x : parts.shards)
    if (x->label.outbox_seq > latest.outbox_seq)
      latest = x->label;
  return latest.name;
}

// -- heat map -----------------------------------------------------------------

section heat_section(const heat_map& cells) {
  std::vector<sales_totals> rows{cells.begin(), cells.end()};
  return list_section("cells", std::move(rows),
                      [](row_writer& out, const sales_totals& x, size_t i) {
                        out.integer("weekday",
                                    static_cast<int64_t>(i / 24) + 1);
                        out.integer("hour", static_cast<int64_t>(i % 24));
                        out.money("revenue", x.revenue);
                        out.integer("purchases", x.purchases);
                      });
}

sheet make_heatmap(const analytics_plan&, const answer_parts& parts) {
  sheet result;
  result.columns = {"weekday", "hour", "revenue", "purchases"};
  heat_map total{};
  for (const auto& x : parts.shards) {
    for (size_t i = 0; i < heat_cells; ++i)
      total[i] += (*x->heat)[i];
    result.branches.push_back(heat_section(*x->heat));
  }
  result.total = heat_section(total);
  return result;
}

sheet make_sheet(const analytics_plan& plan, const answer_parts& parts) {
  switch (plan.what) {
    case analytics::summary:
      return make_summary(plan, parts);
    case analytics::revenue:
      return make_revenue(plan, parts);
    case analytics::top_products:
      return make_top_products(plan, parts);
    case analytics::loyal_customers:
      return make_loyal(plan, parts);
    case analytics::unique_customers:
      return make_unique_customers(plan, parts);
    case analytics::product:
      return make_product(plan, parts);
    case analytics::heatmap:
      return make_heatmap(plan, parts);
  }
  return {};
}

// -- how far it reaches -------------------------------------------------------

struct progress {
  timestamp as_of;
  int64_t pending_events = 0;
  std::optional<int64_t> lag_ms;
};

progress progress_of(const shard_answer& x) {
  return {x.as_of, x.pending_events, x.lag_ms};
}

/// The worst of all branches.
progress overall(const answer_parts& parts) {
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

void write_progress(row_writer& out, const progress& x) {
  out.text("as_of", to_rfc3339(x.as_of));
  out.integer("pending_events", x.pending_events);
  out.integer_or_null("lag_ms", x.lag_ms);
}

// -- JSON ---------------------------------------------------------------------

void write_range(row_writer& out, const analytics_plan& plan) {
  out.text("from", to_string(plan.from));
  out.text("to", to_string(plan.to));
}

/// The parameters as they were understood.
void write_parameters(row_writer& out, const analytics_plan& plan,
                      const answer_parts& parts) {
  switch (plan.what) {
    case analytics::summary:
      write_date(out, plan.groups.size() == 1
                        ? std::optional{plan.groups.front().date}
                        : std::nullopt);
      break;
    case analytics::revenue:
      write_range(out, plan);
      out.text("granularity", to_string(plan.step));
      break;
    case analytics::top_products:
      out.text("period", plan.any_days ? "days" : to_string(plan.step));
      out.text("date", to_string(plan.date));
      write_range(out, plan);
      out.text("by", plan.by_revenue ? "revenue" : "quantity");
      break;
    case analytics::loyal_customers:
      out.text("by", plan.by_revenue ? "revenue" : "purchases");
      break;
    case analytics::product:
      out.text("product_id", plan.product_id);
      out.text_or_null("name", product_name(parts));
      write_range(out, plan);
      break;
    case analytics::unique_customers:
    case analytics::heatmap:
      write_range(out, plan);
      break;
  }
}

void write_section(json_writer& out, row_writer& fields, const section& x) {
  if (x.fields)
    x.fields(fields);
  if (x.list.empty())
    return;
  out.key(x.list).begin_array();
  for (size_t i = 0; i < x.rows; ++i) {
    out.begin_object();
    x.row(fields, i);
    out.end_object();
  }
  out.end_array();
}

std::string render_json(const analytics_plan& plan, const answer_parts& parts,
                        const sheet& x) {
  std::string result;
  json_writer out{result};
  const auto& unit = plan.chain->chain()->currency;
  json_row_writer fields{out, unit};
  out.begin_object().field("currency", unit.code);
  write_progress(fields, overall(parts));
  write_parameters(fields, plan, parts);
  out.key("branches").begin_array();
  for (size_t i = 0; !plan.total_only && i < x.branches.size(); ++i) {
    const auto& where = *plan.branches[i].where;
    out.begin_object()
      .field("branch_id", where.id)
      .field("name", where.name)
      .field("time_zone", where.time_zone);
    write_progress(fields, progress_of(*parts.shards[i]));
    write_section(out, fields, x.branches[i]);
    out.end_object();
  }
  out.end_array().key("total").begin_object();
  write_section(out, fields, x.total);
  out.end_object().end_object();
  return result;
}

// -- CSV ----------------------------------------------------------------------

void write_records(csv_writer& out, row_writer& fields,
                   std::string_view branch_id, const section& x) {
  if (x.list.empty()) {
    out.field(branch_id);
    x.fields(fields);
    out.end_record();
    return;
  }
  for (size_t i = 0; i < x.rows; ++i) {
    out.field(branch_id);
    x.row(fields, i);
    out.end_record();
  }
}

std::string render_csv(const analytics_plan& plan, const sheet& x) {
  std::string result;
  csv_writer out{result};
  csv_row_writer fields{out, plan.chain->chain()->currency};
  out.field("branch_id");
  for (auto name : x.columns)
    out.field(name);
  out.end_record();
  for (size_t i = 0; !plan.total_only && i < x.branches.size(); ++i)
    write_records(out, fields, plan.branches[i].where->id, x.branches[i]);
  write_records(out, fields, "*", x.total);
  return result;
}

/// CSV has no place for it: headers tell how far the answer reaches.
void add_progress_headers(http_reply& to, const progress& x) {
  to.headers.emplace_back("As-Of", to_rfc3339(x.as_of));
  to.headers.emplace_back("Pending-Events", std::to_string(x.pending_events));
  to.headers.emplace_back("Lag-Ms",
                          x.lag_ms ? std::to_string(*x.lag_ms) : "unknown");
}

} // namespace

// -- public -------------------------------------------------------------------

std::vector<std::pair<timestamp, std::chrono::seconds>>
local_hours(const branch_clock& clock, calendar_day from, calendar_day to) {
  std::vector<std::pair<timestamp, std::chrono::seconds>> result;
  auto add = [&](timestamp t, std::chrono::seconds offset) {
    if (result.empty() || result.back().first < t)
      result.emplace_back(t, offset);
  };
  auto begin = clock.begin_of(from);
  for (auto day = from; day <= to; day += one_day{1}) {
    auto end = clock.begin_of(day + one_day{1});
    auto offset = clock.utc_offset(begin);
    auto first = clock.at(begin).hour;
    if (offset == clock.utc_offset(end - 1ms)) {
      add(first, clock.utc_offset(first));
      for (auto t = clock.at(begin + 1h).hour; t < end; t += 1h)
        add(t, offset);
    } else {
      // The clock is set on this day; zones shift by quarters of an hour.
      for (auto t = begin; t < end; t += 15min) {
        auto hour = clock.at(t).hour;
        add(hour, clock.utc_offset(hour));
      }
    }
    begin = end;
  }
  return result;
}

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

http_reply
render_answer(const analytics_plan& plan, const answer_parts& parts) {
  assert(parts.shards.size() == plan.branches.size());
  assert(parts.subsets.size() == plan.subsets.size());
  auto x = make_sheet(plan, parts);
  http_reply result;
  if (plan.csv) {
    result.content_type = "text/csv; charset=utf-8; header=present";
    result.body = render_csv(plan, x);
    add_progress_headers(result, overall(parts));
  } else {
    result.body = render_json(plan, parts, x);
  }
  result.headers.emplace_back("Vary", "Accept");
  if (parts.applied_after)
    result.headers.emplace_back("Applied-After",
                                *parts.applied_after ? "true" : "false");
  return result;
}

} // namespace tillstream

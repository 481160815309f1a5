#include "actors/query/plan.hpp"

#include "actors/query/accept.hpp"
#include "actors/query/parameter_reader.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <set>
#include <utility>

namespace tillstream {

namespace {

constexpr auto one_day = std::chrono::days{1};
constexpr auto week = std::chrono::weeks{1};
constexpr auto days_default = std::chrono::days{30};
constexpr int buckets_default = 12;
constexpr int hours_of_short_day = 23;
constexpr int64_t heat_rows = heat_cells;

constexpr std::array<std::pair<std::string_view, analytics>, 7> names{{
  {"summary", analytics::summary},
  {"revenue", analytics::revenue},
  {"top-products", analytics::top_products},
  {"loyal-customers", analytics::loyal_customers},
  {"unique-customers", analytics::unique_customers},
  {"product", analytics::product},
  {"heatmap", analytics::heatmap},
}};

problem bad_parameter(const parameter_reader::complaint& wrong) {
  problem result;
  result.status = 400;
  result.name = "bad-parameter";
  result.detail = fmt::format("{} {}", wrong.first, wrong.second);
  std::string member;
  json_writer{member}.string(wrong.first);
  result.members.emplace_back("parameter", std::move(member));
  return result;
}

// -- branches -----------------------------------------------------------------

planned_branch
make_planned(const branch& where, const directory& chain, timestamp now) {
  planned_branch result;
  result.where = &where;
  result.clock = chain.clock(where.id);
  if (result.clock == nullptr)
    return result;
  auto local = result.clock->at(now);
  result.today = local.day;
  result.minute = local.minute;
  return result;
}

void read_branches(parameter_reader& in, analytics_plan& plan) {
  const auto& chain = *plan.chain->chain();
  auto ids = in.take_all("branch_id");
  if (ids.size() > limits::query_parameters_max)
    in.refuse("branch_id", "is given too often");
  std::set<std::string_view> wanted{ids.begin(), ids.end()};
  for (const auto& id : ids)
    if (chain.find(id) == nullptr)
      in.refuse("branch_id", "names a branch that the chain does not have");
  for (const auto& x : chain.branches)
    if (wanted.empty() || wanted.count(x.id) > 0)
      plan.branches.push_back(make_planned(x, *plan.chain, plan.now));
  plan.whole_chain = plan.branches.size() == chain.branches.size();
}

calendar_day latest_today(const analytics_plan& plan) {
  auto result = plan.branches.front().today;
  for (const auto& x : plan.branches)
    result = std::max(result, x.today);
  return result;
}

// -- ranges -------------------------------------------------------------------

calendar_day default_from(calendar_day to, bucket_size step) {
  switch (step) {
    case bucket_size::hour:
      return to;
    case bucket_size::day:
      return to - (days_default - one_day);
    case bucket_size::week:
      return week_start(to) - week * (buckets_default - 1);
    case bucket_size::month:
      break;
  }
  auto result = month_start(to);
  for (int i = 1; i < buckets_default; ++i)
    result = month_start(result - one_day);
  return result;
}

int64_t day_count(const analytics_plan& plan) {
  return (plan.to - plan.from).count() + 1;
}

/// How many hours the longest series of the range has.
int64_t hour_count(const analytics_plan& plan) {
  // Counting costs as much as answering: not for what is refused anyway.
  auto least = day_count(plan) * hours_of_short_day;
  auto sections = static_cast<int64_t>(plan.branches.size()) + 1;
  if (least > static_cast<int64_t>(limits::buckets_max)
      || least * sections > static_cast<int64_t>(limits::answer_rows_max))
    return least;
  size_t result = 0;
  for (const auto& x : plan.branches)
    if (x.clock != nullptr)
      result
        = std::max(result, local_hours(*x.clock, plan.from, plan.to).size());
  return static_cast<int64_t>(result);
}

/// How many buckets a series of the range has.
int64_t bucket_count(const analytics_plan& plan) {
  if (plan.what == analytics::heatmap || plan.step == bucket_size::day)
    return day_count(plan);
  if (plan.step == bucket_size::hour)
    return hour_count(plan);
  int64_t result = 0;
  for (auto day = bucket_start(plan.from, plan.step); day <= plan.to;
       day = next_bucket(day, plan.step))
    ++result;
  return result;
}

void check_size(parameter_reader& in, const analytics_plan& plan,
                std::string_view name, int64_t rows) {
  auto sections
    = plan.total_only ? 1 : static_cast<int64_t>(plan.branches.size()) + 1;
  if (rows * sections > static_cast<int64_t>(limits::answer_rows_max))
    in.refuse(name, fmt::format("makes the answer longer than {} rows",
                                limits::answer_rows_max));
}

void read_range(parameter_reader& in, analytics_plan& plan) {
  auto from = in.take_day("from");
  auto to = in.take_day("to");
  if (in.wrong() || plan.branches.empty())
    return;
  plan.to = to.value_or(latest_today(plan));
  plan.from = from.value_or(default_from(plan.to, plan.step));
  if (plan.from > plan.to) {
    in.refuse("from", "must not be after to");
    return;
  }
  auto buckets = bucket_count(plan);
  if (buckets > static_cast<int64_t>(limits::buckets_max))
    in.refuse("from", fmt::format("is too early: a series has at most {} "
                                  "buckets",
                                  limits::buckets_max));
  else
    check_size(in, plan, "from",
               plan.what == analytics::heatmap ? heat_rows : buckets);
}

void read_limit(parameter_reader& in, analytics_plan& plan) {
  plan.limit = in.take_limit();
  check_size(in, plan, "limit", static_cast<int64_t>(plan.limit));
}

/// `from` and `to` in the place of a period: compared with as many days before.
void read_days(parameter_reader& in, analytics_plan& plan) {
  auto from = in.take_day("from");
  auto to = in.take_day("to");
  for (auto name : {"period", "date"})
    if (in.take(name))
      in.refuse(name, "cannot be given together with from and to");
  if (in.wrong())
    return;
  if (!from || !to) {
    in.refuse(from ? "to" : "from", "is required beside the other");
    return;
  }
  if (*from > *to) {
    in.refuse("from", "must not be after to");
    return;
  }
  plan.any_days = true;
  plan.date = plan.to = *to;
  plan.from = *from;
  plan.previous_to = plan.from - one_day;
  plan.previous_from = plan.previous_to - (plan.to - plan.from);
}

void read_period(parameter_reader& in, analytics_plan& plan) {
  if (in.has("from") || in.has("to")) {
    read_days(in, plan);
    return;
  }
  plan.step = in.take_size("period", bucket_size::day);
  auto date = in.take_day("date");
  if (in.wrong() || plan.branches.empty())
    return;
  plan.date = date.value_or(latest_today(plan));
  plan.from = bucket_start(plan.date, plan.step);
  plan.to = next_bucket(plan.from, plan.step) - one_day;
  plan.previous_to = plan.from - one_day;
  plan.previous_from = bucket_start(plan.previous_to, plan.step);
}

void read_date(parameter_reader& in, analytics_plan& plan) {
  auto date = in.take_day("date");
  for (auto& x : plan.branches) {
    x.date = date.value_or(x.today);
    if (x.date == x.today)
      x.minute_max = x.minute;
  }
}

void read_product_id(parameter_reader& in, analytics_plan& plan) {
  auto id = in.take("product_id");
  if (!id || id->empty()) {
    in.refuse("product_id", "is required");
    return;
  }
  if (count_code_points(*id) > limits::id_code_points_max
      || has_null_character(*id))
    in.refuse("product_id", fmt::format("must have 1 to {} characters",
                                        limits::id_code_points_max));
  plan.product_id = std::move(*id);
}

void read_after(parameter_reader& in, analytics_plan& plan) {
  auto text = in.take("after");
  if (!text)
    return;
  plan.after = parse_uuid(*text);
  if (!plan.after)
    in.refuse("after", "must be an event id, which is a UUID");
}

void read_parameters(parameter_reader& in, analytics_plan& plan) {
  read_branches(in, plan);
  plan.total_only = in.take_choice("detail", "total", "branches", false);
  switch (plan.what) {
    case analytics::summary:
      read_date(in, plan);
      break;
    case analytics::revenue:
      plan.step = in.take_size("granularity", bucket_size::hour);
      read_range(in, plan);
      break;
    case analytics::top_products:
      read_period(in, plan);
      plan.by_revenue = in.take_choice("by", "revenue", "quantity", true);
      read_limit(in, plan);
      break;
    case analytics::loyal_customers:
      plan.by_revenue = in.take_choice("by", "revenue", "purchases", false);
      read_limit(in, plan);
      break;
    case analytics::product:
      read_product_id(in, plan);
      read_range(in, plan);
      break;
    case analytics::unique_customers:
    case analytics::heatmap:
      read_range(in, plan);
      break;
  }
  read_after(in, plan);
  in.finish();
}

// -- distinct customers -------------------------------------------------------

/// Asks the tables for the customers of some branches together.
size_t add_subset(analytics_plan& plan, const std::vector<size_t>& branches,
                  calendar_day from, calendar_day to, bool up_to_minute) {
  slice_request result;
  result.what = slice_request::kind::subset_customers;
  result.from = from;
  result.to = to;
  for (auto i : branches) {
    const auto& x = plan.branches[i];
    result.branch_ids.push_back(x.where->id);
    if (up_to_minute)
      result.until_minutes.push_back(x.minute_max);
  }
  plan.subsets.push_back(std::move(result));
  return plan.subsets.size() - 1;
}

bool is_whole_chain(const analytics_plan& plan, const day_group& group) {
  return plan.whole_chain && group.branches.size() == plan.branches.size();
}

/// Contributions to the chain's set add up over the whole chain. Up to a
/// minute they do so only if it is the same minute everywhere: a customer's
/// first visit may be behind the minute in one branch, a later one before it
/// in another.
void plan_subsets(analytics_plan& plan, day_group& group) {
  if (group.branches.size() == 1)
    return;
  auto whole = is_whole_chain(plan, group);
  auto minute = plan.branches[group.branches.front()].minute_max;
  auto same_minute
    = std::all_of(group.branches.begin(), group.branches.end(), [&](size_t i) {
        return plan.branches[i].minute_max == minute;
      });
  if (!whole)
    group.subset
      = add_subset(plan, group.branches, group.date, group.date, false);
  if (!whole || !same_minute)
    group.previous_subset = add_subset(plan, group.branches, group.date - week,
                                       group.date - week, true);
}

void plan_summary(analytics_plan& plan) {
  std::map<calendar_day, day_group> groups;
  for (size_t i = 0; i < plan.branches.size(); ++i) {
    auto& group = groups[plan.branches[i].date];
    group.date = plan.branches[i].date;
    group.branches.push_back(i);
  }
  for (auto& [date, group] : groups) {
    plan_subsets(plan, group);
    plan.groups.push_back(std::move(group));
  }
}

void plan_unique(analytics_plan& plan) {
  if (plan.branches.size() == 1 || plan.whole_chain)
    return;
  std::vector<size_t> all(plan.branches.size());
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = i;
  add_subset(plan, all, plan.from, plan.to, false);
}

bool has_clocks(const analytics_plan& plan) {
  return std::all_of(plan.branches.begin(), plan.branches.end(),
                     [](const auto& x) { return x.clock != nullptr; });
}

} // namespace

// -- what others need ---------------------------------------------------------

std::optional<analytics> find_analytics(std::string_view name) {
  for (auto [known, what] : names)
    if (known == name)
      return what;
  return std::nullopt;
}

std::variant<analytics_plan, problem>
plan_query(const analytics_query& query, directory_ptr chain, timestamp now) {
  analytics_plan plan;
  auto what = find_analytics(query.name);
  if (!what)
    return problem{404, "not-found", "there is no such question", {}, {}};
  plan.what = *what;
  plan.chain = std::move(chain);
  plan.now = now;
  parameter_reader in{*query.request};
  read_parameters(in, plan);
  if (in.wrong())
    return bad_parameter(*in.wrong());
  if (plan.branches.empty() || !has_clocks(plan))
    return problem{503,
                   "not-ready",
                   "the branches are not known yet",
                   {},
                   {{"Retry-After", "1"}}};
  auto accept = query.request->header("accept");
  plan.csv = accept && prefers_csv(*accept);
  if (plan.what == analytics::summary)
    plan_summary(plan);
  if (plan.what == analytics::unique_customers)
    plan_unique(plan);
  return plan;
}

shard_query_ptr query_for(const analytics_plan& plan, size_t index) {
  using kind = shard_query::kind;
  auto result = std::make_shared<shard_query>();
  result->from = plan.from;
  result->to = plan.to;
  switch (plan.what) {
    case analytics::summary: {
      const auto& x = plan.branches[index];
      result->what = kind::summary;
      result->from = x.date;
      result->previous_from = x.date - week;
      result->minute_max = x.minute_max;
      break;
    }
    case analytics::revenue:
      result->what = plan.step == bucket_size::hour ? kind::hours : kind::days;
      break;
    case analytics::top_products:
      result->what = kind::products;
      result->previous_from = plan.previous_from;
      result->previous_to = plan.previous_to;
      break;
    case analytics::loyal_customers:
      result->what = kind::loyal;
      result->by_revenue = plan.by_revenue;
      result->limit = plan.limit;
      break;
    case analytics::unique_customers:
      result->what = kind::days;
      break;
    case analytics::product:
      result->what = kind::product_days;
      result->product_id = plan.product_id;
      break;
    case analytics::heatmap:
      result->what = kind::heat;
      break;
  }
  return result;
}

std::vector<shard_query_ptr> make_shard_queries(const analytics_plan& plan) {
  std::vector<shard_query_ptr> result;
  auto differ = plan.what == analytics::summary;
  for (size_t i = 0; i < plan.branches.size(); ++i)
    result.push_back(i == 0 || differ ? query_for(plan, i) : result.front());
  return result;
}

} // namespace tillstream

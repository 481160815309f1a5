#include "actors/aggregation/branch_cache.hpp"

#include "messages/core/limits.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <limits>
#include <tuple>
#include <utility>

namespace tillstream {

namespace {

using one_day = std::chrono::duration<int64_t, std::ratio<86400>>;

/// Days that one slice of hours or of a product spans at most: two years of
/// hours are 18,000 rows, a few milliseconds of the database.
constexpr auto load_span_max = one_day{2 * 366};

void accumulate(product_totals& x, const product_totals& y) {
  x.quantity += y.quantity;
  x.revenue += y.revenue;
}

bool before(const hour_sales& x, const std::pair<calendar_day, timestamp>& y) {
  return std::tie(x.day, x.hour) < std::tie(y.first, y.second);
}

bool has_id_before(const product_sums& x, const std::string& id) {
  return x.product_id < id;
}

// -- rankings of customers ----------------------------------------------------

bool more_purchases(const loyal_customer& x, const loyal_customer& y) {
  return std::tie(y.totals.purchases, y.totals.revenue, x.customer_id)
         < std::tie(x.totals.purchases, x.totals.revenue, y.customer_id);
}

bool more_revenue(const loyal_customer& x, const loyal_customer& y) {
  return std::tie(y.totals.revenue, y.totals.purchases, x.customer_id)
         < std::tie(x.totals.revenue, x.totals.purchases, y.customer_id);
}

/// Moves a customer up to where his new totals belong. Totals never shrink, so
/// the best `rank_max` are among the old best and those who just bought.
template <class Order>
void rerank(std::vector<loyal_customer>& list, const loyal_customer& x,
            Order goes_before) {
  bool is_full = list.size() >= limits::rank_max;
  if (is_full && goes_before(list.back(), x))
    return;
  auto is_same = [&](const auto& y) { return y.customer_id == x.customer_id; };
  auto old = std::find_if(list.begin(), list.end(), is_same);
  if (old != list.end())
    list.erase(old);
  else if (is_full)
    list.pop_back();
  list.insert(std::lower_bound(list.begin(), list.end(), x, goes_before), x);
}

/// The smallest span that holds all units (months, years) of `from`..`to` for
/// which `is_missing` says so, cut to `load_span_max`.
template <class Next, class Missing>
std::optional<std::pair<calendar_day, calendar_day>>
missing_span(calendar_day first, calendar_day to, Next next,
             Missing is_missing) {
  std::optional<std::pair<calendar_day, calendar_day>> result;
  for (auto unit = first; unit <= to; unit = next(unit)) {
    auto last = next(unit) - one_day{1};
    if (result && last - result->first >= load_span_max)
      break;
    if (!is_missing(unit, last))
      continue;
    if (!result)
      result.emplace(unit, last);
    result->second = last;
  }
  return result;
}

} // namespace

// -- construction and bookkeeping ---------------------------------------------

calendar_day branch_cache::year_start(calendar_day day) {
  auto date = std::chrono::year_month_day{day};
  return std::chrono::sys_days{date.year() / std::chrono::January / 1};
}

calendar_day branch_cache::next_year(calendar_day first) {
  return year_start(first + one_day{366});
}

branch_cache::branch_cache(std::string branch_id, const branch_clock& where,
                           size_t rows_max)
  : branch_id_(std::move(branch_id)),
    clock_(where),
    rows_max_(rows_max) {
  // nop
}

void branch_cache::reset(const branch_state& state) {
  cursor_ = state.cursor;
  days_ = state.days;
  for_each_cache([](auto& xs) { xs.clear(); });
}

template <class F>
void branch_cache::for_each_cache(F f) {
  f(hours_);
  f(products_);
  f(product_days_);
  f(minutes_);
  f(loyal_);
}

template <class F>
void branch_cache::for_each_cache(F f) const {
  f(hours_);
  f(products_);
  f(product_days_);
  f(minutes_);
  f(loyal_);
}

size_t branch_cache::row_count(const rankings& x) {
  return x.by_purchases.size() + x.by_revenue.size();
}

size_t branch_cache::row_count(const products_of_period& x) {
  return x.rows->size();
}

size_t branch_cache::row_count(const product_of_year& x) {
  return x.days.size();
}

template <class T>
size_t branch_cache::row_count(const T& xs) {
  return xs.size();
}

size_t branch_cache::rows() const {
  size_t result = 0;
  for_each_cache([&](const auto& xs) {
    for (const auto& [key, x] : xs)
      result += row_count(x.value) + 1;
  });
  return result;
}

uint64_t branch_cache::oldest_use() const {
  auto result = std::numeric_limits<uint64_t>::max();
  for_each_cache([&](const auto& xs) {
    for (const auto& [key, x] : xs)
      result = std::min(result, x.used);
  });
  return result;
}

void branch_cache::drop_unused_since(uint64_t use) {
  for_each_cache([&](auto& xs) {
    std::erase_if(xs, [&](const auto& x) { return x.second.used <= use; });
  });
}

void branch_cache::evict() {
  // What the query at hand needs stays, whatever it takes.
  while (rows() > rows_max_) {
    auto oldest = oldest_use();
    if (oldest >= now_)
      return;
    drop_unused_since(oldest);
  }
}

void branch_cache::drop_idle() {
  drop_unused_since(idle_mark_);
  idle_mark_ = now_;
}

bool branch_cache::has_sales(calendar_day from, calendar_day to) const {
  auto i = days_.lower_bound(from);
  return i != days_.end() && i->first <= to;
}

template <class Key, class T>
bool branch_cache::touch(cache<Key, T>& xs, const Key& key) {
  auto i = xs.find(key);
  if (i == xs.end())
    return false;
  i->second.used = now_;
  return true;
}

// -- what must be loaded ------------------------------------------------------

std::optional<slice_request> branch_cache::missing(const shard_query& query) {
  using kind = shard_query::kind;
  ++now_;
  switch (query.what) {
    case kind::status:
    case kind::days:
      return std::nullopt;
    case kind::summary:
      return missing_minutes(query);
    case kind::hours:
    case kind::heat:
      return missing_hours(query);
    case kind::products:
      return missing_products(query);
    case kind::product_days:
      return missing_product_days(query);
    case kind::loyal:
      return missing_loyal();
  }
  return std::nullopt;
}

slice_request branch_cache::request(slice_request::kind what, calendar_day from,
                                    calendar_day to) const {
  slice_request result;
  result.what = what;
  result.branch_id = branch_id_;
  result.from = from;
  result.to = to;
  result.apply_no = cursor_.apply_no;
  return result;
}

std::optional<branch_cache::period>
branch_cache::clamp_to_sales(calendar_day from, calendar_day to) const {
  if (!has_sales(from, to))
    return std::nullopt;
  return period{std::max(from, days_.begin()->first),
                std::min(to, days_.rbegin()->first)};
}

std::optional<slice_request>
branch_cache::missing_hours(const shard_query& query) {
  auto days = clamp_to_sales(query.from, query.to);
  if (!days)
    return std::nullopt;
  auto span
    = missing_span(month_start(days->first), days->second, next_month,
                   [this](calendar_day month, calendar_day last) {
                     return !touch(hours_, month) && has_sales(month, last);
                   });
  if (!span)
    return std::nullopt;
  return request(slice_request::kind::hours, span->first, span->second);
}

std::optional<slice_request>
branch_cache::missing_products(const shard_query& query) {
  std::optional<slice_request> result;
  for (auto [from, to] : {period{query.from, query.to},
                          period{query.previous_from, query.previous_to}})
    if (!touch(products_, period{from, to}) && has_sales(from, to))
      result = request(slice_request::kind::products, from, to);
  return result;
}

std::optional<slice_request>
branch_cache::missing_product_days(const shard_query& query) {
  auto days = clamp_to_sales(query.from, query.to);
  if (!days)
    return std::nullopt;
  const auto& id = query.product_id;
  auto span
    = missing_span(year_start(days->first), days->second, next_year,
                   [&](calendar_day year, calendar_day last) {
                     return !touch(product_days_, product_year{id, year})
                            && has_sales(year, last);
                   });
  if (!span)
    return std::nullopt;
  auto result
    = request(slice_request::kind::product_days, span->first, span->second);
  result.product_id = id;
  return result;
}

std::optional<slice_request>
branch_cache::missing_minutes(const shard_query& query) {
  auto day = query.previous_from;
  if (query.minute_max >= last_minute || touch(minutes_, day)
      || !has_sales(day, day))
    return std::nullopt;
  return request(slice_request::kind::minutes, day, day);
}

std::optional<slice_request> branch_cache::missing_loyal() {
  if (touch(loyal_, 0) || days_.empty())
    return std::nullopt;
  return request(slice_request::kind::loyal, {}, {});
}

// -- taking slices ------------------------------------------------------------

bool branch_cache::add(const slice_request& request, const slice& loaded) {
  using kind = slice_request::kind;
  if (loaded.apply_no != cursor_.apply_no)
    return false;
  switch (request.what) {
    case kind::hours:
      add_hours(request, loaded);
      break;
    case kind::products:
      add_products(request, loaded);
      break;
    case kind::product_days:
      add_product_days(request, loaded);
      break;
    case kind::minutes:
      minutes_[request.from] = {loaded.minutes, now_};
      break;
    case kind::loyal:
      loyal_[0] = {{loaded.by_purchases, loaded.by_revenue}, now_};
      break;
    case kind::known_events:
    case kind::subset_customers:
      return true; // Not part of the cache.
  }
  evict();
  return true;
}

branch_cache::hour_row
branch_cache::make_hour(const std::pair<calendar_day, timestamp>& when) const {
  auto local = when.second + clock_.utc_offset(when.second);
  auto midnight = std::chrono::floor<one_day>(local);
  auto hour = std::chrono::floor<std::chrono::hours>(local - midnight).count();
  return {{when.first, when.second, {}},
          heat_cell(iso_weekday(when.first), static_cast<int>(hour))};
}

void branch_cache::add_hours(const slice_request& request,
                             const slice& loaded) {
  for (auto month = request.from; month <= request.to; month
                                                       = next_month(month))
    hours_[month] = {{}, now_};
  for (const auto& [when, sales] : loaded.hours) {
    auto i = hours_.find(month_start(when.first));
    if (i == hours_.end())
      continue;
    auto row = make_hour(when);
    row.sales.sales = sales;
    i->second.value.push_back(row);
  }
}

void branch_cache::add_products(const slice_request& request,
                                const slice& loaded) {
  auto rows = std::make_shared<std::vector<product_sums>>();
  rows->reserve(loaded.products.size());
  for (const auto& [id, totals] : loaded.products) {
    auto label = loaded.labels.find(id);
    rows->push_back(
      {id, label != loaded.labels.end() ? label->second : product_label{},
       totals});
  }
  products_[{request.from, request.to}] = {{std::move(rows), false}, now_};
}

void branch_cache::add_product_days(const slice_request& request,
                                    const slice& loaded) {
  auto label = loaded.labels.find(request.product_id);
  for (auto year = request.from; year <= request.to; year = next_year(year)) {
    auto& x = product_days_[{request.product_id, year}];
    x = {{}, now_};
    if (label != loaded.labels.end())
      x.value.label = label->second;
  }
  for (const auto& [day, totals] : loaded.product_days) {
    auto i = product_days_.find({request.product_id, year_start(day)});
    if (i != product_days_.end())
      i->second.value.days.emplace(day, totals);
  }
}

// -- following a commit -------------------------------------------------------

void branch_cache::apply(const apply_outcome& outcome) {
  auto seq_before = cursor_.outbox_seq;
  cursor_ = outcome.cursor;
  apply_days(outcome);
  apply_hours(outcome.added);
  apply_products(outcome.added, seq_before);
  apply_product_days(outcome.added);
  apply_minutes(outcome);
  apply_loyal(outcome);
}

void branch_cache::apply_days(const apply_outcome& outcome) {
  for (const auto& [day, sales] : outcome.added.days)
    days_[day].sales += sales;
  for (const auto& [day, counts] : outcome.customers)
    days_[day].customers += counts;
}

void branch_cache::apply_hours(const branch_delta& added) {
  for (const auto& [when, sales] : added.hours) {
    auto slice = hours_.find(month_start(when.first));
    if (slice == hours_.end())
      continue;
    auto& rows = slice->second.value;
    auto i = std::lower_bound(
      rows.begin(), rows.end(), when,
      [](const hour_row& x, const auto& y) { return before(x.sales, y); });
    if (i == rows.end()
        || before(make_hour(when).sales, {i->sales.day, i->sales.hour}))
      i = rows.insert(i, make_hour(when));
    i->sales.sales += sales;
  }
}

std::vector<product_sums>& branch_cache::writable(products_of_period& x) {
  if (x.is_shared) {
    x.rows = std::make_shared<std::vector<product_sums>>(*x.rows);
    x.is_shared = false;
  }
  return *x.rows;
}

bool branch_cache::apply_to_period(products_of_period& x, const period& days,
                                   const branch_delta& added,
                                   int64_t seq_before) {
  auto i = added.products.lower_bound({days.first, std::string{}});
  for (; i != added.products.end() && i->first.first <= days.second; ++i) {
    const auto& id = i->first.second;
    auto& rows = writable(x);
    auto row = std::lower_bound(rows.begin(), rows.end(), id, has_id_before);
    auto is_new = row == rows.end() || row->product_id != id;
    if (is_new)
      row = rows.insert(row, {id, {}, {}});
    accumulate(row->totals, i->second);
    auto label = added.labels.find(id);
    // The table may have a label that this period has not seen: one of an
    // earlier sale, or a later one if this sale comes late.
    if (is_new
        && (label == added.labels.end()
            || label->second.outbox_seq <= seq_before))
      return false;
  }
  return true;
}

void branch_cache::relabel(products_of_period& x, const branch_delta& added) {
  for (const auto& [id, label] : added.labels) {
    const auto& rows = *x.rows;
    auto row = std::lower_bound(rows.begin(), rows.end(), id, has_id_before);
    if (row == rows.end() || row->product_id != id
        || row->label.outbox_seq >= label.outbox_seq)
      continue;
    auto index = static_cast<size_t>(row - rows.begin());
    writable(x)[index].label = label;
  }
}

void branch_cache::apply_products(const branch_delta& added,
                                  int64_t seq_before) {
  for (auto i = products_.begin(); i != products_.end();) {
    auto& rows = i->second.value;
    if (apply_to_period(rows, i->first, added, seq_before)) {
      relabel(rows, added);
      ++i;
    } else {
      i = products_.erase(i);
    }
  }
}

void branch_cache::apply_product_days(const branch_delta& added) {
  if (product_days_.empty())
    return;
  for (const auto& [key, totals] : added.products) {
    auto i = product_days_.find({key.second, year_start(key.first)});
    if (i != product_days_.end())
      accumulate(i->second.value.days[key.first], totals);
  }
  for (auto& [key, x] : product_days_) {
    auto label = added.labels.find(key.first);
    if (label != added.labels.end()
        && label->second.outbox_seq > x.value.label.outbox_seq)
      x.value.label = label->second;
  }
}

void branch_cache::apply_minutes(const apply_outcome& outcome) {
  for (auto& [day, x] : minutes_) {
    auto is_of_day = [d = day](const auto& i) { return i->first.first == d; };
    const auto& sales = outcome.added.minutes;
    for (auto i = sales.lower_bound({day, 0}); i != sales.end() && is_of_day(i);
         ++i)
      x.value[i->first.second].sales += i->second;
    const auto& visits = outcome.visits;
    for (auto i = visits.lower_bound({day, 0});
         i != visits.end() && is_of_day(i); ++i) {
      auto& minute = x.value[i->first.second];
      minute.customers += i->second.first;
      minute.chain += i->second.second;
    }
  }
}

void branch_cache::apply_loyal(const apply_outcome& outcome) {
  for (auto& [key, x] : loyal_) {
    for (const auto& [id, totals] : outcome.loyal) {
      rerank(x.value.by_purchases, {id, totals}, more_purchases);
      rerank(x.value.by_revenue, {id, totals}, more_revenue);
    }
  }
}

} // namespace tillstream

#include "storage/postgres/apply_transaction.hpp"

#include "messages/codec/event_codec.hpp"
#include "messages/core/limits.hpp"
#include "storage/postgres/apply_statements.hpp"
#include "storage/postgres/transaction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <set>
#include <stdexcept>
#include <utility>

namespace tillstream::storage::postgres {

namespace {

// -- bounds -------------------------------------------------------------------

/// Messages of one quarantine statement: each may have a quarter of a megabyte.
constexpr size_t quarantine_rows_max = 16;

/// Bytes of a message kept in the quarantine; no sale of ours is larger.
constexpr size_t raw_bytes_max = 256 * 1024;

/// Characters of a reason.
constexpr size_t reason_max = 500;

/// How far an event's id may be ahead of the database's clock. Ids come from
/// a database's clock too, so anything beyond is none of ours.
constexpr auto id_ahead_max = std::chrono::hours{24};

// -- columns ------------------------------------------------------------------

struct sales_columns {
  array_of<int64_t> revenue;
  array_of<int64_t> items;
  array_of<int64_t> purchases;

  void add(const sales_totals& x) {
    revenue.add(x.revenue);
    items.add(x.items);
    purchases.add(x.purchases);
  }
};

bytes_view to_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// A reason may quote what came from outside.
std::string printable(std::string_view text) {
  std::string result{text.substr(0, reason_max)};
  std::ranges::replace_if(
    result, [](char c) { return c < ' ' || c > '~'; }, '?');
  return result;
}

branch_cursor read_cursor(const row_view& row) {
  branch_cursor result;
  result.stream_incarnation = as_text(row["stream_incarnation"]);
  result.stream_seq = static_cast<uint64_t>(as_int(row["stream_seq"]));
  result.outbox_seq = as_int(row["outbox_seq"]);
  result.apply_no = as_int(row["apply_no"]);
  result.recorded_at = as_timestamp(row["recorded_ms"]);
  return result;
}

template <class Map>
auto value_or_zero(const Map& from, const typename Map::key_type& key) {
  auto i = from.find(key);
  return i == from.end() ? typename Map::mapped_type{} : i->second;
}

} // namespace

/// Messages to be set aside.
struct apply_transaction::quarantine_columns {
  text_array incarnations;
  array_of<int64_t> seqs;
  text_array branches, subjects, reasons;
  array_of<bytes_view> raws;
  size_t count = 0;

  void add(const apply_request& of, const stream_event& what,
           const std::string& reason) {
    auto raw = what.raw ? std::string_view{*what.raw} : std::string_view{};
    incarnations.add(of.stream_incarnation);
    seqs.add(static_cast<int64_t>(what.stream_seq));
    branches.add(of.branch_id);
    subjects.add(event_subject(of.branch_id));
    reasons.add(printable(reason));
    raws.add(to_bytes(raw.substr(0, raw_bytes_max)));
    ++count;
  }

  void write(pipeline& to) const {
    to.add(write_quarantine_sql, incarnations, seqs, branches, subjects,
           reasons, raws);
  }
};

// -- the course of it ---------------------------------------------------------

apply_transaction::apply_transaction(
  connection& on, const std::vector<apply_request_ptr>& requests,
  std::optional<log_range>& range)
  : db_(on),
    outcomes_(requests.size()),
    range_(range) {
  lanes_.resize(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    lanes_[i].request = requests[i].get();
    lanes_[i].index = i;
  }
  auto branch_of
    = [](const lane& x) -> const std::string& { return x.request->branch_id; };
  std::ranges::sort(lanes_, {}, branch_of);
  assert(std::ranges::adjacent_find(lanes_, {}, branch_of) == lanes_.end());
}

bool apply_transaction::run(look_up mode) {
  pipeline first{db_};
  transaction tx{db_, first};
  lock(first);
  if (lanes_.empty())
    return true;
  if (!range_)
    read_range();
  sort_events(mode);
  count_events();
  if (!write_rows())
    return false;
  pipeline last{db_};
  write_days(last);
  write_minutes(last);
  write_cursors(last);
  tx.commit(last);
  return true;
}

bool apply_transaction::write_rows() {
  pipeline to{db_};
  auto logged = log_events(to);
  write_hours(to);
  write_products(to);
  write_labels(to);
  auto loyal = write_loyalty(to);
  auto visits = write_customers(to);
  write_quarantine(to);
  auto chain = write_chain_customers(to);
  auto written = to.run();
  if (written[logged].affected_rows() != fresh_count_)
    return false;
  read_loyalty(written[loyal]);
  read_customers(written[visits]);
  read_chain_customers(written[chain]);
  return true;
}

std::vector<apply_outcome> apply_transaction::take_outcomes() {
  for (auto& x : lanes_)
    outcomes_[x.index] = std::move(x.outcome);
  return std::move(outcomes_);
}

// -- who may write ------------------------------------------------------------

void apply_transaction::lock(pipeline& first) {
  text_array branches;
  for (const auto& x : lanes_)
    branches.add(x.request->branch_id);
  auto owners = first.add(lock_owners_sql, branches);
  auto cursors = first.add(lock_cursors_sql, branches, limits::minute_days);
  auto locked = first.run();
  keep_owned(locked[owners]);
  keep_unmoved(locked[cursors]);
}

void apply_transaction::keep_owned(const rows& owners) {
  std::map<std::string, int64_t> epochs;
  for (const auto& row : owners)
    epochs.emplace(as_text(row[0]), as_int(row[1]));
  std::erase_if(lanes_, [&](const lane& x) {
    auto i = epochs.find(x.request->branch_id);
    return i == epochs.end() || i->second != x.request->epoch;
  });
}

void apply_transaction::keep_unmoved(const rows& locked) {
  std::map<std::string, branch_cursor> cursors;
  for (const auto& row : locked) {
    cursors.emplace(as_text(row["branch_id"]), read_cursor(row));
    context_.minutes_from = as_day(row["minutes_from"]);
    context_.now = as_timestamp(row["now_ms"]);
  }
  std::erase_if(lanes_, [&](const lane& x) {
    auto i = cursors.find(x.request->branch_id);
    if (i != cursors.end() && i->second == x.request->before)
      return false;
    outcomes_[x.index].moved = true;
    return true;
  });
  for (auto& x : lanes_)
    x.outcome.owned = true;
}

void apply_transaction::read_range() {
  auto row = db_.exec(read_range_sql)[0];
  if (row[0].is_null() || row[1].is_null())
    throw std::runtime_error("the event log has no partitions: run "
                             "`tillstream migrate`");
  range_ = log_range{as_uuid(row[0]), as_uuid(row[1])};
  range_is_fresh_ = true;
}

// -- which events are new -----------------------------------------------------

void apply_transaction::sort_events(look_up mode) {
  std::unordered_set<uuid> known;
  if (mode == look_up::yes)
    known = known_events();
  // One set for all lanes: an event id that comes under two branches is
  // applied once.
  std::unordered_set<uuid> seen;
  for (auto& x : lanes_)
    for (const auto& event : x.request->events)
      sort_event(x, event, known, seen);
}

std::unordered_set<uuid> apply_transaction::known_events() {
  array_of<uuid> ids;
  for (const auto& x : lanes_)
    for (const auto& event : x.request->events)
      if (event.reason.empty())
        ids.add(event.event.event_id);
  std::unordered_set<uuid> result;
  for (const auto& row : db_.exec(known_events_sql, ids))
    result.insert(as_uuid(row[0]));
  return result;
}

void apply_transaction::sort_event(lane& to, const stream_event& what,
                                   const std::unordered_set<uuid>& known,
                                   std::unordered_set<uuid>& seen) {
  auto reason = what.reason.empty() ? why_not(what.event) : what.reason;
  if (!reason.empty()) {
    to.refused.emplace_back(&what, std::move(reason));
    to.outcome.quarantined += 1;
  } else if (known.contains(what.event.event_id)
             || !seen.insert(what.event.event_id).second) {
    to.outcome.duplicates += 1;
  } else {
    to.fresh.push_back(&what.event);
    to.fresh_seqs.push_back(what.stream_seq);
  }
}

/// Below the log's floor nobody can tell whether the event was applied before.
std::string apply_transaction::why_not(const purchase_event& event) {
  auto outside
    = event.event_id < range_->floor || event.event_id >= range_->ceiling;
  if (outside && !range_is_fresh_)
    read_range();
  if (event.event_id < range_->floor)
    return "older than the event log, which begins at "
           + to_string(range_->floor);
  if (event.event_id >= uuid7_floor(context_.now + id_ahead_max))
    return "the event id is not of the past";
  if (event.event_id >= range_->ceiling)
    throw std::runtime_error("the event log has no partition for "
                             + to_string(event.event_id)
                             + ": run `tillstream migrate`");
  return {};
}

size_t apply_transaction::log_events(pipeline& to) {
  text_array branches;
  array_of<uuid> ids, purchases;
  array_of<int64_t> numbers, stream_seqs, outbox_seqs;
  array_of<calendar_day> days;
  array_of<timestamp> recorded;
  for (const auto& x : lanes_) {
    for (size_t i = 0; i < x.fresh.size(); ++i) {
      const auto& event = *x.fresh[i];
      branches.add(x.request->branch_id);
      ids.add(event.event_id);
      numbers.add(x.request->before.apply_no + static_cast<int64_t>(i) + 1);
      stream_seqs.add(static_cast<int64_t>(x.fresh_seqs[i]));
      outbox_seqs.add(event.outbox_seq);
      purchases.add(event.purchase_id);
      days.add(event.when.day);
      recorded.add(event.recorded_at);
    }
    fresh_count_ += x.fresh.size();
  }
  return to.add(log_events_sql, branches, ids, numbers, stream_seqs,
                outbox_seqs, purchases, days, recorded);
}

void apply_transaction::count_events() {
  for (auto& x : lanes_) {
    auto& out = x.outcome;
    for (const auto* event : x.fresh) {
      accumulate(out.added, *event);
      out.applied.push_back(event->event_id);
    }
    for (const auto& [day, n] : out.added.fresh)
      out.customers[day].fresh += n;
    move_cursor(x);
  }
}

void apply_transaction::move_cursor(lane& of) const {
  const auto& request = *of.request;
  auto& cursor = of.outcome.cursor;
  cursor = request.before;
  if (cursor.stream_incarnation != request.stream_incarnation) {
    cursor.stream_incarnation = request.stream_incarnation;
    cursor.stream_seq = 0;
  }
  for (const auto& x : request.events)
    cursor.stream_seq = std::max(cursor.stream_seq, x.stream_seq);
  for (const auto* x : of.fresh) {
    cursor.outbox_seq = std::max(cursor.outbox_seq, x->outbox_seq);
    cursor.recorded_at = std::max(cursor.recorded_at, x->recorded_at);
  }
  cursor.apply_no += static_cast<int64_t>(of.fresh.size());
}

// -- rows of the own branches -------------------------------------------------

void apply_transaction::write_hours(pipeline& to) {
  text_array branches;
  array_of<calendar_day> days;
  array_of<timestamp> hours;
  sales_columns sales;
  for (const auto& x : lanes_) {
    for (const auto& [key, totals] : x.outcome.added.hours) {
      branches.add(x.request->branch_id);
      days.add(key.first);
      hours.add(key.second);
      sales.add(totals);
    }
  }
  to.add(write_hours_sql, branches, days, hours, sales.revenue, sales.items,
         sales.purchases);
}

void apply_transaction::write_products(pipeline& to) {
  text_array branches, products;
  array_of<calendar_day> days;
  array_of<int64_t> quantities, revenues;
  for (const auto& x : lanes_) {
    for (const auto& [key, totals] : x.outcome.added.products) {
      branches.add(x.request->branch_id);
      days.add(key.first);
      products.add(key.second);
      quantities.add(totals.quantity);
      revenues.add(totals.revenue);
    }
  }
  to.add(write_products_sql, branches, days, products, quantities, revenues);
}

void apply_transaction::write_labels(pipeline& to) {
  text_array branches, products, names, categories;
  array_of<int64_t> seqs;
  for (const auto& x : lanes_) {
    for (const auto& [product, label] : x.outcome.added.labels) {
      branches.add(x.request->branch_id);
      products.add(product);
      names.add(label.name);
      categories.add(label.category);
      seqs.add(label.outbox_seq);
    }
  }
  to.add(write_labels_sql, branches, products, names, categories, seqs);
}

size_t apply_transaction::write_loyalty(pipeline& to) {
  text_array branches;
  array_of<uuid> customers;
  array_of<int64_t> purchases, revenues;
  array_of<timestamp> last;
  for (const auto& x : lanes_) {
    for (const auto& [customer, totals] : x.outcome.added.customers) {
      branches.add(x.request->branch_id);
      customers.add(customer);
      purchases.add(totals.purchases);
      revenues.add(totals.revenue);
      last.add(totals.last_purchase_at);
    }
  }
  return to.add(write_loyalty_sql, branches, customers, purchases, revenues,
                last);
}

void apply_transaction::read_loyalty(const rows& from) {
  for (const auto& row : from)
    lane_of(row[0].text())
      .outcome.loyal.emplace(
        as_uuid(row[1]),
        loyalty{as_int(row[2]), as_int(row[3]), as_timestamp(row[4])});
}

apply_transaction::lane&
apply_transaction::lane_of(std::string_view branch_id) {
  auto i = std::ranges::lower_bound(
    lanes_, branch_id, {},
    [](const lane& x) -> std::string_view { return x.request->branch_id; });
  assert(i != lanes_.end() && i->request->branch_id == branch_id);
  return *i;
}

// -- distinct customers -------------------------------------------------------

size_t apply_transaction::write_customers(pipeline& to) {
  text_array branches;
  array_of<calendar_day> days;
  array_of<uuid> customers;
  array_of<int16_t> minutes;
  for (const auto& x : lanes_) {
    for (const auto& [key, minute] : x.outcome.added.visits) {
      branches.add(x.request->branch_id);
      days.add(key.first);
      customers.add(key.second);
      minutes.add(static_cast<int16_t>(minute));
    }
  }
  return to.add(write_customers_sql, branches, days, customers, minutes);
}

void apply_transaction::read_customers(const rows& from) {
  for (const auto& row : from)
    book_visit(lane_of(row[0].text()), row, false);
}

/// A customer who bought in several branches of this batch is the
/// contribution of the branch with the earliest visit.
size_t apply_transaction::write_chain_customers(pipeline& to) {
  for (auto& x : lanes_) {
    for (const auto& [key, minute] : x.outcome.added.visits) {
      auto [i, is_new] = chain_visits_.try_emplace(key, minute, &x);
      if (!is_new && minute < i->second.first)
        i->second = {minute, &x};
    }
  }
  array_of<calendar_day> days;
  array_of<uuid> customers;
  array_of<int16_t> minutes;
  for (const auto& [key, visit] : chain_visits_) {
    days.add(key.first);
    customers.add(key.second);
    minutes.add(static_cast<int16_t>(visit.first));
  }
  return to.add(write_chain_customers_sql, days, customers, minutes);
}

void apply_transaction::read_chain_customers(const rows& from) {
  for (const auto& row : from) {
    auto& visit = chain_visits_.at({as_day(row[1]), as_uuid(row[0])});
    book_visit(*visit.second, row, true);
  }
}

void apply_transaction::book_visit(lane& of, const row_view& row,
                                   bool of_chain) {
  // By number, as both statements return them: looking a name up costs more
  // than the row.
  auto day = as_day(row[1]);
  auto add = [&](const value_view& minute, int64_t n) {
    if (day < context_.minutes_from)
      return;
    auto& visits = of.outcome.visits[{day, static_cast<int>(as_int(minute))}];
    (of_chain ? visits.second : visits.first) += n;
  };
  add(row[2], 1);
  if (auto previous = row[3]; !previous.is_null) {
    add(previous, -1);
    return;
  }
  auto& counts = of.outcome.customers[day];
  (of_chain ? counts.chain : counts.customers) += 1;
}

// -- totals -------------------------------------------------------------------

void apply_transaction::write_days(pipeline& to) {
  text_array branches;
  array_of<calendar_day> days;
  array_of<int64_t> customers, fresh, chain;
  sales_columns sales;
  for (const auto& x : lanes_) {
    // Every day of a new customer is a day of a sale.
    for (const auto& [day, totals] : x.outcome.added.days) {
      auto counts = value_or_zero(x.outcome.customers, day);
      branches.add(x.request->branch_id);
      days.add(day);
      sales.add(totals);
      customers.add(counts.customers);
      fresh.add(counts.fresh);
      chain.add(counts.chain);
    }
  }
  to.add(write_days_sql, branches, days, sales.revenue, sales.items,
         sales.purchases, customers, fresh, chain);
}

void apply_transaction::write_minutes(pipeline& to) {
  text_array branches;
  array_of<calendar_day> days;
  array_of<int16_t> minutes;
  array_of<int64_t> customers, chain;
  sales_columns sales;
  for (const auto& x : lanes_) {
    const auto& out = x.outcome;
    // A first visit may move away from a minute that has no sale in here.
    std::set<std::pair<calendar_day, int>> keys;
    for (const auto& [key, totals] : out.added.minutes)
      if (key.first >= context_.minutes_from)
        keys.insert(key);
    for (const auto& [key, counts] : out.visits)
      keys.insert(key);
    for (const auto& key : keys) {
      auto visits = value_or_zero(out.visits, key);
      branches.add(x.request->branch_id);
      days.add(key.first);
      minutes.add(static_cast<int16_t>(key.second));
      sales.add(value_or_zero(out.added.minutes, key));
      customers.add(visits.first);
      chain.add(visits.second);
    }
  }
  to.add(write_minutes_sql, branches, days, minutes, sales.revenue, sales.items,
         sales.purchases, customers, chain);
}

// -- quarantine and cursors ---------------------------------------------------

void apply_transaction::write_quarantine(pipeline& to) {
  quarantine_columns columns;
  for (const auto& x : lanes_) {
    for (const auto& [what, reason] : x.refused) {
      columns.add(*x.request, *what, reason);
      if (columns.count == quarantine_rows_max)
        std::exchange(columns, quarantine_columns{}).write(to);
    }
  }
  if (columns.count > 0)
    columns.write(to);
}

void apply_transaction::write_cursors(pipeline& to) {
  text_array branches, incarnations;
  array_of<int64_t> stream_seqs, outbox_seqs, numbers;
  array_of<timestamp> recorded;
  for (const auto& x : lanes_) {
    const auto& cursor = x.outcome.cursor;
    branches.add(x.request->branch_id);
    incarnations.add(cursor.stream_incarnation);
    stream_seqs.add(static_cast<int64_t>(cursor.stream_seq));
    outbox_seqs.add(cursor.outbox_seq);
    numbers.add(cursor.apply_no);
    recorded.add(cursor.recorded_at);
  }
  to.add(write_cursors_sql, branches, incarnations, stream_seqs, outbox_seqs,
         numbers, recorded);
}

} // namespace tillstream::storage::postgres

#include "tests/support/made_up_events.hpp"

#include <pqxx/pqxx>

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace tillstream::test {

namespace {

const std::string incarnation = "2026-01-01T00:00:00Z";

/// Random bits as a UUID of version 4.
uuid random_uuid(std::mt19937_64& random) {
  uuid result;
  for (auto& byte : result.bytes)
    byte = static_cast<uint8_t>(random());
  result.bytes[6] = static_cast<uint8_t>((result.bytes[6] & 0x0f) | 0x40);
  result.bytes[8] = static_cast<uint8_t>((result.bytes[8] & 0x3f) | 0x80);
  return result;
}

/// Rows of one `INSERT`, quoted.
class insert {
public:
  insert(pqxx::work& tx, std::string head) : tx_(tx), head_(std::move(head)) {
    // nop
  }

  ~insert() = default;

  template <class... Ts>
  void add(const Ts&... xs) {
    std::string row;
    ((row += (row.empty() ? "" : ", ") + literal(xs)), ...);
    rows_ += (rows_.empty() ? "(" : ", (") + row + ")";
    if (rows_.size() > 500'000)
      flush();
  }

  void flush() {
    if (!rows_.empty())
      tx_.exec(head_ + " VALUES " + rows_ + " ON CONFLICT DO NOTHING");
    rows_.clear();
  }

private:
  std::string literal(const std::string& x) {
    return tx_.quote(x);
  }
  std::string literal(const uuid& x) {
    return "'" + to_string(x) + "'";
  }
  std::string literal(timestamp x) {
    return "'" + to_rfc3339(x) + "'";
  }
  std::string literal(calendar_day x) {
    return "'" + to_string(x) + "'";
  }
  std::string literal(bool x) {
    return x ? "true" : "false";
  }
  std::string literal(int64_t x) {
    return std::to_string(x);
  }
  std::string literal(int x) {
    return std::to_string(x);
  }

  pqxx::work& tx_;
  std::string head_;
  std::string rows_;
};

} // namespace

chain made_up_chain() {
  chain result;
  result.branches = {
    {"branch-1", "One", "UTC", 0},
    {"branch-2", "Two", "America/New_York", 240},
    {"branch-3", "Three", "Asia/Kolkata", 0},
  };
  return result;
}

event_maker::event_maker(uint64_t seed, event_options options)
  : random_(seed),
    ids_(seed),
    options_(options),
    branches_(made_up_chain().branches),
    next_recorded_(options.now) {
  for (const auto& x : branches_) {
    auto clock = branch_clock::make(x);
    if (!clock)
      throw std::runtime_error{"no time zone " + x.time_zone};
    clocks_.push_back(*clock);
  }
  for (int i = 0; i < options_.customers; ++i)
    customers_.push_back(random_uuid(random_));
  is_known_.assign(customers_.size(), false);
}

int event_maker::below(int bound) {
  return static_cast<int>(random_() % static_cast<uint64_t>(bound));
}

uuid event_maker::any_customer() {
  return customers_[static_cast<size_t>(below(options_.customers))];
}

std::vector<event_item> event_maker::make_items() {
  std::vector<event_item> result;
  auto first = below(options_.products);
  auto count = 1 + below(std::min(4, options_.products));
  for (int i = 0; i < count; ++i) {
    auto n = (first + i) % options_.products;
    // Odd characters, and a name that changes now and then.
    result.push_back(
      {fmt::format("p\"{}\\,{{", n), fmt::format("Name {} {}", n, below(3)),
       n % 3 == 0 ? "" : fmt::format("c{}", n % 4), 100 + below(900)});
  }
  return result;
}

purchase_event
event_maker::make_at(const std::string& branch_id, const uuid& customer,
                     timestamp occurred_at) {
  purchase_event result;
  auto where = std::ranges::find(branches_, branch_id, &branch::id);
  auto index = static_cast<size_t>(where - branches_.begin());
  next_recorded_ += std::chrono::milliseconds{1};
  result.event_id = ids_.v7(next_recorded_);
  result.purchase_id = ids_.v7(next_recorded_);
  result.outbox_seq = next_seq_++;
  result.branch_id = branch_id;
  result.cashier_id = "cashier";
  result.pos_id = "till-1";
  result.receipt_id = fmt::format("r-{}", result.outbox_seq);
  result.idempotency_key = random_uuid(random_);
  result.user_id = customer;
  result.occurred_at = occurred_at;
  result.recorded_at = next_recorded_;
  result.when = clocks_[index].at(occurred_at);
  result.items = make_items();
  for (const auto& x : result.items)
    result.total += x.unit_price;
  auto known = std::ranges::find(customers_, customer);
  if (known != customers_.end()) {
    auto flag = is_known_.begin() + (known - customers_.begin());
    result.new_customer = !*flag;
    *flag = true;
  }
  return result;
}

purchase_event event_maker::make(const std::string& branch_id) {
  auto back = std::chrono::milliseconds{
    static_cast<int64_t>(random_() % static_cast<uint64_t>(options_.days))
      * 86'400'000
    + below(86'400'000)};
  return make_at(branch_id, any_customer(), options_.now - back);
}

purchase_event event_maker::make() {
  return make(branches_[static_cast<size_t>(below(3))].id);
}

std::vector<purchase_event> event_maker::make_many(size_t count) {
  std::vector<purchase_event> result;
  for (size_t i = 0; i < count; ++i)
    result.push_back(make());
  return result;
}

void record_events(const std::string& dsn, const tillstream::chain& chain,
                   const std::vector<purchase_event>& events) {
  pqxx::connection connection{dsn};
  pqxx::work tx{connection};
  tx.exec("SET LOCAL timezone = 'UTC'");
  insert branches{tx, "INSERT INTO branches (branch_id, name, time_zone, "
                      "day_start_minutes)"};
  for (const auto& x : chain.branches)
    branches.add(x.id, x.name, x.time_zone, x.day_start_minutes);
  insert customers{tx, "INSERT INTO customers (customer_id, created_at)"};
  insert purchases{
    tx, "INSERT INTO purchases (branch_id, purchase_id, event_id, outbox_seq, "
        "idempotency_key, fingerprint, receipt_id, cashier_id, pos_id, "
        "customer_id, new_customer, total_minor, currency, items_count, "
        "occurred_at, recorded_at, business_day, business_hour, "
        "business_minute)"};
  insert items{tx, "INSERT INTO purchase_items (branch_id, purchase_id, "
                   "line_no, product_id, name, unit_price_minor)"};
  insert outbox{tx, "INSERT INTO outbox_events (branch_id, event_id, "
                    "purchase_id, seq, created_at, payload, status, sent_at)"};
  for (const auto& x : events) {
    customers.add(x.user_id, x.recorded_at);
    purchases.add(x.branch_id, x.purchase_id, x.event_id, x.outbox_seq,
                  x.idempotency_key, std::string{"\\x00"}, x.receipt_id,
                  x.cashier_id, x.pos_id, x.user_id, x.new_customer, x.total,
                  x.currency.code, static_cast<int>(x.items.size()),
                  x.occurred_at, x.recorded_at, x.when.day, x.when.hour,
                  x.when.minute);
    int line = 0;
    for (const auto& item : x.items)
      items.add(x.branch_id, x.purchase_id, ++line, item.product_id, item.name,
                item.unit_price);
    outbox.add(x.branch_id, x.event_id, x.purchase_id, x.outbox_seq,
               x.recorded_at, encode_event(x), std::string{"SENT"},
               x.recorded_at);
  }
  for (auto* x : {&branches, &customers, &purchases, &items, &outbox})
    x->flush();
  tx.commit();
}

void load_truth(const std::string& dsn,
                const std::vector<purchase_event>& events) {
  pqxx::connection connection{dsn};
  pqxx::work tx{connection};
  tx.exec("SET LOCAL timezone = 'UTC'");
  tx.exec(R"(
    DROP TABLE IF EXISTS truth_sales, truth_items;
    CREATE TABLE truth_sales (
      event_id uuid PRIMARY KEY, branch_id text COLLATE "C", customer_id uuid,
      new_customer bool, total bigint, items bigint, occurred_at timestamptz,
      recorded_at timestamptz, outbox_seq bigint, day date, hour timestamptz,
      minute int);
    CREATE TABLE truth_items (
      event_id uuid, product_id text COLLATE "C", price bigint, name text,
      category text, PRIMARY KEY (event_id, product_id)))");
  insert sales{tx, "INSERT INTO truth_sales"};
  insert items{tx, "INSERT INTO truth_items"};
  for (const auto& x : events) {
    sales.add(x.event_id, x.branch_id, x.user_id, x.new_customer, x.total,
              static_cast<int>(x.items.size()), x.occurred_at, x.recorded_at,
              x.outbox_seq, x.when.day, x.when.hour, x.when.minute);
    for (const auto& item : x.items)
      items.add(x.event_id, item.product_id, item.unit_price, item.name,
                item.category);
  }
  sales.flush();
  items.flush();
  tx.commit();
}

apply_request_ptr make_request(const std::string& branch_id, int64_t epoch,
                               const branch_cursor& before,
                               const std::vector<purchase_event>& events) {
  auto result = std::make_shared<apply_request>();
  result->branch_id = branch_id;
  result->epoch = epoch;
  result->before = before;
  result->stream_incarnation = before.stream_incarnation.empty()
                                 ? incarnation
                                 : before.stream_incarnation;
  auto seq = before.stream_seq;
  for (const auto& x : events)
    result->events.push_back({++seq, x, "", nullptr});
  return result;
}

} // namespace tillstream::test

#include "tests/support/made_up_purchases.hpp"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>

namespace tillstream::test {

namespace {

using namespace std::chrono_literals;

/// Enough to tell two purchases apart; the gateway's own is in the codec.
void seal(purchase& x) {
  auto all = fmt::format(
    "{}|{}|{}|{}|{}|{}", x.branch_id, x.receipt_id, x.cashier_id, x.pos_id,
    x.user_id ? to_string(*x.user_id) : "", x.new_customer);
  x.total = 0;
  for (const auto& item : x.items) {
    x.total += item.unit_price;
    all += fmt::format("|{}|{}", item.product_id, item.unit_price);
  }
  x.fingerprint = sha256(all);
}

} // namespace

purchase_ptr purchase_maker::make(const change& edit, size_t items) {
  auto number = ++count_;
  purchase x;
  x.branch_id = "branch-1";
  x.cashier_id = "cashier-7";
  x.pos_id = "till-1";
  x.receipt_id = fmt::format("r-{}-{}", number, to_string(ids_.v4()));
  x.idempotency_key = ids_.v4();
  for (size_t i = 0; i < items; ++i) {
    purchase_item item;
    item.product_id = fmt::format("product-{}", i + 1);
    item.name = fmt::format("Product {}", i + 1);
    item.unit_price = 100 * static_cast<minor_units>(i + 1) + number % 100;
    x.items.push_back(std::move(item));
  }
  x.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  if (edit)
    edit(x);
  seal(x);
  return std::make_shared<const purchase>(std::move(x));
}

std::vector<purchase_ptr>
purchase_maker::make_many(size_t count, size_t items) {
  std::vector<purchase_ptr> result;
  for (size_t i = 0; i < count; ++i)
    result.push_back(make({}, items));
  return result;
}

purchase_ptr
changed(const purchase_ptr& x, const purchase_maker::change& edit) {
  auto copy = *x;
  edit(copy);
  seal(copy);
  return std::make_shared<const purchase>(std::move(copy));
}

storage::reference_source
reference_to(tillstream::chain chain, storage::catalog products) {
  storage::reference_data data;
  data.chain = std::make_shared<const tillstream::chain>(std::move(chain));
  data.products = std::make_shared<const storage::catalog>(std::move(products));
  return [data] { return data; };
}

storage::purchase_store_ptr open_purchases(const std::string& dsn) {
  return must(storage::open_purchase_store(dsn, reference_to()));
}

storage::postgres::session_ptr open_psql(const std::string& dsn) {
  storage::postgres::session_options options;
  options.application_name = "psql";
  options.statement_timeout = 60s;
  options.lock_timeout = 60s;
  options.idle_in_transaction_timeout = 0s;
  return must(storage::postgres::open_session(dsn, options));
}

int64_t number(storage::postgres::session& db, const std::string& sql) {
  return storage::postgres::as_int(db.run(sql)[0][0]);
}

std::string text(storage::postgres::session& db, const std::string& sql) {
  return storage::postgres::as_text(db.run(sql)[0][0]);
}

bool eventually(const std::function<bool()>& condition) {
  auto end = std::chrono::steady_clock::now() + 30s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

} // namespace tillstream::test

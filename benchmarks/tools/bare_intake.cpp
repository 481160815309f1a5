#include "messages/core/uuid.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/transaction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

/// @file benchmarks/tools/bare_intake.cpp
/// `bench_bare_intake DSN BATCH SESSIONS SECONDS`: what the database takes at
/// most. A loop that writes the rows of BATCH purchases in one transaction,
/// under the same unique keys, in binary arrays and with plans that are kept;
/// no HTTP, no actors, no locks against neighbours. Prints purchases a second.

namespace {

using namespace tillstream;
using namespace tillstream::storage::postgres;
using clock_type = std::chrono::steady_clock;

constexpr statement take_numbers{"bare_numbers", R"(
  SELECT nextval('outbox_seq') FROM generate_series(1, $1::int))"};

constexpr statement write_sales{"bare_write", R"(
  WITH made AS (
    INSERT INTO customers (customer_id, created_at)
    SELECT id, $1::timestamptz FROM unnest($2::uuid[]) AS u (id)
    ON CONFLICT DO NOTHING
  ), lines AS (
    INSERT INTO purchase_items (
      branch_id, purchase_id, line_no, product_id, name, unit_price_minor)
    SELECT branch_id, purchase_id, line_no, product_id, product_id, 250
    FROM unnest($8::text[], $9::uuid[], $10::smallint[], $11::text[])
      AS u (branch_id, purchase_id, line_no, product_id)
  ), waiting AS (
    INSERT INTO outbox_events (
      branch_id, event_id, purchase_id, seq, created_at, payload)
    SELECT branch_id, event_id, purchase_id, seq, $1::timestamptz, payload
    FROM unnest($3::text[], $5::uuid[], $4::uuid[], $6::bigint[], $12::text[])
      AS u (branch_id, event_id, purchase_id, seq, payload)
  )
  INSERT INTO purchases (
    branch_id, purchase_id, event_id, outbox_seq, idempotency_key, fingerprint,
    receipt_id, cashier_id, pos_id, customer_id, new_customer, total_minor,
    currency, items_count, occurred_at, recorded_at, business_day,
    business_hour, business_minute)
  SELECT branch_id, purchase_id, event_id, seq, key,
         uuid_send(key) || uuid_send(customer_id), receipt_id, 'cashier-1',
         'pos-1', customer_id, true, 750, 'EUR', 3, $1::timestamptz,
         $1::timestamptz, ($1::timestamptz)::date, $1::timestamptz, 600
  FROM unnest($3::text[], $4::uuid[], $5::uuid[], $6::bigint[], $2::uuid[],
              $7::uuid[], $13::text[])
    AS u (branch_id, purchase_id, event_id, seq, customer_id, key, receipt_id)
  ON CONFLICT DO NOTHING)"};

/// About as long as an event of three items, and as full of quotes.
std::string make_payload(const uuid& event_id) {
  auto result = fmt::format("{{\"id\":\"{}\"", to_string(event_id));
  while (result.size() < 1180)
    result += ",\"product_id\":\"product-000017\",\"qty\":1";
  return result + "}";
}

std::string in_hex(uint64_t x) {
  return fmt::format("r-{:016x}", x);
}

class loop {
public:
  loop(const std::string& dsn, size_t batch)
    : db_(dsn, options()),
      batch_(batch) {
    // nop
  }

  void write_batch() {
    transaction tx{db_, "BEGIN; SELECT pg_current_xact_id()"};
    array_of<int64_t> seqs;
    for (auto row : db_.exec(take_numbers, batch_))
      seqs.add(as_int(row[0]));
    auto now = wall_clock_now();
    array_of<uuid> customers, purchases, events, keys, line_purchases;
    text_array branches, line_branches, products, payloads, receipts;
    array_of<int16_t> line_numbers;
    for (size_t i = 0; i < batch_; ++i) {
      auto branch = fmt::format("branch-{:02}", 1 + random_() % 3);
      auto purchase = ids_.v7(now);
      auto event = ids_.v7(now);
      branches.add(branch);
      customers.add(ids_.v4());
      purchases.add(purchase);
      events.add(event);
      keys.add(ids_.v4());
      receipts.add(in_hex(random_()));
      payloads.add(make_payload(event));
      for (int16_t n = 1; n <= 3; ++n) {
        line_branches.add(branch);
        line_purchases.add(purchase);
        line_numbers.add(n);
        products.add(fmt::format("product-{:06}", random_() % 200));
      }
    }
    auto done = db_.exec(write_sales, now, customers, branches, purchases,
                         events, seqs, keys, line_branches, line_purchases,
                         line_numbers, products, payloads, receipts);
    if (static_cast<size_t>(done.affected_rows()) != batch_)
      throw std::runtime_error("a key was taken");
    tx.commit();
  }

private:
  static connection_options options() {
    connection_options result;
    result.pinned_plans = true;
    // Sessions that make a table longer wait for each other; on a busy disk
    // for longer than a till's batch would.
    result.lock_timeout = std::chrono::seconds{10};
    return result;
  }

  connection db_;
  size_t batch_;
  uuid_source ids_;
  std::mt19937_64 random_{std::random_device{}()};
};

} // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: bench_bare_intake DSN BATCH SESSIONS SECONDS"
              << std::endl;
    return 2;
  }
  auto batch = std::stoul(argv[2]);
  std::atomic<uint64_t> count{0};
  std::atomic<bool> failed{false};
  auto began = clock_type::now();
  auto end = began
             + std::chrono::duration_cast<clock_type::duration>(
               std::chrono::duration<double>{std::stod(argv[4])});
  std::vector<std::thread> sessions;
  for (size_t i = 0; i < std::stoul(argv[3]); ++i)
    sessions.emplace_back([&] {
      try {
        loop it{argv[1], batch};
        for (; clock_type::now() < end; count += batch)
          it.write_batch();
      } catch (const std::exception& x) {
        std::cerr << "bench_bare_intake: " << x.what() << std::endl;
        failed = true;
      }
    });
  for (auto& x : sessions)
    x.join();
  std::chrono::duration<double> took = clock_type::now() - began;
  std::cout << fmt::format("{:.1f}", static_cast<double>(count) / took.count())
            << std::endl;
  return failed ? 1 : 0;
}

#include "storage/ports/purchase_store.hpp"

#include "messages/codec/event_codec.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/chain.hpp"
#include "storage/postgres/purchase_batch.hpp"
#include "tests/support/cutting_proxy.hpp"
#include "tests/support/made_up_purchases.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <latch>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::test;
using namespace std::chrono_literals;
using postgres::connection;
using std::chrono::steady_clock;

namespace tillstream {

std::ostream& operator<<(std::ostream& out, verdict x) {
  return out << to_string(x);
}

std::ostream& operator<<(std::ostream& out, const uuid& x) {
  return out << to_string(x);
}

} // namespace tillstream

namespace {

/// A fresh database, a store on it, and psql.
struct fixture {
  std::string dsn = fresh_database("oltp");
  purchase_store_ptr store = open_purchases(dsn);
  postgres::connection_ptr psql = open_psql(dsn);
  purchase_maker make;

  std::vector<record_result> record(const std::vector<purchase_ptr>& batch) {
    return must(store->record(batch)).results;
  }

  record_result record_one(const purchase_ptr& x) {
    return record({x})[0];
  }

  verdict outcome(const purchase_ptr& x) {
    return record_one(x).outcome;
  }

  int64_t count(const std::string& table) {
    return number(*psql, fmt::format("SELECT count(*) FROM {}", table));
  }

  /// Purchases, outbox rows and customers, which nobody else has made.
  void check_rows(int64_t purchases, int64_t customers) {
    BOOST_TEST(count("purchases") == purchases);
    BOOST_TEST(count("outbox_events") == purchases);
    BOOST_TEST(count("customers") == customers);
    BOOST_TEST(
      number(*psql, "SELECT count(DISTINCT purchase_id) FROM purchase_items")
      == purchases);
  }
};

bool equal(const recorded_purchase& a, const recorded_purchase& b) {
  return a.purchase_id == b.purchase_id && a.event_id == b.event_id
         && a.branch_id == b.branch_id && a.receipt_id == b.receipt_id
         && a.user_id == b.user_id && a.new_customer == b.new_customer
         && a.total == b.total && a.currency == b.currency
         && a.items_count == b.items_count && a.occurred_at == b.occurred_at
         && a.recorded_at == b.recorded_at;
}

/// Runs `work(i)` on `count` threads that start together.
template <class F>
void at_once(size_t count, F work) {
  std::latch start{static_cast<std::ptrdiff_t>(count)};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; ++i)
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      work(i);
    });
  for (auto& x : threads)
    x.join();
}

/// Records until nothing is in progress any more, as a writer does.
std::vector<record_result>
record_all(purchase_store& store, const std::vector<purchase_ptr>& batch) {
  std::vector<record_result> results(batch.size());
  std::vector<size_t> open;
  for (size_t i = 0; i < batch.size(); ++i)
    open.push_back(i);
  auto end = steady_clock::now() + 30s;
  while (!open.empty() && steady_clock::now() < end) {
    std::vector<purchase_ptr> again;
    for (auto i : open)
      again.push_back(batch[i]);
    auto round = must(store.record(again)).results;
    std::vector<size_t> still;
    for (size_t i = 0; i < open.size(); ++i) {
      results[open[i]] = round[i];
      if (round[i].outcome == verdict::in_progress)
        still.push_back(open[i]);
    }
    open = still;
  }
  return results;
}

/// What a psql user might insert: a whole row under the keys of `x`.
std::string foreign_insert(const purchase& x) {
  return fmt::format(
    "INSERT INTO purchases VALUES ('{}', gen_random_uuid(), "
    "gen_random_uuid(), 0, '{}', '\\x00', '{}', 'c', 'p', gen_random_uuid(), "
    "false, 1, 'USD', 1, now(), now(), '2020-01-01', now(), 0)",
    x.branch_id, to_string(x.idempotency_key), x.receipt_id);
}

/// The DSN with options for the server's session.
std::string with_options(const std::string& dsn, const std::string& options) {
  std::string escaped;
  for (char c : options)
    escaped += c == ' ' ? "%20" : c == '=' ? "%3D" : std::string(1, c);
  return dsn + (dsn.find('?') == std::string::npos ? "?" : "&")
         + "options=" + escaped;
}

} // namespace

// -- one purchase -------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(purchase_store_suite)

BOOST_FIXTURE_TEST_CASE(a_purchase_becomes_a_row_with_items_event_and_customer,
                        fixture) {
  auto wanted = make.make([](purchase& x) {
    x.branch_id = "branch-2";
    x.occurred_at = from_ms(1554116480500);
  });
  auto done = must(store->record({wanted}));
  BOOST_REQUIRE(done.results[0].outcome == verdict::recorded);
  const auto& x = done.results[0].purchase;
  BOOST_TEST(x.branch_id == "branch-2");
  BOOST_TEST(x.receipt_id == wanted->receipt_id);
  BOOST_TEST(x.total == wanted->total);
  BOOST_TEST(x.currency == "USD");
  BOOST_TEST(x.items_count == 3);
  BOOST_TEST(x.new_customer);
  BOOST_TEST(is_uuid4(x.user_id));
  BOOST_TEST((x.occurred_at == from_ms(1554116480500)));
  auto age = number(*psql, "SELECT (extract(epoch FROM clock_timestamp())"
                           "* 1000)::bigint")
             - to_ms(x.recorded_at);
  BOOST_TEST(age >= 0);
  BOOST_TEST(age < 10'000);
  BOOST_TEST((uuid7_time(x.event_id) == x.recorded_at));
  BOOST_TEST((uuid7_time(x.purchase_id) == x.recorded_at));
  check_rows(1, 1);
  BOOST_TEST(number(*psql, "SELECT count(*) FROM purchase_items") == 3);
  BOOST_TEST(number(*psql, "SELECT sum(unit_price_minor) FROM purchase_items")
             == wanted->total);
  BOOST_TEST(number(*psql, "SELECT total_minor FROM purchases")
             == wanted->total);
  BOOST_TEST(text(*psql, "SELECT business_day FROM purchases") == "2019-04-01");
  BOOST_TEST(text(*psql, "SELECT status FROM outbox_events") == "NEW");
  BOOST_TEST(done.commit_us > 0);
}

BOOST_FIXTURE_TEST_CASE(the_event_says_what_the_rows_say, fixture) {
  auto wanted = make.make();
  auto done = must(store->record({wanted}));
  BOOST_REQUIRE(done.committed.size() == 1);
  const auto& notice = done.committed[0];
  const auto& x = done.results[0].purchase;
  BOOST_TEST(notice.branch_id == "branch-1");
  BOOST_TEST(notice.event_id == x.event_id);
  BOOST_TEST((notice.recorded_at == x.recorded_at));
  BOOST_TEST(notice.publish_round == 1);
  BOOST_TEST(text(*psql, "SELECT payload FROM outbox_events")
             == *notice.payload);
  BOOST_TEST(number(*psql, "SELECT seq FROM outbox_events") == notice.seq);
  auto event = must(decode_event(*notice.payload, "branch-1"));
  BOOST_TEST(event.event_id == x.event_id);
  BOOST_TEST(event.purchase_id == x.purchase_id);
  BOOST_TEST(event.outbox_seq == notice.seq);
  BOOST_TEST(event.user_id == x.user_id);
  BOOST_TEST(event.new_customer);
  BOOST_TEST(event.total == wanted->total);
  BOOST_TEST(event.items.size() == 3u);
  BOOST_TEST(event.traceparent == wanted->traceparent);
  BOOST_TEST((event.occurred_at == x.recorded_at));
  BOOST_TEST(to_string(event.when.day)
             == text(*psql, "SELECT business_day FROM purchases"));
}

BOOST_FIXTURE_TEST_CASE(the_catalogue_names_what_it_knows, fixture) {
  catalog products;
  products["product-1"] = {"product-1", "Flat white", "coffee"};
  auto named
    = must(open_purchase_store(dsn, reference_to(default_chain(), products)));
  auto done = must(
    named->record({make.make([](purchase& x) { x.items[1].name.reset(); })}));
  auto event = must(decode_event(*done.committed[0].payload, "branch-1"));
  BOOST_TEST(event.items[0].name == "Flat white");
  BOOST_TEST(event.items[0].category == "coffee");
  BOOST_TEST(event.items[1].name == "");
  BOOST_TEST(event.items[2].name == "Product 3");
  BOOST_TEST(text(*psql, "SELECT name FROM purchase_items WHERE line_no = 1")
             == "Product 1");
  BOOST_TEST(number(*psql, "SELECT count(*) FROM purchase_items "
                           "WHERE name IS NULL")
             == 1);
}

BOOST_FIXTURE_TEST_CASE(odd_texts_come_back_as_they_were, fixture) {
  const std::vector<std::string> odd{"NULL",     "",         "a\"b",  "a\\b",
                                     "{a,b}",    " x ",      "x\ny",  "it's",
                                     "\\\"\\\\", "\xc3\xa9", "\x01z", "$1;--"};
  std::vector<purchase_ptr> batch;
  for (const auto& x : odd)
    batch.push_back(make.make([&](purchase& p) {
      p.receipt_id = x;
      p.cashier_id = x;
      p.items[0].name = x;
    }));
  for (const auto& x : record(batch))
    BOOST_TEST(x.outcome == verdict::recorded);
  auto reader = must(open_purchase_lookup_store(dsn));
  for (size_t i = 0; i < odd.size(); ++i) {
    auto x = must(reader->find_by_key("branch-1", batch[i]->idempotency_key));
    BOOST_REQUIRE(x);
    BOOST_TEST(x->head.receipt_id == odd[i]);
    BOOST_TEST(x->cashier_id == odd[i]);
    BOOST_REQUIRE(x->items[0].name);
    BOOST_TEST(*x->items[0].name == odd[i]);
  }
}

BOOST_FIXTURE_TEST_CASE(a_replay_gives_the_same_for_ever, fixture) {
  auto wanted = make.make();
  auto first = record_one(wanted);
  BOOST_TEST(first.outcome == verdict::recorded);
  auto chain = default_chain();
  chain.branches[0].time_zone = "Asia/Tokyo";
  auto later = must(open_purchase_store(dsn, reference_to(chain)));
  auto done = must(later->record({wanted}));
  BOOST_TEST(done.results[0].outcome == verdict::replayed);
  BOOST_TEST(equal(done.results[0].purchase, first.purchase));
  BOOST_TEST(done.committed.empty());
  BOOST_TEST(done.commit_us == 0);
  check_rows(1, 1);
}

BOOST_FIXTURE_TEST_CASE(another_purchase_under_a_used_key_is_refused, fixture) {
  auto wanted = make.make();
  record({wanted});
  auto other = changed(wanted, [](purchase& x) { x.items[0].unit_price += 1; });
  BOOST_TEST(outcome(other) == verdict::key_reused);
  // The key is asked first: that the receipt is new does not help.
  auto new_receipt
    = changed(other, [](purchase& x) { x.receipt_id = "another"; });
  BOOST_TEST(outcome(new_receipt) == verdict::key_reused);
  check_rows(1, 1);
}

BOOST_FIXTURE_TEST_CASE(a_used_receipt_is_refused_with_its_purchase, fixture) {
  auto wanted = make.make();
  auto first = record_one(wanted);
  auto other
    = changed(wanted, [&](purchase& x) { x.idempotency_key = make.new_id(); });
  auto refused = record_one(other);
  BOOST_TEST(refused.outcome == verdict::receipt_taken);
  BOOST_TEST(refused.purchase.purchase_id == first.purchase.purchase_id);
  check_rows(1, 1);
}

BOOST_FIXTURE_TEST_CASE(branches_share_neither_keys_nor_receipts, fixture) {
  auto wanted = make.make();
  auto elsewhere
    = changed(wanted, [](purchase& x) { x.branch_id = "branch-3"; });
  auto results = record({wanted, elsewhere});
  BOOST_TEST(results[0].outcome == verdict::recorded);
  BOOST_TEST(results[1].outcome == verdict::recorded);
}

// -- customers ----------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(an_unknown_customer_is_refused, fixture) {
  auto x = make.make([&](purchase& p) { p.user_id = make.new_id(); });
  BOOST_TEST(outcome(x) == verdict::customer_unknown);
  check_rows(0, 0);
}

BOOST_FIXTURE_TEST_CASE(a_known_customer_returns, fixture) {
  auto first = record_one(make.make());
  auto again = record_one(
    make.make([&](purchase& p) { p.user_id = first.purchase.user_id; }));
  BOOST_TEST(again.outcome == verdict::recorded);
  BOOST_TEST(again.purchase.user_id == first.purchase.user_id);
  BOOST_TEST(!again.purchase.new_customer);
  check_rows(2, 1);
}

BOOST_FIXTURE_TEST_CASE(a_customer_of_the_till_is_new_once, fixture) {
  auto customer = make.new_id();
  auto made_up = [&](purchase& p) {
    p.user_id = customer;
    p.new_customer = true;
  };
  auto first = record_one(make.make(made_up));
  BOOST_TEST(first.outcome == verdict::recorded);
  BOOST_TEST(first.purchase.new_customer);
  auto second = record_one(make.make(made_up));
  BOOST_TEST(second.outcome == verdict::recorded);
  BOOST_TEST(!second.purchase.new_customer);
  check_rows(2, 1);
}

BOOST_FIXTURE_TEST_CASE(one_batch_makes_a_customer_new_once, fixture) {
  auto customer = make.new_id();
  auto made_up = [&](purchase& p) {
    p.user_id = customer;
    p.new_customer = true;
  };
  auto results = record({make.make(made_up), make.make(made_up)});
  BOOST_TEST(results[0].purchase.new_customer);
  BOOST_TEST(!results[1].purchase.new_customer);
  check_rows(2, 1);
}

BOOST_FIXTURE_TEST_CASE(a_customer_of_the_same_batch_is_known, fixture) {
  auto customer = make.new_id();
  auto returning = [&](purchase& p) { p.user_id = customer; };
  auto before = make.make(returning);
  auto maker = make.make([&](purchase& p) {
    p.user_id = customer;
    p.new_customer = true;
  });
  auto after = make.make(returning);
  auto results = record({before, maker, after});
  for (const auto& x : results)
    BOOST_TEST(x.outcome == verdict::recorded);
  BOOST_TEST(!results[0].purchase.new_customer);
  BOOST_TEST(results[1].purchase.new_customer);
  BOOST_TEST(!results[2].purchase.new_customer);
  check_rows(3, 1);
}

BOOST_FIXTURE_TEST_CASE(a_refused_purchase_leaves_no_customer, fixture) {
  auto there = make.make();
  record({there});
  auto customer = make.new_id();
  auto refused = make.make([&](purchase& p) {
    p.user_id = customer;
    p.new_customer = true;
    p.receipt_id = there->receipt_id;
  });
  auto follower = make.make([&](purchase& p) { p.user_id = customer; });
  auto results = record({refused, follower});
  BOOST_TEST(results[0].outcome == verdict::receipt_taken);
  BOOST_TEST(results[1].outcome == verdict::customer_unknown);
  check_rows(1, 1);
}

BOOST_FIXTURE_TEST_CASE(a_customer_is_not_refused_while_its_maker_waits,
                        fixture) {
  auto customer = make.new_id();
  auto maker = make.make([&](purchase& p) {
    p.user_id = customer;
    p.new_customer = true;
  });
  auto returning = make.make([&](purchase& p) { p.user_id = customer; });
  psql->run(
    fmt::format("SELECT pg_advisory_lock({})", postgres::key_lock(*maker)));
  auto results = record({maker, returning});
  BOOST_TEST(results[0].outcome == verdict::in_progress);
  BOOST_TEST(results[1].outcome == verdict::in_progress);
  psql->run("SELECT pg_advisory_unlock_all()");
  for (const auto& x : record({maker, returning}))
    BOOST_TEST(x.outcome == verdict::recorded);
}

BOOST_FIXTURE_TEST_CASE(two_writers_make_a_customer_new_once, fixture) {
  constexpr size_t rounds = 20;
  constexpr size_t writers = 4;
  std::vector<std::vector<purchase_ptr>> batches(writers);
  for (size_t round = 0; round < rounds; ++round) {
    auto customer = make.new_id();
    for (auto& batch : batches)
      batch.push_back(make.make([&](purchase& p) {
        p.user_id = customer;
        p.new_customer = true;
      }));
  }
  std::vector<purchase_store_ptr> stores;
  for (size_t i = 0; i < writers; ++i)
    stores.push_back(open_purchases(dsn));
  std::vector<std::vector<record_result>> results(writers);
  at_once(writers, [&](size_t i) {
    std::shuffle(batches[i].begin(), batches[i].end(), std::mt19937_64{i});
    results[i] = record_all(*stores[i], batches[i]);
  });
  std::map<uuid, int> new_ones;
  for (const auto& xs : results)
    for (const auto& x : xs) {
      BOOST_TEST(x.outcome == verdict::recorded);
      new_ones[x.purchase.user_id] += x.purchase.new_customer ? 1 : 0;
    }
  BOOST_TEST(new_ones.size() == rounds);
  for (const auto& [customer, times] : new_ones)
    BOOST_TEST(times == 1);
  check_rows(rounds * writers, rounds);
}

// -- one key, many purchases --------------------------------------------------

BOOST_FIXTURE_TEST_CASE(equal_purchases_of_a_batch_make_one_row, fixture) {
  auto x = make.make();
  auto results = record({x, make.make(), x, x});
  BOOST_TEST(results[0].outcome == verdict::recorded);
  BOOST_TEST(results[1].outcome == verdict::recorded);
  for (size_t i : {2, 3}) {
    BOOST_TEST(results[i].outcome == verdict::replayed);
    BOOST_TEST(equal(results[i].purchase, results[0].purchase));
  }
  check_rows(2, 2);
}

BOOST_FIXTURE_TEST_CASE(a_batch_of_rivals_is_resolved_at_once, fixture) {
  auto first = make.make();
  std::vector<purchase_ptr> batch{first};
  for (int i = 1; i <= 20; ++i) {
    batch.push_back(
      changed(first, [&](purchase& p) { p.items[0].unit_price += i; }));
    batch.push_back(
      changed(first, [&](purchase& p) { p.idempotency_key = make.new_id(); }));
  }
  auto results = record(batch);
  BOOST_TEST(results[0].outcome == verdict::recorded);
  for (size_t i = 1; i < batch.size(); i += 2) {
    BOOST_TEST(results[i].outcome == verdict::key_reused);
    BOOST_TEST(results[i + 1].outcome == verdict::receipt_taken);
    BOOST_TEST(results[i + 1].purchase.purchase_id
               == results[0].purchase.purchase_id);
  }
  check_rows(1, 1);
  // And the same when the first is there already.
  results = record(batch);
  BOOST_TEST(results[0].outcome == verdict::replayed);
  for (size_t i = 1; i < batch.size(); i += 2) {
    BOOST_TEST(results[i].outcome == verdict::key_reused);
    BOOST_TEST(results[i + 1].outcome == verdict::receipt_taken);
  }
}

BOOST_FIXTURE_TEST_CASE(a_refused_purchase_leaves_key_and_receipt_to_the_next,
                        fixture) {
  auto fine = make.make();
  auto stranger
    = changed(fine, [&](purchase& p) { p.user_id = make.new_id(); });
  auto other = changed(stranger, [&](purchase& p) {
    p.user_id = make.new_id();
    p.idempotency_key = make.new_id();
  });
  auto late = changed(fine, [](purchase& p) { p.items[0].unit_price += 1; });
  auto results = record({stranger, other, fine, late});
  BOOST_TEST(results[0].outcome == verdict::customer_unknown);
  BOOST_TEST(results[1].outcome == verdict::customer_unknown);
  BOOST_TEST(results[2].outcome == verdict::recorded);
  BOOST_TEST(results[3].outcome == verdict::key_reused);
  check_rows(1, 1);
}

BOOST_FIXTURE_TEST_CASE(duplicates_get_the_refusal_of_the_first, fixture) {
  auto x = make.make([&](purchase& p) { p.user_id = make.new_id(); });
  for (const auto& result : record({x, x}))
    BOOST_TEST(result.outcome == verdict::customer_unknown);
}

BOOST_FIXTURE_TEST_CASE(thirty_at_once_make_one_row_and_equal_answers,
                        fixture) {
  constexpr size_t writers = 6;
  constexpr size_t each = 5;
  auto wanted = make.make();
  std::vector<purchase_store_ptr> stores;
  for (size_t i = 0; i < writers; ++i)
    stores.push_back(open_purchases(dsn));
  std::vector<record_result> results(writers * each);
  at_once(writers, [&](size_t i) {
    auto mine = record_all(*stores[i], std::vector<purchase_ptr>(each, wanted));
    std::copy(mine.begin(), mine.end(), results.begin() + i * each);
  });
  size_t recorded = 0;
  for (const auto& x : results) {
    recorded += x.outcome == verdict::recorded ? 1 : 0;
    BOOST_TEST(
      (x.outcome == verdict::recorded || x.outcome == verdict::replayed));
    BOOST_TEST(equal(x.purchase, results[0].purchase));
  }
  BOOST_TEST(recorded == 1);
  check_rows(1, 1);
}

BOOST_FIXTURE_TEST_CASE(overlapping_batches_in_any_order_never_deadlock,
                        fixture) {
  constexpr size_t writers = 4;
  constexpr int rounds = 12;
  auto all = make.make_many(60, 2);
  // Every third of a customer whom several tills make up.
  auto customers = std::vector<uuid>{make.new_id(), make.new_id()};
  for (size_t i = 0; i < all.size(); i += 3)
    all[i] = changed(all[i], [&](purchase& p) {
      p.user_id = customers[i % 2];
      p.new_customer = true;
    });
  std::vector<purchase_store_ptr> stores;
  for (size_t i = 0; i < writers; ++i)
    stores.push_back(open_purchases(dsn));
  auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  std::vector<int> recorded(writers);
  std::vector<std::string> errors(writers);
  at_once(writers, [&](size_t i) {
    std::mt19937_64 random{seed + i};
    for (int round = 0; round < rounds; ++round) {
      auto batch = all;
      std::shuffle(batch.begin(), batch.end(), random);
      batch.resize(40);
      auto done = stores[i]->record(batch);
      if (!done) {
        errors[i] = describe(done.error());
        return;
      }
      for (const auto& x : done->results)
        recorded[i] += x.outcome == verdict::recorded ? 1 : 0;
    }
  });
  for (const auto& x : errors)
    BOOST_TEST(x == "");
  int late = 0;
  for (const auto& x : record_all(*store, all)) {
    late += x.outcome == verdict::recorded ? 1 : 0;
    BOOST_TEST(
      (x.outcome == verdict::recorded || x.outcome == verdict::replayed));
  }
  int total = late;
  for (auto x : recorded)
    total += x;
  BOOST_TEST(total == 60);
  check_rows(60, 42);
  BOOST_TEST(number(*psql, "SELECT count(*) FROM customers c WHERE 1 <> (SELECT"
                           " count(*) FROM purchases p WHERE new_customer AND"
                           " p.customer_id = c.customer_id)")
             == 0);
  stores.clear();
  BOOST_TEST(number(*psql, "SELECT deadlocks FROM pg_stat_database "
                           "WHERE datname = current_database()")
             == 0);
}

// -- held keys ----------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_held_key_costs_only_its_own_till, fixture) {
  auto batch = make.make_many(100);
  psql->run("BEGIN");
  psql->run(foreign_insert(*batch[37]));
  auto begin = steady_clock::now();
  auto results = record(batch);
  auto first = steady_clock::now() - begin;
  for (size_t i = 0; i < batch.size(); ++i)
    BOOST_TEST(results[i].outcome
               == (i == 37 ? verdict::in_progress : verdict::recorded));
  // One lock time-out, and the halves: on a machine that is busy with other
  // things, still far from a time-out for each neighbour.
  BOOST_TEST((first < limits::lock_timeout * batch.size() / 2));
  // From now on it is known, and goes alone: no neighbour waits for it.
  auto more = make.make_many(20);
  more.insert(more.begin(), batch[37]);
  auto done = must(store->record(more));
  BOOST_TEST(done.results[0].outcome == verdict::in_progress);
  BOOST_TEST(done.committed.size() == 20u);
  std::set<std::string> transactions;
  for (auto row : psql->run(
         "SELECT DISTINCT xmin::text FROM purchases WHERE "
         "recorded_at >= to_timestamp("
         + std::to_string(to_ms(done.committed[0].recorded_at) / 1000.0) + ")"))
    transactions.insert(postgres::as_text(row[0]));
  BOOST_TEST(transactions.size() == 1u);
  psql->run("ROLLBACK");
  BOOST_TEST(outcome(batch[37]) == verdict::recorded);
  check_rows(120, 120);
}

BOOST_FIXTURE_TEST_CASE(a_held_key_that_gets_committed_is_reused, fixture) {
  auto batch = make.make_many(10);
  psql->run("BEGIN");
  psql->run(foreign_insert(*batch[3]));
  BOOST_TEST(record(batch)[3].outcome == verdict::in_progress);
  psql->run("COMMIT");
  BOOST_TEST(outcome(batch[3]) == verdict::key_reused);
}

BOOST_FIXTURE_TEST_CASE(a_foreign_row_that_appears_while_writing_is_seen,
                        fixture) {
  auto batch = make.make_many(10);
  psql->run("BEGIN");
  psql->run(foreign_insert(*batch[3]));
  // Lets go as soon as the store waits for the row, within its timeout.
  std::thread other{[&] {
    auto watcher = open_psql(dsn);
    eventually([&] {
      return number(*watcher, "SELECT count(*) FROM pg_stat_activity WHERE "
                              "datname = current_database() AND "
                              "wait_event_type = 'Lock'")
             > 0;
    });
    psql->run("COMMIT");
  }};
  auto results = record_all(*store, batch);
  other.join();
  for (size_t i = 0; i < batch.size(); ++i)
    BOOST_TEST(results[i].outcome
               == (i == 3 ? verdict::key_reused : verdict::recorded));
}

// -- our own trouble ----------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_locked_table_is_given_up_in_bounded_time, fixture) {
  psql->run("BEGIN; LOCK TABLE purchases IN SHARE MODE");
  auto begin = steady_clock::now();
  auto batch = make.make_many(300, 1);
  for (const auto& x : record(batch))
    BOOST_TEST(x.outcome == verdict::unavailable);
  BOOST_TEST((steady_clock::now() - begin < 5s));
  psql->run("ROLLBACK");
  for (const auto& x : record_all(*store, batch))
    BOOST_TEST(x.outcome == verdict::recorded);
}

BOOST_FIXTURE_TEST_CASE(a_value_that_the_server_refuses_costs_only_its_own,
                        fixture) {
  auto batch = make.make_many(9);
  batch[4] = changed(batch[4], [](purchase& x) { x.cashier_id = "\xff\xfe"; });
  auto results = record(batch);
  for (size_t i = 0; i < batch.size(); ++i)
    BOOST_TEST(results[i].outcome
               == (i == 4 ? verdict::unavailable : verdict::recorded));
}

BOOST_FIXTURE_TEST_CASE(a_table_that_stays_locked_ends_the_session, fixture) {
  for (auto mode : {"SHARE", "ACCESS EXCLUSIVE"}) {
    psql->run(fmt::format("BEGIN; LOCK TABLE purchases IN {} MODE", mode));
    auto batch = make.make_many(3);
    caf::error why;
    BOOST_TEST(eventually([&] {
      auto done = store->record(batch);
      if (!done)
        why = done.error();
      else
        for (const auto& x : done->results)
          BOOST_TEST(x.outcome == verdict::unavailable);
      return !done;
    }));
    BOOST_TEST((why == errc::unavailable));
    BOOST_TEST(describe(why).find("lock timeout") != std::string::npos);
    auto next = open_purchase_store(dsn, reference_to());
    BOOST_REQUIRE(!next);
    BOOST_TEST((next.error() == errc::unavailable));
    psql->run("ROLLBACK");
    store = open_purchases(dsn);
    for (const auto& x : record_all(*store, batch))
      BOOST_TEST(x.outcome == verdict::recorded);
  }
}

BOOST_FIXTURE_TEST_CASE(a_key_is_in_progress_only_while_a_writer_holds_it,
                        fixture) {
  auto batch = make.make_many(9);
  psql->run(fmt::format("SELECT pg_advisory_lock({}), pg_advisory_lock({})",
                        postgres::key_lock(*batch[2]),
                        postgres::receipt_lock(*batch[5])));
  auto results = record(batch);
  for (size_t i = 0; i < batch.size(); ++i)
    BOOST_TEST(
      results[i].outcome
      == (i == 2 || i == 5 ? verdict::in_progress : verdict::recorded));
}

BOOST_FIXTURE_TEST_CASE(a_customer_whom_somebody_makes_known_is_no_held_key,
                        fixture) {
  auto customer = make.new_id();
  auto batch = make.make_many(5);
  batch[3] = changed(batch[3], [&](purchase& x) {
    x.user_id = customer;
    x.new_customer = true;
  });
  psql->run(fmt::format("BEGIN; INSERT INTO customers VALUES ('{}', now())",
                        to_string(customer)));
  auto results = record(batch);
  for (size_t i = 0; i < batch.size(); ++i)
    BOOST_TEST(results[i].outcome
               == (i == 3 ? verdict::unavailable : verdict::recorded));
  psql->run("ROLLBACK");
  BOOST_TEST(outcome(batch[3]) == verdict::recorded);
}

BOOST_FIXTURE_TEST_CASE(a_branch_without_a_time_zone_stops_no_other, fixture) {
  auto chain = default_chain();
  for (auto& x : chain.branches)
    if (x.id == "branch-2")
      x.time_zone = "Mars/Olympus_Mons";
  auto zoned = must(open_purchase_store(dsn, reference_to(chain)));
  auto lost = make.make([](purchase& x) { x.branch_id = "branch-2"; });
  auto rival
    = changed(lost, [&](purchase& x) { x.idempotency_key = make.new_id(); });
  auto done
    = must(zoned->record({make.make(), lost, make.make(), lost, rival}));
  for (size_t i = 0; i < done.results.size(); ++i)
    BOOST_TEST(
      done.results[i].outcome
      == (i == 0 || i == 2 ? verdict::recorded : verdict::unavailable));
  check_rows(2, 2);
}

BOOST_FIXTURE_TEST_CASE(a_missing_partition_is_our_trouble, fixture) {
  psql->run("DO $$ DECLARE x regclass; BEGIN FOR x IN SELECT inhrelid FROM "
            "pg_inherits WHERE inhparent = 'outbox_events'::regclass "
            "LOOP EXECUTE format('DROP TABLE %s', x); END LOOP; END $$");
  auto done = store->record(make.make_many(2));
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error() == errc::unavailable));
  auto next = open_purchase_store(dsn, reference_to());
  BOOST_REQUIRE(!next);
  BOOST_TEST((next.error() == errc::unavailable));
  BOOST_TEST(describe(next.error()).find("no partition") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(a_table_that_is_gone_is_our_trouble, fixture) {
  for (auto table :
       {"purchases", "purchase_items", "customers", "outbox_events"}) {
    psql->run(fmt::format("ALTER TABLE {} RENAME TO elsewhere", table));
    auto done = store->record(make.make_many(2));
    BOOST_REQUIRE(!done);
    BOOST_TEST((done.error() == errc::unavailable), table);
    auto next = open_purchase_store(dsn, reference_to());
    BOOST_REQUIRE(!next);
    BOOST_TEST((next.error() == errc::unavailable), table);
    BOOST_TEST(describe(next.error()).find(table) != std::string::npos);
    psql->run(fmt::format("ALTER TABLE elsewhere RENAME TO {}", table));
    store = open_purchases(dsn);
    BOOST_TEST(outcome(make.make()) == verdict::recorded);
  }
}

BOOST_FIXTURE_TEST_CASE(rights_that_were_taken_are_our_trouble, fixture) {
  psql->run("DROP ROLE IF EXISTS clerk; CREATE ROLE clerk;"
            "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO clerk;"
            "GRANT USAGE ON SEQUENCE outbox_seq TO clerk");
  auto as_clerk = with_options(dsn, "-c role=clerk");
  store = open_purchases(as_clerk);
  BOOST_TEST(outcome(make.make()) == verdict::recorded);
  psql->run("REVOKE INSERT ON purchase_items FROM clerk");
  auto done = store->record({make.make()});
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error() == errc::unavailable));
  auto next = open_purchase_store(as_clerk, reference_to());
  BOOST_REQUIRE(!next);
  BOOST_TEST((next.error() == errc::unavailable));
  store.reset();
  psql->run("DROP OWNED BY clerk; DROP ROLE clerk");
}

BOOST_FIXTURE_TEST_CASE(a_server_that_takes_no_writes_is_not_written_to,
                        fixture) {
  auto next = open_purchase_store(
    with_options(dsn, "-c default_transaction_read_only=on"), reference_to());
  BOOST_REQUIRE(!next);
  BOOST_TEST((next.error() == errc::unavailable));
  BOOST_TEST(describe(next.error()).find("read-only") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(opening_a_store_leaves_nothing_behind, fixture) {
  open_purchases(dsn);
  check_rows(0, 0);
}

// -- lost connections ---------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_commit_whose_answer_is_lost_is_settled_as_replayed,
                        fixture) {
  cutting_proxy network{dsn, "COMMIT", cutting_proxy::moment::after};
  auto cut = open_purchases(network.dsn());
  auto batch = make.make_many(5);
  auto done = cut->record(batch);
  BOOST_TEST(network.has_cut());
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error() == errc::in_doubt));
  for (const auto& x : record_all(*store, batch)) {
    BOOST_TEST(x.outcome == verdict::replayed);
    // Enough for the commit notice that nobody has sent.
    BOOST_TEST(x.purchase.outbox_seq
               == number(*psql, fmt::format("SELECT seq FROM outbox_events "
                                            "WHERE event_id = '{}'",
                                            to_string(x.purchase.event_id))));
  }
  check_rows(5, 5);
  // A broken connection stays broken.
  BOOST_TEST((cut->record(batch).error() == errc::unavailable));
}

BOOST_FIXTURE_TEST_CASE(a_commit_that_never_arrived_is_settled_as_recorded,
                        fixture) {
  cutting_proxy network{dsn, "COMMIT", cutting_proxy::moment::before};
  auto cut = open_purchases(network.dsn());
  auto batch = make.make_many(5);
  auto done = cut->record(batch);
  BOOST_TEST(network.has_cut());
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error() == errc::in_doubt));
  for (const auto& x : record_all(*store, batch))
    BOOST_TEST(x.outcome == verdict::recorded);
  check_rows(5, 5);
}

BOOST_FIXTURE_TEST_CASE(a_connection_lost_inside_commit_is_in_doubt, fixture) {
  psql->run("CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$"
            "BEGIN PERFORM pg_terminate_backend(pg_backend_pid());"
            "RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON purchases "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
            "EXECUTE FUNCTION die()");
  auto batch = make.make_many(3);
  auto done = store->record(batch);
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error() == errc::in_doubt));
  psql->run("DROP TRIGGER die ON purchases");
  store = open_purchases(dsn);
  for (const auto& x : record(batch))
    BOOST_TEST(x.outcome == verdict::recorded);
}

BOOST_FIXTURE_TEST_CASE(a_commit_that_the_server_refuses_is_not_in_doubt,
                        fixture) {
  psql->run("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
            "BEGIN RAISE 'not today' USING ERRCODE = '53100'; END $$;"
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON purchases "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
            "EXECUTE FUNCTION refuse()");
  auto done = store->record(make.make_many(3));
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error() == errc::unavailable));
  check_rows(0, 0);
}

BOOST_FIXTURE_TEST_CASE(a_connection_lost_before_commit_wrote_nothing,
                        fixture) {
  cutting_proxy network{dsn, "write_purchases", cutting_proxy::moment::after};
  auto cut = open_purchases(network.dsn());
  auto done = cut->record(make.make_many(5));
  BOOST_TEST(network.has_cut());
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error() == errc::unavailable));
  BOOST_TEST(eventually([&] {
    return number(*psql, "SELECT count(*) FROM pg_stat_activity WHERE "
                         "application_name = 'tillstream-writer' AND "
                         "datname = current_database()")
           == 1;
  }));
  check_rows(0, 0);
}

BOOST_AUTO_TEST_CASE(a_server_that_is_away_is_unavailable) {
  auto store = open_purchase_store("postgresql://nobody:x@127.0.0.1:1/nothing",
                                   reference_to());
  BOOST_REQUIRE(!store);
  BOOST_TEST((store.error() == errc::unavailable));
}

// -- order and time -----------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(what_is_recorded_later_is_published_later, fixture) {
  int64_t last = 0;
  for (int round = 0; round < 5; ++round) {
    auto done = must(store->record(make.make_many(20, 1)));
    for (const auto& x : done.committed) {
      BOOST_TEST(x.seq > last);
      last = x.seq;
    }
  }
}

BOOST_FIXTURE_TEST_CASE(a_writer_has_its_id_before_its_numbers, fixture) {
  // The sequence logs ahead, which alone would give an id: not this time.
  record({make.make()});
  // Nobody can read purchases: the writer stops right after its claims.
  psql->run("BEGIN; LOCK TABLE purchases IN ACCESS EXCLUSIVE MODE");
  std::atomic<bool> seen = false;
  std::string id;
  std::thread watcher{[&] {
    auto db = open_psql(dsn);
    eventually([&] {
      auto rows = db->run("SELECT coalesce(backend_xid::text, 'none') FROM "
                          "pg_stat_activity WHERE wait_event_type = 'Lock' "
                          "AND query LIKE '%receipt_holder%' AND "
                          "datname = current_database()");
      if (!rows.empty())
        id = postgres::as_text(rows[0][0]);
      return !rows.empty();
    });
    seen = true;
  }};
  while (!seen) {
    auto done = store->record({make.make()});
    BOOST_TEST((!done || done->results[0].outcome == verdict::unavailable));
  }
  watcher.join();
  BOOST_TEST(id != "");
  BOOST_TEST(id != "none");
}

BOOST_FIXTURE_TEST_CASE(a_batch_of_the_largest_size_is_written_at_once,
                        fixture) {
  auto batch = make.make_many(limits::write_batch_max, 2);
  auto done = must(store->record(batch));
  BOOST_TEST(done.committed.size() == limits::write_batch_max);
  BOOST_TEST(number(*psql, "SELECT count(DISTINCT xmin::text) FROM purchases")
             == 1);
}

BOOST_FIXTURE_TEST_CASE(the_right_indexes_are_used_from_the_first_batch_on,
                        fixture) {
  for (int i = 0; i < 20; ++i)
    record(make.make_many(100, 1));
  record({make.make([&](purchase& p) { p.user_id = make.new_id(); })});
  store.reset();
  auto sum = [&](const std::string& column, const std::string& view) {
    return number(*psql, fmt::format("SELECT coalesce(sum({}), 0) FROM {} "
                                     "WHERE relname IN "
                                     "('purchases', 'customers')",
                                     column, view));
  };
  BOOST_TEST(
    eventually([&] { return sum("idx_scan", "pg_stat_user_tables") >= 4000; }));
  BOOST_TEST(sum("seq_scan", "pg_stat_user_tables") == 0);
  // Reading the branch for each key would be two million.
  BOOST_TEST(sum("idx_tup_read", "pg_stat_user_indexes") < 100'000);
}

BOOST_FIXTURE_TEST_CASE(business_days_agree_with_the_databases_zones, fixture) {
  tillstream::chain chain;
  chain.branches = {{"ny", "New York", "America/New_York", 240},
                    {"lh", "Lord Howe", "Australia/Lord_Howe", 90},
                    {"utc", "UTC", "UTC", 0}};
  std::sort(chain.branches.begin(), chain.branches.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  auto zoned = must(open_purchase_store(dsn, reference_to(chain)));
  // Around the clock changes of 2024 in both zones.
  const std::vector<int64_t> changes{1710054000, 1730613600, 1712415600,
                                     1728142200};
  std::vector<purchase_ptr> batch;
  for (auto change : changes)
    for (const auto& shop : chain.branches)
      for (int step = -8; step < 8; ++step)
        batch.push_back(make.make(
          [&](purchase& p) {
            p.branch_id = shop.id;
            p.occurred_at = from_ms((change + step * 1777) * 1000 + 321);
          },
          1));
  for (const auto& x : must(zoned->record(batch)).results)
    BOOST_TEST(x.outcome == verdict::recorded);
  psql->run("CREATE TABLE zones (branch_id text, zone text, start int);"
            "INSERT INTO zones VALUES ('ny', 'America/New_York', 240),"
            "('lh', 'Australia/Lord_Howe', 90), ('utc', 'UTC', 0)");
  auto wrong = [&](const std::string& condition) {
    return number(
      *psql,
      fmt::format("WITH t AS (SELECT p.*, z.zone, occurred_at AT TIME ZONE "
                  "zone - make_interval(mins => start) AS local "
                  "FROM purchases p JOIN zones z USING (branch_id)) "
                  "SELECT count(*) FROM t WHERE NOT coalesce({}, false)",
                  condition));
  };
  BOOST_TEST(wrong("business_day = local::date") == 0);
  BOOST_TEST(wrong("business_minute = extract(hour FROM local) * 60 "
                   "+ extract(minute FROM local)")
             == 0);
  BOOST_TEST(wrong("business_hour <= occurred_at AND "
                   "business_hour > occurred_at - interval '1 hour'")
             == 0);
  BOOST_TEST(count("purchases") == static_cast<int64_t>(batch.size()));
}

BOOST_AUTO_TEST_SUITE_END()

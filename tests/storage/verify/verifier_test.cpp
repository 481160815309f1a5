#include "storage/verify/verifier.hpp"

#include "messages/codec/event_codec.hpp"
#include "messages/core/error.hpp"
#include "messages/model/chain.hpp"
#include "storage/postgres/stores.hpp"
#include "tests/support/made_up_events.hpp"
#include "tests/support/must.hpp"
#include "tests/support/postgres_fixture.hpp"
#include "tests/support/take_over.hpp"

#include <pqxx/pqxx>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <latch>
#include <map>
#include <string>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;
using test::must;
using test::why;

namespace {

std::string run(const std::string& dsn, const std::string& sql) {
  pqxx::connection connection{dsn};
  pqxx::work tx{connection};
  auto rows = tx.exec(sql);
  std::string result = rows.empty() ? "" : rows[0][0].c_str();
  tx.commit();
  return result;
}

/// Both databases with the same sales in them.
struct fixture {
  fixture() {
    auto opened = storage::open_aggregate_store(analytics);
    BOOST_REQUIRE_MESSAGE(opened, why(opened));
    store = std::move(*opened);
    test::take_over(analytics, "node-a", {"branch-1", "branch-2", "branch-3"});
    options.wait_max = 300ms;
    options.difference_max = 1000;
    sell(400);
  }

  void record(const std::vector<purchase_event>& sold) {
    test::record_events(oltp, test::made_up_chain(), sold);
  }

  void apply(const std::vector<purchase_event>& sold) {
    std::map<std::string, std::vector<purchase_event>> batches;
    for (const auto& x : sold)
      batches[x.branch_id].push_back(x);
    for (const auto& [branch, batch] : batches) {
      auto outcomes
        = store->apply({test::make_request(branch, 1, cursors[branch], batch)});
      BOOST_REQUIRE_MESSAGE(outcomes, why(outcomes));
      BOOST_REQUIRE(outcomes->front().owned);
      cursors[branch] = outcomes->front().cursor;
    }
  }

  void sell(size_t count) {
    auto sold = maker.make_many(count);
    record(sold);
    apply(sold);
    events.insert(events.end(), sold.begin(), sold.end());
  }

  storage::verify_report verify() {
    auto report = storage::verify(oltp, analytics, options);
    BOOST_REQUIRE_MESSAGE(report, why(report));
    BOOST_CHECK_EQUAL(report->equal(), report->differences.empty());
    return std::move(*report);
  }

  void require_equal() {
    auto report = verify();
    for (const auto& x : report.differences)
      BOOST_ERROR(x);
  }

  std::string oltp = test::fresh_database("oltp");
  std::string analytics = test::fresh_database("analytics");
  storage::aggregate_store_ptr store;
  test::event_maker maker{7, test::recent_sales()};
  std::vector<purchase_event> events;
  std::map<std::string, branch_cursor> cursors;
  storage::verify_options options;
};

bool mentions(const storage::verify_report& report, const std::string& text) {
  return std::ranges::any_of(report.differences, [&](const auto& x) {
    return x.find(text) != std::string::npos;
  });
}

/// A fault, and how it is told.
struct tampering {
  bool in_oltp;
  /// Restored afterwards.
  std::vector<std::string> tables;
  std::string sql;
  std::string told;
};

// `ctid` picks one row without naming it.
const std::vector<tampering>& tamperings() {
  static const std::vector<tampering> result{
    {false,
     {"daily_sales_by_branch"},
     "DELETE FROM daily_sales_by_branch WHERE ctid = (SELECT min(ctid) FROM "
     "daily_sales_by_branch)",
     "is missing; should have revenue_sum"},
    {false,
     {"daily_sales_by_branch"},
     "UPDATE daily_sales_by_branch SET revenue_sum = revenue_sum + 1 WHERE "
     "ctid = (SELECT min(ctid) FROM daily_sales_by_branch)",
     "revenue_sum is"},
    {false,
     {"daily_sales_by_branch"},
     "UPDATE daily_sales_by_branch SET customers = customers - 1",
     "customers is"},
    {false,
     {"daily_sales_by_branch"},
     "UPDATE daily_sales_by_branch SET new_customers = new_customers + 1 WHERE "
     "ctid = (SELECT min(ctid) FROM daily_sales_by_branch)",
     "new_customers is"},
    {false,
     {"daily_sales_by_branch"},
     "UPDATE daily_sales_by_branch SET chain_customers = chain_customers + 1 "
     "WHERE ctid = (SELECT min(ctid) FROM daily_sales_by_branch)",
     "daily_unique_customers: "},
    {false,
     {"hourly_sales_by_branch"},
     "UPDATE hourly_sales_by_branch SET items_sum = items_sum - 1 WHERE ctid = "
     "(SELECT min(ctid) FROM hourly_sales_by_branch)",
     "items_sum is"},
    {false,
     {"hourly_sales_by_branch"},
     "INSERT INTO hourly_sales_by_branch VALUES ('2019-04-01T10:00Z', "
     "'branch-1', '2019-04-01', 0, 0, 0)",
     "branch-1 2019-04-01 2019-04-01 10:00:00+00 should not be"},
    {false,
     {"minute_sales_by_branch"},
     "UPDATE minute_sales_by_branch SET purchases_count = 9 WHERE ctid = "
     "(SELECT min(ctid) FROM minute_sales_by_branch WHERE customers > 0)",
     "minute_sales_by_branch: "},
    {false,
     {"minute_sales_by_branch"},
     "UPDATE minute_sales_by_branch SET chain_customers = chain_customers + 1 "
     "WHERE ctid = (SELECT min(ctid) FROM minute_sales_by_branch)",
     "minute_sales_by_branch (chain): "},
    {false,
     {"minute_sales_by_branch"},
     "UPDATE minute_sales_by_branch SET chain_customers = chain_customers + "
     "CASE branch_id WHEN 'branch-1' THEN 1 ELSE -1 END WHERE ctid IN (SELECT "
     "min(ctid) FROM minute_sales_by_branch WHERE branch_id < 'branch-3' GROUP "
     "BY branch_id)",
     "sums up to"},
    {false,
     {"product_sales_daily"},
     "UPDATE product_sales_daily SET qty_sum = qty_sum + 1 WHERE ctid = "
     "(SELECT min(ctid) FROM product_sales_daily)",
     "qty_sum is"},
    {false,
     {"product_sales_daily"},
     "DELETE FROM product_sales_daily WHERE ctid = (SELECT min(ctid) FROM "
     "product_sales_daily)",
     "is missing; should have qty_sum"},
    {false,
     {"product_labels"},
     "UPDATE product_labels SET outbox_seq = outbox_seq - 1 WHERE ctid = "
     "(SELECT min(ctid) FROM product_labels)",
     "outbox_seq is"},
    {false,
     {"customer_loyalty"},
     "UPDATE customer_loyalty SET last_purchase_at = last_purchase_at + "
     "interval '1 ms' WHERE ctid = (SELECT min(ctid) FROM customer_loyalty)",
     "last_purchase_at is"},
    {false,
     {"customer_loyalty"},
     "INSERT INTO customer_loyalty VALUES (gen_random_uuid(), 'branch-1', 1, "
     "1, now())",
     "customer_loyalty: branch-1 "},
    {false,
     {"daily_customers"},
     "DELETE FROM daily_customers WHERE ctid = (SELECT min(ctid) FROM "
     "daily_customers)",
     "is missing; should have first_minute"},
    {false,
     {"daily_chain_customers"},
     "UPDATE daily_chain_customers SET first_minute = first_minute + 1 WHERE "
     "ctid = (SELECT min(ctid) FROM daily_chain_customers)",
     "first_minute is"},
    {false,
     {"branch_cursors"},
     "UPDATE branch_cursors SET apply_no = apply_no + 1 WHERE branch_id = "
     "'branch-2'",
     "branch_cursors: branch-2: apply_no is"},
    {false,
     {"analytics_event_log"},
     "DELETE FROM analytics_event_log WHERE (branch_id, apply_no) = "
     "('branch-1', 5)",
     "its purchase is committed and not applied"},
    {false,
     {"analytics_event_log"},
     "INSERT INTO analytics_event_log SELECT ('0' || substr(ceiling::text, 2, "
     "34) || 'f')::uuid, 'branch-1', 1, 1, 1, gen_random_uuid(), "
     "'2019-04-01', now() FROM (SELECT max(event_id::text) AS ceiling FROM "
     "analytics_event_log) x",
     "should not be; it has branch_id branch-1"},
    {false,
     {"analytics_event_log"},
     "UPDATE analytics_event_log SET purchase_id = event_id WHERE (branch_id, "
     "apply_no) = ('branch-3', 2)",
     "purchase_id is"},
    {false,
     {"analytics_event_log"},
     "UPDATE analytics_event_log SET apply_no = 3 WHERE (branch_id, apply_no) "
     "= ('branch-3', 2)",
     "branch-3 has apply number 3 2 times"},
    {true,
     {"outbox_events"},
     "DELETE FROM outbox_events WHERE seq = 7",
     "outbox_events: branch-"},
    {true,
     {"outbox_events"},
     "INSERT INTO outbox_events SELECT branch_id, ('0' || "
     "substr(event_id::text, 2, 34) || 'f')::uuid, purchase_id, seq, "
     "created_at, payload, publish_round, status, sent_at FROM outbox_events "
     "WHERE seq = 8",
     "is of no purchase"},
    {true,
     {"outbox_events"},
     "UPDATE outbox_events SET seq = 9999 WHERE seq = 9",
     "and seq 9999, should be"},
    {true,
     {"outbox_events"},
     "UPDATE outbox_events SET payload = replace(payload, '\"total\":\"', "
     "'\"total\":\"1') WHERE seq = 10",
     "tells something else than purchase"},
    {true,
     {"outbox_events"},
     "UPDATE outbox_events SET payload = '{' WHERE seq = 11",
     "tells something else than purchase"},
    {true,
     {"outbox_events"},
     "UPDATE outbox_events SET payload = jsonb_set(payload::jsonb, "
     "'{data,items,0,unit_price}', '\"0.01\"') WHERE seq = 12",
     "tells something else than purchase"},
    {true,
     {"purchase_items"},
     "DELETE FROM purchase_items WHERE ctid = (SELECT min(ctid) FROM "
     "purchase_items)",
     "purchase_items: branch-"},
    {true,
     {"purchase_items"},
     "UPDATE purchase_items SET unit_price_minor = unit_price_minor + 1 WHERE "
     "ctid = (SELECT min(ctid) FROM purchase_items)",
     "in all, should be"},
    {true,
     {"purchase_items"},
     "INSERT INTO purchase_items VALUES ('branch-1', gen_random_uuid(), 1, "
     "'tea', NULL, 1)",
     "has lines and no purchase"},
    {true,
     {"purchases"},
     "UPDATE purchases SET total_minor = total_minor + 1 WHERE outbox_seq = 10",
     "daily_sales_by_branch: "},
    {true,
     {"purchases"},
     "DELETE FROM purchases WHERE outbox_seq = 11",
     "analytics_event_log: "},
    {true,
     {"purchases"},
     "INSERT INTO purchases SELECT branch_id, gen_random_uuid(), event_id, "
     "outbox_seq, gen_random_uuid(), fingerprint, 'other', cashier_id, pos_id, "
     "customer_id, false, total_minor, currency, items_count, occurred_at, "
     "recorded_at, business_day, business_hour, business_minute FROM purchases "
     "WHERE outbox_seq = 12",
     "stands in 2 purchases"},
    {true,
     {"purchases"},
     "UPDATE purchases SET business_day = business_day - 1 WHERE outbox_seq = "
     "13",
     "has business time"},
    {true,
     {"purchases"},
     "UPDATE purchases SET business_hour = business_hour + interval '1 hour' "
     "WHERE outbox_seq = 14",
     "has business time"},
    {true,
     {"branches"},
     "DELETE FROM branches WHERE branch_id = 'branch-2'",
     "branches: branch-2 of purchase"},
    {true,
     {"customers"},
     "DELETE FROM customers WHERE ctid = (SELECT min(ctid) FROM customers)",
     "customers: "},
    {true,
     {"purchases"},
     "UPDATE purchases SET new_customer = true WHERE (branch_id, customer_id) "
     "= (SELECT branch_id, customer_id FROM purchases GROUP BY 1, 2 HAVING "
     "count(*) > 1 LIMIT 1)",
     "is new in"},
  };
  return result;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(verifier_suite, fixture)

BOOST_AUTO_TEST_CASE(good_data_is_equal_and_counted) {
  auto report = verify();
  for (const auto& x : report.differences)
    BOOST_ERROR(x);
  int64_t items = 0;
  for (const auto& x : events)
    items += static_cast<int64_t>(x.items.size());
  BOOST_CHECK_EQUAL(report.purchases, 400);
  BOOST_CHECK_EQUAL(report.items, items);
  BOOST_CHECK_EQUAL(report.outbox_rows, 400);
  BOOST_CHECK_EQUAL(report.logged_events, 400);
  BOOST_CHECK_EQUAL(report.late, 0);
  BOOST_CHECK_EQUAL(report.quarantined, 0);
  BOOST_CHECK_GT(report.aggregate_rows, 1000);
}

BOOST_AUTO_TEST_CASE(two_empty_databases_are_equal) {
  oltp = test::fresh_database("oltp");
  analytics = test::fresh_database("analytics");
  require_equal();
}

BOOST_AUTO_TEST_CASE(every_kind_of_tampering_is_told) {
  for (const auto& x : tamperings()) {
    const auto& dsn = x.in_oltp ? oltp : analytics;
    for (const auto& table : x.tables)
      run(dsn, "CREATE TABLE saved_" + table + " AS TABLE " + table);
    run(dsn, x.sql);
    auto report = verify();
    BOOST_CHECK_MESSAGE(mentions(report, x.told), x.sql);
    if (!mentions(report, x.told))
      for (const auto& y : report.differences)
        BOOST_TEST_MESSAGE(y);
    for (const auto& table : x.tables)
      run(dsn, "TRUNCATE " + table + " CASCADE; INSERT INTO " + table
                 + " TABLE saved_" + table + "; DROP TABLE saved_" + table);
  }
  require_equal();
}

BOOST_AUTO_TEST_CASE(a_purchase_that_is_never_applied_is_told_once) {
  auto lost = maker.make_many(3);
  record(lost);
  auto report = verify();
  BOOST_CHECK_EQUAL(report.late, 3);
  // Nothing else differs: what is late is left out of the comparison.
  BOOST_CHECK_EQUAL(report.differences_count, 3);
  BOOST_CHECK(mentions(report, to_string(lost[0].event_id)));
}

BOOST_AUTO_TEST_CASE(what_is_applied_soon_after_is_no_difference) {
  auto late = maker.make_many(20);
  bool done = false;
  options.progress = [&](const std::string& sentence) {
    // The snapshot of the analytics is taken, that of the purchases is not.
    if (sentence != "counting the purchases" || done)
      return;
    done = true;
    record(late);
    apply(late);
  };
  auto report = verify();
  for (const auto& x : report.differences)
    BOOST_ERROR(x);
  BOOST_CHECK_EQUAL(report.late, 20);
  BOOST_CHECK_EQUAL(report.purchases, 420);
}

BOOST_AUTO_TEST_CASE(tills_that_go_on_selling_cause_no_alarm) {
  std::atomic<bool> stop{false};
  std::atomic<int> sold{0};
  options.wait_max = 30s;
  std::thread till{[&] {
    while (!stop) {
      auto some = maker.make_many(5);
      record(some);
      std::this_thread::sleep_for(2ms);
      apply(some);
      ++sold;
    }
  }};
  for (int i = 0; i < 5; ++i) {
    auto report = verify();
    for (const auto& x : report.differences)
      BOOST_ERROR(x);
  }
  stop = true;
  till.join();
  BOOST_CHECK_GT(sold.load(), 0);
}

BOOST_AUTO_TEST_CASE(it_waits_until_what_was_sold_before_is_applied) {
  auto some = maker.make_many(10);
  record(some);
  std::latch is_waiting{1};
  options.wait_max = 30s;
  options.progress = [&](const std::string& sentence) {
    if (sentence.starts_with("waiting") && !is_waiting.try_wait())
      is_waiting.count_down();
  };
  std::thread shard{[&] {
    is_waiting.wait();
    apply(some);
  }};
  auto report = verify();
  shard.join();
  BOOST_CHECK(report.equal());
  BOOST_CHECK_EQUAL(report.late, 0);
}

BOOST_AUTO_TEST_CASE(below_the_event_logs_floor_everything_counts_as_applied) {
  run(
    analytics,
    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT c.relname FROM pg_inherits "
    "i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = "
    "'analytics_event_log'::regclass AND right(c.relname, 8) <= "
    "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD') LOOP EXECUTE "
    "'DROP TABLE ' || r.relname; END LOOP; END $$");
  require_equal();
  run(analytics, "UPDATE daily_sales_by_branch SET items_sum = 0");
  BOOST_CHECK(!verify().equal());
}

BOOST_AUTO_TEST_CASE(minutes_before_the_window_may_be_gone) {
  auto pruned = store->prune(1000);
  BOOST_REQUIRE(pruned);
  require_equal();
}

BOOST_AUTO_TEST_CASE(what_was_sent_must_be_in_the_stream) {
  options.scan_stream = [&](const auto& visit) -> caf::expected<void> {
    for (const auto& x : events)
      visit(x.event_id, encode_event(x));
    // Redelivered, and unknown.
    visit(events.front().event_id, encode_event(events.front()));
    visit(uuid{}, "");
    return caf::unit;
  };
  auto whole = verify();
  BOOST_CHECK(whole.equal());
  BOOST_CHECK_EQUAL(whole.stream_events, 402);
  auto lost = events.back();
  options.scan_stream = [&](const auto& visit) -> caf::expected<void> {
    for (const auto& x : events)
      if (x.event_id != lost.event_id)
        visit(x.event_id, encode_event(x));
    return caf::unit;
  };
  auto broken = verify();
  BOOST_CHECK_EQUAL(broken.differences_count, 1);
  BOOST_CHECK(mentions(broken, to_string(lost.event_id)));
  options.stream_since = lost.recorded_at + 1ms;
  BOOST_CHECK(verify().equal());
  options.stream_since = timestamp{};
  run(oltp, "UPDATE outbox_events SET status = 'NEW', sent_at = NULL WHERE "
            "event_id = '"
              + to_string(lost.event_id) + "'");
  BOOST_CHECK(verify().equal());
}

BOOST_AUTO_TEST_CASE(the_stream_must_have_the_bytes_of_the_outbox) {
  auto first = events.front();
  auto copies = std::vector{encode_event(first), encode_event(first) + " "};
  options.scan_stream = [&](const auto& visit) -> caf::expected<void> {
    for (size_t i = 1; i < events.size(); ++i)
      visit(events[i].event_id, encode_event(events[i]));
    for (const auto& copy : copies)
      visit(first.event_id, copy);
    return caf::unit;
  };
  // A stranger's copy beside ours.
  BOOST_CHECK(verify().equal());
  copies.erase(copies.begin());
  auto broken = verify();
  BOOST_CHECK_EQUAL(broken.differences_count, 1);
  BOOST_CHECK(mentions(broken, "has other bytes than the outbox"));
}

// Lord Howe's clock is set by half an hour, Chatham's in the middle of one.
BOOST_AUTO_TEST_CASE(hours_in_which_a_clock_is_set_are_no_difference) {
  oltp = test::fresh_database("oltp");
  analytics = test::fresh_database("analytics");
  store = must(storage::open_aggregate_store(analytics));
  tillstream::chain chain;
  chain.branches = {{"chatham", "", "Pacific/Chatham", 135},
                    {"lord-howe", "", "Australia/Lord_Howe", 0}};
  test::take_over(analytics, "node-a", {"chatham", "lord-howe"});
  std::vector<purchase_event> sold;
  cursors.clear();
  for (const auto& shop : chain.branches) {
    auto clock = branch_clock::make(shop);
    BOOST_REQUIRE(clock);
    for (auto set : {"2024-04-06T12:00:00Z", "2024-10-05T12:00:00Z",
                     "2024-09-28T12:00:00Z"})
      for (int minute = 0; minute < 300; minute += 7) {
        auto x = maker.make_many(1).front();
        x.branch_id = shop.id;
        x.outbox_seq = static_cast<int64_t>(sold.size()) + 1;
        x.occurred_at = *parse_rfc3339(set) + std::chrono::minutes{minute};
        x.when = clock->at(x.occurred_at);
        sold.push_back(x);
      }
  }
  test::record_events(oltp, chain, sold);
  apply(sold);
  require_equal();
}

// A till need not send names, and a catalogue need not know them.
BOOST_AUTO_TEST_CASE(items_without_names_are_no_difference) {
  auto sold = maker.make_many(40);
  for (auto& x : sold) {
    x.items.resize(1);
    x.total = x.items.front().unit_price;
    x.items.front().name.clear();
    x.items.front().category.clear();
    if (x.outbox_seq % 2 == 0)
      x.items.front().product_id = "never-named";
  }
  record(sold);
  apply(sold);
  require_equal();
}

// The label has a name of the catalogue, which the purchase does not say.
BOOST_AUTO_TEST_CASE(names_of_the_catalogue_are_no_difference) {
  auto sold = maker.make_many(20);
  apply(sold);
  record(sold);
  run(oltp, "UPDATE purchase_items i SET name = NULL FROM purchases p WHERE "
            "(p.branch_id, p.purchase_id) = (i.branch_id, i.purchase_id) AND "
            "p.outbox_seq > 400");
  require_equal();
  run(analytics, "UPDATE product_labels SET outbox_seq = 1000 WHERE ctid = "
                 "(SELECT min(ctid) FROM product_labels)");
  BOOST_CHECK(mentions(verify(), "outbox_seq is 1000"));
}

BOOST_AUTO_TEST_CASE(a_corrected_day_start_is_no_difference) {
  options.difference_max = 10'000;
  run(oltp, "UPDATE purchases SET recorded_at = recorded_at - interval '5 "
            "minutes'");
  run(oltp, "UPDATE branches SET day_start_minutes = 180 WHERE branch_id = "
            "'branch-1'");
  auto of_days = [&] {
    auto report = verify();
    return std::ranges::count_if(report.differences, [](const auto& x) {
      return x.find("has business time") != std::string::npos;
    });
  };
  BOOST_CHECK_EQUAL(of_days(), 0);
  // From here on the branch has the corrected start; a sale of the old one
  // after it is wrong.
  auto chain = test::made_up_chain();
  chain.branches[0].day_start_minutes = 180;
  auto clock = branch_clock::make(chain.branches[0]);
  BOOST_REQUIRE(clock);
  auto first = maker.make("branch-1");
  first.when = clock->at(first.occurred_at);
  record({first});
  BOOST_CHECK_EQUAL(of_days(), 0);
  auto wrong = maker.make("branch-1");
  wrong.recorded_at = first.recorded_at + 10min;
  record({wrong});
  BOOST_CHECK_EQUAL(of_days(), 1);
}

BOOST_AUTO_TEST_CASE(a_day_of_the_outbox_that_was_kept_is_no_difference) {
  // Yesterday's is kept, as something in it waits; today's is gone.
  run(oltp,
      "DO $$ BEGIN EXECUTE 'DROP TABLE outbox_events_' || "
      "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD'); END $$");
  auto report = verify();
  BOOST_CHECK_EQUAL(
    std::ranges::count_if(
      report.differences,
      [](const auto& x) { return x.starts_with("outbox_events: "); }),
    0);
}

BOOST_AUTO_TEST_CASE(a_stream_that_cannot_be_read_is_an_error) {
  options.scan_stream = [](const auto&) -> caf::expected<void> {
    return caf::make_error(errc::unavailable, "no broker");
  };
  auto report = storage::verify(oltp, analytics, options);
  BOOST_REQUIRE(!report);
  BOOST_CHECK(report.error() == errc::unavailable);
}

BOOST_AUTO_TEST_CASE(quarantined_messages_are_counted) {
  auto batch = std::make_shared<apply_request>(
    *test::make_request("branch-1", 1, cursors["branch-1"], {}));
  batch->events.push_back({1000, {}, "bad", nullptr});
  auto outcomes = store->apply({apply_request_ptr{batch}});
  BOOST_REQUIRE_MESSAGE(outcomes, why(outcomes));
  auto report = verify();
  BOOST_CHECK(report.equal());
  BOOST_CHECK_EQUAL(report.quarantined, 1);
}

BOOST_AUTO_TEST_CASE(only_so_many_sentences_are_kept_but_all_are_counted) {
  run(analytics, "UPDATE hourly_sales_by_branch SET revenue_sum = 0");
  options.difference_max = 5;
  auto report = verify();
  BOOST_CHECK_EQUAL(report.differences.size(), 5u);
  BOOST_CHECK_GT(report.differences_count, 100);
}

BOOST_AUTO_TEST_CASE(a_missing_schema_and_a_missing_server_are_errors) {
  auto no_schema = storage::verify(oltp, test::fresh_database(""), options);
  BOOST_REQUIRE(!no_schema);
  BOOST_CHECK(no_schema.error() == errc::invalid);
  auto no_server
    = storage::verify(oltp, "postgresql://127.0.0.1:1/nothing", options);
  BOOST_REQUIRE(!no_server);
  BOOST_CHECK(no_server.error() == errc::unavailable);
}

BOOST_AUTO_TEST_SUITE_END()

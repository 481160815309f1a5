#include "storage/ports/aggregate_store.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/metrics.hpp"
#include "storage/postgres/stores.hpp"
#include "tests/support/made_up_events.hpp"
#include "tests/support/postgres_fixture.hpp"
#include "tests/support/take_over.hpp"

#include <pqxx/pqxx>

#include <fmt/format.h>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

const std::vector<std::string> all_branches{"branch-1", "branch-2", "branch-3"};

timestamp now_ms() {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(
    std::chrono::system_clock::now());
}

template <class T>
std::string why(const caf::expected<T>& x) {
  return x ? std::string{} : describe(x.error());
}

/// Polls for half a minute. @returns whether `condition` came true.
template <class F>
bool wait_until(F condition) {
  auto deadline = std::chrono::steady_clock::now() + 30s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

/// What a shard keeps in memory, fed with outcomes only.
struct shard_memory {
  branch_cursor cursor;
  std::map<calendar_day, day_totals> days;
  std::map<std::pair<calendar_day, int>, minute_totals> minutes;
  std::map<uuid, loyalty> loyal;
  std::map<std::string, product_label> labels;

  void follow(const apply_outcome& x) {
    cursor = x.cursor;
    for (const auto& [day, sales] : x.added.days)
      days[day].sales += sales;
    for (const auto& [day, counts] : x.customers)
      days[day].customers += counts;
    for (const auto& [key, sales] : x.added.minutes)
      minutes[key].sales += sales;
    for (const auto& [key, visits] : x.visits) {
      minutes[key].customers += visits.first;
      minutes[key].chain += visits.second;
    }
    for (const auto& [customer, totals] : x.loyal)
      loyal[customer] = totals;
    for (const auto& [product, label] : x.added.labels) {
      auto [i, is_new] = labels.try_emplace(product, label);
      if (!is_new && label.outbox_seq > i->second.outbox_seq)
        i->second = label;
    }
  }
};

/// A database of its own, and a store on it that owns all branches.
struct fixture {
  fixture() {
    take("node-a");
  }

  storage::aggregate_store_ptr open() const {
    auto opened = storage::open_aggregate_store(dsn);
    BOOST_REQUIRE_MESSAGE(opened, why(opened));
    return std::move(*opened);
  }

  void take(const std::string& node) {
    for (const auto& x : test::take_over(dsn, node, all_branches))
      epochs[x.branch_id] = x.epoch;
  }

  test::event_maker maker(uint64_t seed, int customers = 40) const {
    test::event_options options;
    options.now = now_ms() - 1min;
    options.customers = customers;
    return {seed, options};
  }

  apply_request_ptr request(const std::string& branch,
                            const std::vector<purchase_event>& events) const {
    auto i = memory.find(branch);
    return test::make_request(
      branch, epochs.at(branch),
      i == memory.end() ? branch_cursor{} : i->second.cursor, events);
  }

  /// Applies, and follows in memory.
  std::vector<apply_outcome>
  apply(const std::vector<apply_request_ptr>& requests) {
    auto outcomes = store->apply(requests);
    BOOST_REQUIRE_MESSAGE(outcomes, why(outcomes));
    BOOST_REQUIRE_EQUAL(outcomes->size(), requests.size());
    for (size_t i = 0; i < requests.size(); ++i)
      if ((*outcomes)[i].owned)
        memory[requests[i]->branch_id].follow((*outcomes)[i]);
    return std::move(*outcomes);
  }

  apply_outcome
  apply(const std::string& branch, const std::vector<purchase_event>& events) {
    return apply({request(branch, events)}).front();
  }

  void run(const std::string& sql) const {
    pqxx::connection connection{dsn};
    pqxx::work tx{connection};
    tx.exec(sql);
    tx.commit();
  }

  std::string text(const std::string& sql) const {
    pqxx::connection connection{dsn};
    pqxx::work tx{connection};
    tx.exec("SET LOCAL timezone = 'UTC'");
    return tx.exec(sql)[0][0].c_str();
  }

  int64_t number(const std::string& sql) const {
    return std::stoll(text(sql));
  }

  /// Rows that are in one of both queries only.
  int64_t difference(const std::string& a, const std::string& b) const {
    return number(
      fmt::format("SELECT (SELECT count(*) FROM (({0}) EXCEPT ALL ({1})) x) + "
                  "(SELECT count(*) FROM (({1}) EXCEPT ALL ({0})) y)",
                  a, b));
  }

  void check_tables_against_truth() const;
  void check_memory_against_tables();

  std::string dsn = test::fresh_database("analytics");
  storage::aggregate_store_ptr store = open();
  std::map<std::string, int64_t> epochs;
  std::map<std::string, shard_memory> memory;
};

/// Counts everything a second time, from the list of events.
void fixture::check_tables_against_truth() const {
  auto from = fmt::format("(clock_timestamp() AT TIME ZONE 'UTC')::date - {}",
                          limits::minute_days);
  BOOST_CHECK_EQUAL(
    0, difference("SELECT event_id, branch_id, day, outbox_seq, recorded_at "
                  "FROM truth_sales",
                  "SELECT event_id, branch_id, business_day, outbox_seq, "
                  "recorded_at FROM analytics_event_log"));
  BOOST_CHECK_EQUAL(
    0, difference("SELECT day, branch_id, sum(total)::bigint, "
                  "sum(items)::bigint, count(*), count(DISTINCT customer_id), "
                  "count(*) FILTER (WHERE new_customer) FROM truth_sales "
                  "GROUP BY 1, 2",
                  "SELECT day, branch_id, revenue_sum, items_sum, "
                  "purchases_count, customers, new_customers "
                  "FROM daily_sales_by_branch"));
  BOOST_CHECK_EQUAL(
    0, difference("SELECT day, branch_id, count(DISTINCT customer_id), "
                  "count(*) FILTER (WHERE new_customer) FROM truth_sales "
                  "GROUP BY 1, 2 UNION ALL "
                  "SELECT day, '*', count(DISTINCT customer_id), "
                  "count(*) FILTER (WHERE new_customer) FROM truth_sales "
                  "GROUP BY 1",
                  "SELECT day, scope, customers, new_customers "
                  "FROM daily_unique_customers"));
  BOOST_CHECK_EQUAL(
    0, difference("SELECT hour, branch_id, day, sum(total)::bigint, "
                  "sum(items)::bigint, count(*) FROM truth_sales "
                  "GROUP BY 1, 2, 3",
                  "SELECT hour, branch_id, day, revenue_sum, items_sum, "
                  "purchases_count FROM hourly_sales_by_branch"));
  BOOST_CHECK_EQUAL(
    0, difference("SELECT day, branch_id, product_id, count(*), "
                  "sum(price)::bigint FROM truth_sales JOIN truth_items "
                  "USING (event_id) GROUP BY 1, 2, 3",
                  "SELECT day, branch_id, product_id, qty_sum, revenue_sum "
                  "FROM product_sales_daily"));
  BOOST_CHECK_EQUAL(
    0, difference("SELECT DISTINCT ON (branch_id, product_id) branch_id, "
                  "product_id, name, category, outbox_seq FROM truth_sales "
                  "JOIN truth_items USING (event_id) "
                  "ORDER BY branch_id, product_id, outbox_seq DESC",
                  "SELECT branch_id, product_id, name, category, outbox_seq "
                  "FROM product_labels"));
  BOOST_CHECK_EQUAL(
    0, difference("SELECT customer_id, branch_id, count(*), "
                  "sum(total)::bigint, max(occurred_at) FROM truth_sales "
                  "GROUP BY 1, 2",
                  "SELECT customer_id, branch_id, purchases_count, "
                  "revenue_sum, last_purchase_at FROM customer_loyalty"));
  BOOST_CHECK_EQUAL(
    0, difference("SELECT branch_id, day, customer_id, min(minute) "
                  "FROM truth_sales GROUP BY 1, 2, 3",
                  "SELECT branch_id, day, customer_id, first_minute::int "
                  "FROM daily_customers"));
  BOOST_CHECK_EQUAL(
    0, difference("SELECT day, customer_id, min(minute) FROM truth_sales "
                  "GROUP BY 1, 2",
                  "SELECT day, customer_id, first_minute::int "
                  "FROM daily_chain_customers"));
  BOOST_CHECK_EQUAL(
    0,
    difference(fmt::format("SELECT branch_id, day, minute, sum(total)::bigint, "
                           "sum(items)::bigint, count(*) FROM truth_sales "
                           "WHERE day >= {} GROUP BY 1, 2, 3",
                           from),
               "SELECT branch_id, day, minute::int, revenue_sum, items_sum, "
               "purchases_count FROM minute_sales_by_branch "
               "WHERE purchases_count > 0"));
  BOOST_CHECK_EQUAL(
    0, difference(
         fmt::format("SELECT branch_id, day, minute, count(*) FROM (SELECT "
                     "branch_id, day, customer_id, min(minute) AS minute "
                     "FROM truth_sales WHERE day >= {} GROUP BY 1, 2, 3) f "
                     "GROUP BY 1, 2, 3",
                     from),
         "SELECT branch_id, day, minute::int, customers "
         "FROM minute_sales_by_branch WHERE customers <> 0"));
  BOOST_CHECK_EQUAL(
    0, difference(
         fmt::format("SELECT day, minute, count(*) FROM (SELECT day, "
                     "customer_id, min(minute) AS minute FROM truth_sales "
                     "WHERE day >= {} GROUP BY 1, 2) f GROUP BY 1, 2",
                     from),
         "SELECT day, minute::int, sum(chain_customers)::bigint "
         "FROM minute_sales_by_branch GROUP BY 1, 2 "
         "HAVING sum(chain_customers) <> 0"));
  BOOST_CHECK_EQUAL(
    0, difference("SELECT branch_id, count(*), max(outbox_seq), "
                  "max(recorded_at) FROM truth_sales GROUP BY 1",
                  "SELECT branch_id, apply_no, outbox_seq, recorded_at "
                  "FROM branch_cursors WHERE apply_no > 0"));
  // Gapless from 1 on.
  BOOST_CHECK_EQUAL(
    0, number("SELECT count(*) FROM (SELECT apply_no - row_number() OVER "
              "(PARTITION BY branch_id ORDER BY apply_no) AS gap "
              "FROM analytics_event_log) x WHERE gap <> 0"));
}

/// A new store loads what the outcomes added up to.
void fixture::check_memory_against_tables() {
  auto reader = open();
  for (const auto& [branch, kept] : memory) {
    auto state = reader->load(branch);
    BOOST_REQUIRE(state);
    BOOST_CHECK(state->cursor == kept.cursor);
    BOOST_CHECK_EQUAL(state->epoch, epochs.at(branch));
    BOOST_CHECK(state->days == kept.days);
    slice_request query;
    query.branch_id = branch;
    query.what = slice_request::kind::minutes;
    std::map<std::pair<calendar_day, int>, minute_totals> minutes;
    for (const auto& [day, totals] : state->days) {
      query.from = query.to = day;
      auto piece = reader->load_slice(query);
      BOOST_REQUIRE(piece);
      BOOST_CHECK_EQUAL(piece->apply_no, kept.cursor.apply_no);
      for (const auto& [minute, x] : piece->minutes)
        minutes.emplace(std::pair{day, minute}, x);
    }
    auto in_memory = kept.minutes;
    auto first = calendar_day{std::chrono::floor<std::chrono::days>(now_ms())}
                 - std::chrono::days{limits::minute_days};
    std::erase_if(in_memory,
                  [&](const auto& x) { return x.first.first < first; });
    BOOST_CHECK(minutes == in_memory);
    query.what = slice_request::kind::products;
    query.from = state->days.begin()->first;
    query.to = state->days.rbegin()->first;
    auto products = reader->load_slice(query);
    BOOST_REQUIRE(products);
    BOOST_CHECK(products->labels == kept.labels);
  }
}

std::map<std::string, std::vector<purchase_event>>
by_branch(const std::vector<purchase_event>& events) {
  std::map<std::string, std::vector<purchase_event>> result;
  for (const auto& x : events)
    result[x.branch_id].push_back(x);
  return result;
}

template <class T>
T pop_some(T& from, size_t count) {
  count = std::min(count, from.size());
  auto end = from.begin() + static_cast<ptrdiff_t>(count);
  T result(from.begin(), end);
  from.erase(from.begin(), end);
  return result;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(aggregate_store_suite, fixture)

BOOST_AUTO_TEST_CASE(every_event_counts_once_however_it_is_delivered) {
  for (uint64_t seed : {std::random_device{}(), 1u, 2u}) {
    BOOST_TEST_MESSAGE("seed " << seed);
    fixture own;
    auto maker = own.maker(seed);
    auto events = maker.make_many(600);
    auto waiting = by_branch(events);
    // Not quite in order, and each fifth a second time.
    auto& random = maker.random();
    for (auto& [branch, queue] : waiting) {
      auto again = queue;
      std::shuffle(again.begin(), again.end(), random);
      again.resize(again.size() / 5);
      queue.insert(queue.end(), again.begin(), again.end());
      std::shuffle(queue.begin(), queue.end(), random);
    }
    int64_t duplicates = 0;
    while (
      std::ranges::any_of(waiting, [](auto& x) { return !x.second.empty(); })) {
      std::vector<apply_request_ptr> batch;
      for (auto& [branch, queue] : waiting)
        if (!queue.empty() && random() % 3 != 0)
          batch.push_back(
            own.request(branch, pop_some(queue, 1 + random() % 60)));
      std::shuffle(batch.begin(), batch.end(), random);
      if (batch.empty())
        continue;
      for (const auto& outcome : own.apply(batch)) {
        BOOST_CHECK(outcome.owned);
        BOOST_CHECK_EQUAL(outcome.added.events,
                          static_cast<int64_t>(outcome.applied.size()));
        duplicates += outcome.duplicates;
      }
    }
    BOOST_CHECK_GT(duplicates, 100);
    test::load_truth(own.dsn, events);
    own.check_tables_against_truth();
    own.check_memory_against_tables();
  }
}

BOOST_AUTO_TEST_CASE(stores_side_by_side_share_the_customers_of_the_chain) {
  // Few customers, so that nearly every row of the chain's set is contended.
  auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  auto events = maker(seed, 300).make_many(6000);
  auto queues = by_branch(events);
  std::atomic<int> failures{0};
  auto work = [&](const std::string& branch) {
    auto own = storage::open_aggregate_store(dsn);
    branch_cursor cursor;
    auto queue = queues.at(branch);
    while (own && !queue.empty()) {
      auto outcomes = (*own)->apply({test::make_request(
        branch, epochs.at(branch), cursor, pop_some(queue, 100))});
      if (!outcomes || !outcomes->front().owned) {
        ++failures;
        return;
      }
      cursor = outcomes->front().cursor;
    }
  };
  std::vector<std::thread> threads;
  for (const auto& x : all_branches)
    threads.emplace_back(work, x);
  for (auto& x : threads)
    x.join();
  BOOST_CHECK_EQUAL(failures.load(), 0);
  test::load_truth(dsn, events);
  check_tables_against_truth();
}

BOOST_AUTO_TEST_CASE(a_first_visit_moves_to_an_earlier_minute_in_both_sets) {
  auto maker = this->maker(1);
  auto day = std::chrono::floor<std::chrono::days>(now_ms()) - 48h;
  auto who = maker.any_customer();
  auto at_ten = maker.make_at("branch-1", who, timestamp{day + 10h});
  auto at_nine = maker.make_at("branch-1", who, timestamp{day + 9h});
  auto key = [&](int minute) {
    return std::pair{calendar_day{std::chrono::floor<std::chrono::days>(day)},
                     minute};
  };
  using signs = std::pair<int64_t, int64_t>;
  auto first = apply("branch-1", {at_ten});
  BOOST_CHECK_EQUAL(first.visits.size(), 1u);
  BOOST_CHECK((first.visits.at(key(600)) == signs{1, 1}));
  BOOST_CHECK_EQUAL(first.customers.begin()->second.customers, 1);
  BOOST_CHECK_EQUAL(first.customers.begin()->second.chain, 1);
  auto second = apply("branch-1", {at_nine});
  BOOST_CHECK((second.visits.at(key(540)) == signs{1, 1}));
  BOOST_CHECK((second.visits.at(key(600)) == signs{-1, -1}));
  BOOST_CHECK(second.customers.empty());
  // 08:00 of the same date in Kolkata: earlier for the chain, new for branch-3.
  auto elsewhere
    = maker.make_at("branch-3", who, timestamp{day + 8h - 5h - 30min});
  auto third = apply("branch-3", {elsewhere});
  BOOST_CHECK((third.visits.at(key(480)) == signs{1, 1}));
  BOOST_CHECK((third.visits.at(key(540)) == signs{0, -1}));
  BOOST_CHECK_EQUAL(third.customers.begin()->second.customers, 1);
  BOOST_CHECK_EQUAL(third.customers.begin()->second.chain, 0);
  // Later in the day: nothing moves.
  auto later = maker.make_at("branch-1", who, timestamp{day + 12h});
  BOOST_CHECK(apply("branch-1", {later}).visits.empty());
  test::load_truth(dsn, {at_ten, at_nine, elsewhere, later});
  check_tables_against_truth();
  check_memory_against_tables();
}

BOOST_AUTO_TEST_CASE(a_customer_of_two_branches_in_one_batch_counts_once) {
  auto maker = this->maker(2);
  auto day = std::chrono::floor<std::chrono::days>(now_ms()) - 48h;
  auto who = maker.any_customer();
  auto one = maker.make_at("branch-1", who, timestamp{day + 11h});
  auto three = maker.make_at("branch-3", who, timestamp{day + 9h - 5h - 30min});
  auto outcomes
    = apply({request("branch-3", {three}), request("branch-1", {one})});
  // The earlier visit brings the customer to the chain.
  BOOST_CHECK_EQUAL(outcomes[0].customers.begin()->second.chain, 1);
  BOOST_CHECK_EQUAL(outcomes[1].customers.begin()->second.chain, 0);
  BOOST_CHECK_EQUAL(outcomes[1].customers.begin()->second.customers, 1);
  test::load_truth(dsn, {one, three});
  check_tables_against_truth();
  check_memory_against_tables();
}

BOOST_AUTO_TEST_CASE(days_before_the_window_have_sets_but_no_minutes) {
  auto maker = this->maker(3);
  auto long_ago = now_ms() - 24h * (limits::minute_days + 3);
  auto old = maker.make_at("branch-1", maker.any_customer(), long_ago);
  auto outcome = apply("branch-1", {old});
  BOOST_CHECK(outcome.visits.empty());
  BOOST_CHECK_EQUAL(outcome.customers.begin()->second.customers, 1);
  BOOST_CHECK_EQUAL(number("SELECT count(*) FROM minute_sales_by_branch"), 0);
  BOOST_CHECK_EQUAL(number("SELECT first_minute FROM daily_customers"),
                    old.when.minute);
}

BOOST_AUTO_TEST_CASE(an_event_twice_in_a_batch_is_applied_once) {
  auto event = maker(4).make("branch-1");
  auto outcome = apply("branch-1", {event, event});
  BOOST_CHECK_EQUAL(outcome.duplicates, 1);
  BOOST_CHECK_EQUAL(outcome.applied.size(), 1u);
  BOOST_CHECK_EQUAL(outcome.cursor.apply_no, 1);
  BOOST_CHECK_EQUAL(outcome.cursor.stream_seq, 2u);
}

BOOST_AUTO_TEST_CASE(only_duplicates_move_the_cursor_and_nothing_else) {
  auto event = maker(5).make("branch-1");
  auto first = apply("branch-1", {event});
  auto second = apply("branch-1", {event});
  BOOST_CHECK(second.owned);
  BOOST_CHECK_EQUAL(second.duplicates, 1);
  BOOST_CHECK(second.applied.empty());
  BOOST_CHECK(second.loyal.empty());
  BOOST_CHECK_EQUAL(second.cursor.stream_seq, first.cursor.stream_seq + 1);
  BOOST_CHECK_EQUAL(second.cursor.apply_no, 1);
  check_memory_against_tables();
}

BOOST_AUTO_TEST_CASE(an_event_id_under_two_branches_is_applied_once) {
  auto maker = this->maker(6);
  auto one = maker.make("branch-1");
  auto other = maker.make("branch-2");
  other.event_id = one.event_id;
  auto outcomes
    = apply({request("branch-1", {one}), request("branch-2", {other})});
  BOOST_CHECK_EQUAL(outcomes[0].applied.size(), 1u);
  BOOST_CHECK_EQUAL(outcomes[1].duplicates, 1);
}

BOOST_AUTO_TEST_CASE(a_stale_epoch_is_left_out_and_costs_no_neighbour) {
  auto maker = this->maker(7);
  auto stale = request("branch-1", {maker.make("branch-1")});
  auto fine = request("branch-2", {maker.make("branch-2")});
  auto before = epochs;
  auto taken = test::take_over(dsn, "node-b", {"branch-1"});
  BOOST_REQUIRE_EQUAL(taken.size(), 1u);
  BOOST_CHECK_EQUAL(taken.front().epoch, before.at("branch-1") + 1);
  auto outcomes = apply({stale, fine});
  BOOST_CHECK(!outcomes[0].owned);
  BOOST_CHECK(!outcomes[0].moved);
  BOOST_CHECK(outcomes[0].applied.empty());
  BOOST_CHECK(outcomes[1].owned);
  BOOST_CHECK_EQUAL(number("SELECT count(*) FROM analytics_event_log"), 1);
}

BOOST_AUTO_TEST_CASE(a_branch_that_moved_meanwhile_is_left_out) {
  auto maker = this->maker(8);
  auto late = request("branch-1", {maker.make("branch-1")});
  apply("branch-1", {maker.make("branch-1")});
  auto outcomes = store->apply({late});
  BOOST_REQUIRE(outcomes);
  BOOST_CHECK(!outcomes->front().owned);
  BOOST_CHECK(outcomes->front().moved);
  BOOST_CHECK_EQUAL(number("SELECT count(*) FROM analytics_event_log"), 1);
}

BOOST_AUTO_TEST_CASE(a_takeover_waits_for_the_apply_and_shuts_out_the_next) {
  // Holds the apply inside its transaction until the takeover waits for it.
  run("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
      "PERFORM pg_advisory_xact_lock(42); RETURN NULL; END $$; "
      "CREATE TRIGGER hold AFTER INSERT ON daily_sales_by_branch "
      "FOR EACH STATEMENT EXECUTE FUNCTION hold()");
  auto maker = this->maker(9);
  auto first = request("branch-1", {maker.make("branch-1")});
  auto later_event = maker.make("branch-1");
  pqxx::connection blocker{dsn};
  pqxx::work block{blocker};
  block.exec("SELECT pg_advisory_xact_lock(42)");
  std::vector<apply_outcome> applied;
  std::thread applying{[&] {
    if (auto x = store->apply({first}))
      applied = std::move(*x);
  }};
  BOOST_CHECK(wait_until([&] {
    return number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
                  "AND NOT granted")
           > 0;
  }));
  std::vector<ownership> taken;
  std::thread taking{
    [&] { taken = test::take_over(dsn, "node-b", all_branches); }};
  BOOST_CHECK(wait_until([&] {
    return number("SELECT count(*) FROM pg_stat_activity WHERE "
                  "wait_event_type = 'Lock' AND query LIKE "
                  "'%AND incarnation = $2%'")
           > 0;
  }));
  block.commit();
  applying.join();
  taking.join();
  BOOST_REQUIRE_EQUAL(applied.size(), 1u);
  BOOST_CHECK(applied.front().owned);
  BOOST_CHECK_EQUAL(taken.size(), 3u);
  memory["branch-1"].follow(applied.front());
  BOOST_CHECK(!apply("branch-1", {later_event}).owned);
}

BOOST_AUTO_TEST_CASE(
  a_session_that_ends_inside_commit_leaves_the_outcome_open) {
  // A deferred trigger stretches the COMMIT.
  run("CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
      "PERFORM pg_advisory_xact_lock(43); RETURN NULL; END $$; "
      "CREATE CONSTRAINT TRIGGER linger AFTER UPDATE ON branch_cursors "
      "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION linger()");
  auto maker = this->maker(10);
  auto event = maker.make("branch-1");
  auto batch = request("branch-1", {event});
  pqxx::connection blocker{dsn};
  pqxx::work block{blocker};
  block.exec("SELECT pg_advisory_xact_lock(43)");
  std::optional<caf::expected<std::vector<apply_outcome>>> outcome;
  std::thread applying{[&] { outcome.emplace(store->apply({batch})); }};
  BOOST_CHECK(wait_until([&] {
    return number("SELECT count(*) FROM pg_stat_activity WHERE query = "
                  "'COMMIT' AND wait_event = 'advisory'")
           > 0;
  }));
  run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
      "WHERE query = 'COMMIT' AND wait_event = 'advisory'");
  applying.join();
  block.commit();
  BOOST_REQUIRE(outcome);
  BOOST_REQUIRE(!*outcome);
  BOOST_CHECK(outcome->error() == errc::in_doubt);
  // The shard loads, and the broker delivers again.
  store = open();
  auto state = store->load("branch-1");
  BOOST_REQUIRE(state);
  memory["branch-1"].cursor = state->cursor;
  memory["branch-1"].days = state->days;
  auto again = apply("branch-1", {event});
  BOOST_CHECK_EQUAL(again.applied.size() + again.duplicates, 1u);
  test::load_truth(dsn, {event});
  check_tables_against_truth();
}

BOOST_AUTO_TEST_CASE(a_session_that_is_lost_before_commit_wrote_nothing) {
  auto event = maker(11).make("branch-1");
  run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
      "WHERE application_name = 'tillstream-analytics'");
  auto outcome = store->apply({request("branch-1", {event})});
  BOOST_REQUIRE(!outcome);
  BOOST_CHECK(outcome.error() == errc::unavailable);
  BOOST_CHECK_EQUAL(number("SELECT count(*) FROM analytics_event_log"), 0);
}

BOOST_AUTO_TEST_CASE(a_deadlock_is_tried_again) {
  run("CREATE SEQUENCE tries; "
      "CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ "
      "BEGIN IF nextval('tries') = 1 THEN RAISE deadlock_detected; END IF; "
      "RETURN NULL; END $$; "
      "CREATE TRIGGER fail_once AFTER INSERT ON daily_sales_by_branch "
      "FOR EACH STATEMENT EXECUTE FUNCTION fail_once()");
  auto event = maker(12).make("branch-1");
  BOOST_CHECK_EQUAL(apply("branch-1", {event}).applied.size(), 1u);
  BOOST_CHECK_EQUAL(number("SELECT last_value FROM tries"), 2);
  check_memory_against_tables();
}

BOOST_AUTO_TEST_CASE(a_deadlock_that_does_not_end_is_told_after_bounded_tries) {
  run("CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ "
      "BEGIN RAISE deadlock_detected; END $$; "
      "CREATE TRIGGER fail AFTER INSERT ON daily_sales_by_branch "
      "FOR EACH STATEMENT EXECUTE FUNCTION fail()");
  auto outcome
    = store->apply({request("branch-1", {maker(13).make("branch-1")})});
  BOOST_REQUIRE(!outcome);
  BOOST_CHECK(outcome.error() == errc::unavailable);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_applied_is_set_aside_and_stops_nobody) {
  auto maker = this->maker(14);
  auto good = maker.make("branch-1");
  auto old = maker.make("branch-1");
  uuid_source ids{14};
  old.event_id = ids.v7(now_ms() - 24h * (limits::retention_days + 5));
  auto future = maker.make("branch-1");
  future.event_id = ids.v7(now_ms() + 48h);
  auto batch = std::make_shared<apply_request>(
    *request("branch-1", {old, good, future}));
  auto raw = std::make_shared<const std::string>("\0{\xff'", 4);
  batch->events.push_back({4, {}, "not JSON: \xff\n\x01", raw});
  auto outcome = apply({apply_request_ptr{batch}}).front();
  BOOST_CHECK_EQUAL(outcome.quarantined, 3);
  BOOST_CHECK_EQUAL(outcome.applied.size(), 1u);
  BOOST_CHECK_EQUAL(outcome.cursor.stream_seq, 4u);
  BOOST_CHECK_EQUAL(outcome.cursor.apply_no, 1);
  BOOST_CHECK_EQUAL(outcome.cursor.outbox_seq, good.outbox_seq);
  BOOST_CHECK_EQUAL(text("SELECT string_agg(stream_seq::text, ',' ORDER BY "
                         "stream_seq) FROM quarantined_events"),
                    "1,3,4");
  BOOST_CHECK_EQUAL(text("SELECT raw::text FROM quarantined_events "
                         "WHERE stream_seq = 4"),
                    "\\x007bff27");
  BOOST_CHECK_EQUAL(text("SELECT reason FROM quarantined_events "
                         "WHERE stream_seq = 4"),
                    "not JSON: ???");
  BOOST_CHECK(text("SELECT reason FROM quarantined_events WHERE stream_seq = 1")
                .starts_with("older than the event log"));
  BOOST_CHECK_EQUAL(text("SELECT subject FROM quarantined_events LIMIT 1"),
                    "purchases.created.branch-1");
  BOOST_CHECK_EQUAL(apply("branch-1", {maker.make("branch-1")}).applied.size(),
                    1u);
}

BOOST_AUTO_TEST_CASE(many_bad_messages_in_one_batch_are_all_set_aside) {
  auto batch = std::make_shared<apply_request>(*request("branch-1", {}));
  for (uint64_t seq = 1; seq <= 100; ++seq)
    batch->events.push_back(
      {seq, {}, "bad", std::make_shared<const std::string>(1000, 'x')});
  auto outcome = apply({apply_request_ptr{batch}}).front();
  BOOST_CHECK_EQUAL(outcome.quarantined, 100);
  BOOST_CHECK_EQUAL(outcome.cursor.stream_seq, 100u);
  BOOST_CHECK_EQUAL(number("SELECT count(*) FROM quarantined_events"), 100);
}

BOOST_AUTO_TEST_CASE(a_missing_partition_is_our_trouble_and_loses_no_event) {
  // Only what is before today is left.
  run("DO $$ DECLARE r record; BEGIN FOR r IN SELECT c.relname FROM "
      "pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent "
      "= 'analytics_event_log'::regclass AND right(c.relname, 8) >= "
      "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD') LOOP "
      "EXECUTE 'DROP TABLE ' || r.relname; END LOOP; END $$");
  auto maker = this->maker(15);
  auto event = maker.make("branch-1");
  event.event_id = uuid_source{15}.v7(now_ms());
  auto outcome = store->apply({request("branch-1", {event})});
  BOOST_REQUIRE(!outcome);
  BOOST_CHECK(outcome.error() == errc::internal);
  BOOST_CHECK_EQUAL(number("SELECT count(*) FROM quarantined_events"), 0);
}

// Goal: what the store remembers of the log's range makes no event applied
// twice and none lost. Method: partitions go while it is open.
BOOST_AUTO_TEST_CASE(an_event_whose_partition_went_meanwhile_is_set_aside) {
  auto maker = this->maker(21);
  uuid_source ids{21};
  auto aged = [&](std::chrono::milliseconds age) {
    auto result = maker.make("branch-1");
    result.event_id = ids.v7(now_ms() - age);
    return result;
  };
  BOOST_CHECK_EQUAL(apply("branch-1", {aged(48h)}).applied.size(), 1u);
  run("DO $$ DECLARE r record; BEGIN FOR r IN SELECT c.relname FROM "
      "pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent "
      "= 'analytics_event_log'::regclass AND right(c.relname, 8) < "
      "to_char(clock_timestamp() AT TIME ZONE 'UTC' - interval '24 hours', "
      "'YYYYMMDD') LOOP "
      "EXECUTE 'DROP TABLE ' || r.relname; END LOOP; END $$");
  auto outcome = apply("branch-1", {aged(48h), aged(0h)});
  BOOST_CHECK_EQUAL(outcome.quarantined, 1);
  BOOST_CHECK_EQUAL(outcome.applied.size(), 1u);
  BOOST_CHECK(text("SELECT reason FROM quarantined_events")
                .starts_with("older than the event log"));
}

// Goal: an old look at the log's range turns no event away.
BOOST_AUTO_TEST_CASE(an_event_of_a_partition_that_came_meanwhile_is_applied) {
  auto maker = this->maker(22);
  uuid_source ids{22};
  auto aged = [&](std::chrono::milliseconds age) {
    auto result = maker.make("branch-1");
    result.event_id = ids.v7(now_ms() - age);
    return result;
  };
  auto of_yesterday_and_before
    = "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE "
      "i.inhparent = 'analytics_event_log'::regclass AND right(c.relname, 8) < "
      "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD')";
  run("CREATE TABLE set_aside AS SELECT c.relname, "
      "pg_get_expr(c.relpartbound, c.oid) AS bound "
      + std::string{of_yesterday_and_before});
  run("DO $$ DECLARE r record; BEGIN FOR r IN SELECT relname FROM set_aside "
      "LOOP EXECUTE format('ALTER TABLE analytics_event_log DETACH PARTITION "
      "%I', r.relname); END LOOP; END $$");
  BOOST_CHECK_EQUAL(apply("branch-1", {aged(0h)}).applied.size(), 1u);
  run("DO $$ DECLARE r record; BEGIN FOR r IN SELECT relname, bound FROM "
      "set_aside LOOP EXECUTE format('ALTER TABLE analytics_event_log ATTACH "
      "PARTITION %I ', r.relname) || r.bound; END LOOP; END $$");
  auto outcome = apply("branch-1", {aged(48h)});
  BOOST_CHECK_EQUAL(outcome.quarantined, 0);
  BOOST_CHECK_EQUAL(outcome.applied.size(), 1u);
}

BOOST_AUTO_TEST_CASE(a_new_incarnation_is_stored_without_events) {
  auto maker = this->maker(16);
  apply("branch-1", {maker.make("branch-1"), maker.make("branch-1")});
  auto before = memory["branch-1"].cursor;
  auto batch = std::make_shared<apply_request>(*request("branch-1", {}));
  batch->stream_incarnation = "2026-02-02T00:00:00Z";
  auto outcome = apply({apply_request_ptr{batch}}).front();
  BOOST_CHECK(outcome.owned);
  BOOST_CHECK_EQUAL(outcome.cursor.stream_incarnation, "2026-02-02T00:00:00Z");
  BOOST_CHECK_EQUAL(outcome.cursor.stream_seq, 0u);
  BOOST_CHECK_EQUAL(outcome.cursor.apply_no, before.apply_no);
  BOOST_CHECK_EQUAL(outcome.cursor.outbox_seq, before.outbox_seq);
  auto next = apply("branch-1", {maker.make("branch-1")});
  BOOST_CHECK_EQUAL(next.cursor.stream_seq, 1u);
  check_memory_against_tables();
}

BOOST_AUTO_TEST_CASE(a_label_follows_the_latest_sale_whatever_comes_first) {
  auto maker = this->maker(17);
  std::vector<purchase_event> events;
  for (const auto* name : {"old", "middle", "new"}) {
    auto x = maker.make("branch-1");
    x.items = {{"tea", name, "", 100}};
    x.total = 100;
    events.push_back(x);
  }
  events[2].items[0].name = "old";
  // 1st, 3rd (the same name), then the one in between.
  apply("branch-1", {events[0]});
  apply("branch-1", {events[2]});
  apply("branch-1", {events[1]});
  BOOST_CHECK_EQUAL(text("SELECT name FROM product_labels"), "old");
  check_memory_against_tables();
}

BOOST_AUTO_TEST_CASE(slices_are_what_the_tables_hold) {
  auto maker = this->maker(18);
  auto events = maker.make_many(300);
  for (auto& [branch, queue] : by_branch(events))
    apply(branch, queue);
  test::load_truth(dsn, events);
  const std::string branch = "branch-2";
  branch_delta truth;
  for (const auto& x : events)
    if (x.branch_id == branch)
      accumulate(truth, x);
  auto from = truth.days.begin()->first + std::chrono::days{2};
  auto to = truth.days.rbegin()->first - std::chrono::days{1};
  auto inside = [&](calendar_day x) { return from <= x && x <= to; };
  slice_request query;
  query.branch_id = branch;
  query.from = from;
  query.to = to;

  std::erase_if(truth.hours, [&](auto& x) { return !inside(x.first.first); });
  auto hours = store->load_slice(query);
  BOOST_REQUIRE(hours);
  BOOST_CHECK(hours->hours == truth.hours);
  BOOST_CHECK_EQUAL(hours->apply_no, memory[branch].cursor.apply_no);

  std::map<std::string, product_totals> products;
  for (const auto& [key, x] : truth.products)
    if (inside(key.first)) {
      products[key.second].quantity += x.quantity;
      products[key.second].revenue += x.revenue;
    }
  query.what = slice_request::kind::products;
  auto sums = store->load_slice(query);
  BOOST_REQUIRE(sums);
  BOOST_CHECK(sums->products == products);

  query.what = slice_request::kind::product_days;
  query.product_id = products.begin()->first;
  std::map<calendar_day, product_totals> days;
  for (const auto& [key, x] : truth.products)
    if (inside(key.first) && key.second == query.product_id)
      days.emplace(key.first, x);
  auto per_day = store->load_slice(query);
  BOOST_REQUIRE(per_day);
  BOOST_CHECK(per_day->product_days == days);
  BOOST_REQUIRE_EQUAL(per_day->labels.size(), 1u);
  BOOST_CHECK(per_day->labels.begin()->second
              == truth.labels.at(query.product_id));
}

BOOST_AUTO_TEST_CASE(the_loyal_are_ranked_with_stable_ties) {
  auto maker = this->maker(19);
  auto events = maker.make_many(300);
  // Equal totals, so that ties are the rule.
  for (auto& x : events) {
    x.items = {{"tea", "Tea", "", 100}};
    x.total = 100;
  }
  std::map<uuid, loyalty> truth;
  for (auto& [branch, queue] : by_branch(events))
    apply(branch, queue);
  for (const auto& x : events)
    if (x.branch_id == "branch-1") {
      auto& y = truth[x.user_id];
      y.purchases += 1;
      y.revenue += x.total;
      y.last_purchase_at = std::max(y.last_purchase_at, x.occurred_at);
    }
  std::vector<std::pair<uuid, loyalty>> sorted(truth.begin(), truth.end());
  std::ranges::stable_sort(sorted, std::greater<>{},
                           [](auto& x) { return x.second.purchases; });
  slice_request query;
  query.branch_id = "branch-1";
  query.what = slice_request::kind::loyal;
  auto loyal = store->load_slice(query);
  BOOST_REQUIRE(loyal);
  for (const auto* list : {&loyal->by_purchases, &loyal->by_revenue}) {
    BOOST_REQUIRE_EQUAL(list->size(), sorted.size());
    for (size_t i = 0; i < sorted.size(); ++i) {
      BOOST_CHECK((*list)[i].customer_id == sorted[i].first);
      BOOST_CHECK((*list)[i].totals == sorted[i].second);
    }
  }
}

BOOST_AUTO_TEST_CASE(known_events_are_told_from_pending_ones) {
  auto maker = this->maker(20);
  auto applied = maker.make("branch-1");
  auto pending = maker.make("branch-1");
  apply("branch-1", {applied});
  slice_request query;
  query.branch_id = "branch-1";
  query.what = slice_request::kind::known_events;
  query.event_ids = {pending.event_id, applied.event_id};
  auto known = store->load_slice(query);
  BOOST_REQUIRE(known);
  BOOST_REQUIRE_EQUAL(known->known_events.size(), 1u);
  BOOST_CHECK(known->known_events.front() == applied.event_id);
}

BOOST_AUTO_TEST_CASE(customers_of_a_subset_of_branches_are_distinct) {
  auto events = maker(21).make_many(500);
  for (auto& [branch, queue] : by_branch(events))
    apply(branch, queue);
  std::map<std::string, int> until{{"branch-1", 700}, {"branch-3", 900}};
  std::map<calendar_day, std::set<uuid>> whole, cut;
  for (const auto& x : events) {
    if (!until.contains(x.branch_id))
      continue;
    whole[x.when.day].insert(x.user_id);
    if (x.when.minute <= until.at(x.branch_id))
      cut[x.when.day].insert(x.user_id);
  }
  slice_request query;
  query.what = slice_request::kind::subset_customers;
  query.branch_ids = {"branch-1", "branch-3"};
  query.from = whole.begin()->first;
  query.to = whole.rbegin()->first;
  auto check = [&](const auto& truth) {
    auto answer = store->load_slice(query);
    BOOST_REQUIRE(answer);
    BOOST_CHECK_EQUAL(answer->subset_customers.size(), truth.size());
    for (const auto& [day, who] : truth)
      BOOST_CHECK_EQUAL(answer->subset_customers[day],
                        static_cast<int64_t>(who.size()));
  };
  check(whole);
  query.until_minutes = {700, 900};
  check(cut);
  query.until_minutes = {700};
  auto wrong = store->load_slice(query);
  BOOST_REQUIRE(!wrong);
  BOOST_CHECK(wrong.error() == errc::invalid);
}

BOOST_AUTO_TEST_CASE(a_branch_nobody_knows_loads_empty) {
  auto state = store->load("nowhere");
  BOOST_REQUIRE(state);
  BOOST_CHECK(state->cursor == branch_cursor{});
  BOOST_CHECK(state->days.empty());
}

BOOST_AUTO_TEST_CASE(pruning_removes_old_minutes_in_bounded_steps) {
  run(
    fmt::format("INSERT INTO minute_sales_by_branch SELECT b, (clock_timestamp"
                "() AT TIME ZONE 'UTC')::date - d, 1, 1, 1, 1, 1, 1 FROM "
                "unnest('{{branch-1,branch-2}}'::text[]) b, "
                "generate_series(0, {} + 5) d",
                limits::minute_days));
  auto first = store->prune(4);
  BOOST_REQUIRE(first);
  BOOST_CHECK_EQUAL(*first, 4);
  auto second = store->prune(100);
  BOOST_REQUIRE(second);
  BOOST_CHECK_EQUAL(*second, 6);
  BOOST_CHECK_EQUAL(number("SELECT count(*) FROM minute_sales_by_branch"),
                    2 * (limits::minute_days + 1));
}

BOOST_AUTO_TEST_CASE(the_clock_is_the_databases) {
  auto now = store->now();
  BOOST_REQUIRE(now);
  BOOST_CHECK_LT(std::abs(to_ms(*now) - to_ms(now_ms())), 10'000);
}

BOOST_AUTO_TEST_SUITE_END()

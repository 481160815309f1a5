#include "storage/ports/aggregate_store.hpp"

#include "messages/core/error.hpp"
#include "storage/postgres/stores.hpp"
#include "tests/support/made_up_events.hpp"
#include "tests/support/postgres_fixture.hpp"
#include "tests/support/take_over.hpp"

#include <pqxx/pqxx>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

constexpr int64_t never = 1'000'000'000;

struct fixture {
  fixture() {
    auto opened = storage::open_aggregate_store(dsn);
    BOOST_REQUIRE(opened);
    store = std::move(*opened);
    test::take_over(dsn, "node-a", {"branch-1", "branch-2"});
    lake = open();
  }

  storage::lake_plan_store_ptr open() {
    auto opened = storage::open_lake_plan_store(dsn);
    BOOST_REQUIRE(opened);
    return std::move(*opened);
  }

  void apply(const std::string& branch, int count) {
    std::vector<purchase_event> batch;
    for (int i = 0; i < count; ++i)
      batch.push_back(maker.make(branch));
    auto outcomes
      = store->apply({test::make_request(branch, 1, cursors[branch], batch)});
    BOOST_REQUIRE(outcomes);
    cursors[branch] = outcomes->front().cursor;
    auto& all = events[branch];
    all.insert(all.end(), batch.begin(), batch.end());
  }

  using segment = std::tuple<std::string, int64_t, int64_t>;

  std::vector<segment>
  plan(int64_t rows_max, int64_t age_max_ms, size_t segments_max = 100) {
    auto planned = lake->plan(rows_max, age_max_ms, segments_max);
    BOOST_REQUIRE(planned);
    std::vector<segment> result;
    for (const auto& x : *planned)
      result.emplace_back(x.branch_id, x.from_no, x.to_no);
    return result;
  }

  void finish(const segment& x) {
    BOOST_REQUIRE(
      lake->finish({std::get<0>(x), std::get<1>(x), std::get<2>(x)}));
  }

  int64_t number(const std::string& sql) {
    pqxx::connection connection{dsn};
    pqxx::work tx{connection};
    auto result = tx.exec(sql)[0][0].as<int64_t>();
    tx.commit();
    return result;
  }

  std::string dsn = test::fresh_database("analytics");
  storage::aggregate_store_ptr store;
  storage::lake_plan_store_ptr lake;
  test::event_maker maker{11, test::recent_sales()};
  std::map<std::string, branch_cursor> cursors;
  std::map<std::string, std::vector<purchase_event>> events;
};

using segments = std::vector<fixture::segment>;

} // namespace

BOOST_FIXTURE_TEST_SUITE(lake_plan_store_suite, fixture)

BOOST_AUTO_TEST_CASE(nothing_applied_gives_nothing_to_plan) {
  BOOST_CHECK(plan(10, 0).empty());
}

BOOST_AUTO_TEST_CASE(full_segments_are_planned_and_the_rest_waits) {
  apply("branch-1", 25);
  apply("branch-2", 9);
  BOOST_CHECK(plan(10, never)
              == (segments{{"branch-1", 1, 10}, {"branch-1", 11, 20}}));
}

BOOST_AUTO_TEST_CASE(what_waits_too_long_gets_a_short_segment) {
  apply("branch-1", 12);
  apply("branch-2", 3);
  auto planned = plan(10, -1000);
  BOOST_CHECK((std::set<segment>(planned.begin(), planned.end())
               == std::set<segment>{{"branch-1", 1, 10},
                                    {"branch-1", 11, 12},
                                    {"branch-2", 1, 3}}));
}

BOOST_AUTO_TEST_CASE(unfinished_segments_come_again_the_same) {
  apply("branch-1", 15);
  auto first = plan(10, -1000);
  BOOST_REQUIRE_EQUAL(first.size(), 2u);
  finish(first[0]);
  // More is applied, and another process plans with another size.
  apply("branch-1", 20);
  lake = open();
  auto second = plan(100, never);
  BOOST_CHECK(second == segments{first[1]});
  finish(first[1]);
  BOOST_CHECK(plan(100, never).empty());
  BOOST_CHECK(plan(10, never)
              == (segments{{"branch-1", 16, 25}, {"branch-1", 26, 35}}));
}

BOOST_AUTO_TEST_CASE(every_number_is_planned_once) {
  std::map<std::string, int64_t> next{{"branch-1", 1}, {"branch-2", 1}};
  for (int round = 0; round < 12; ++round) {
    apply("branch-1", 1 + round * 3 % 7);
    apply("branch-2", 1 + round * 5 % 11);
    for (const auto& x : plan(4, round % 3 == 0 ? -1000 : never, 3)) {
      BOOST_CHECK_EQUAL(std::get<1>(x), next[std::get<0>(x)]);
      next[std::get<0>(x)] = std::get<2>(x) + 1;
      finish(x);
      finish(x);
    }
  }
  while (true) {
    auto rest = plan(4, -1000, 3);
    if (rest.empty())
      break;
    BOOST_CHECK_LE(rest.size(), 3u);
    for (const auto& x : rest) {
      BOOST_CHECK_EQUAL(std::get<1>(x), next[std::get<0>(x)]);
      next[std::get<0>(x)] = std::get<2>(x) + 1;
      finish(x);
    }
  }
  for (const auto& [branch, cursor] : cursors)
    BOOST_CHECK_EQUAL(next[branch], cursor.apply_no + 1);
  // Only each branch's latest segment is kept.
  BOOST_CHECK_EQUAL(number("SELECT count(*) FROM lake_segments"), 2);
}

BOOST_AUTO_TEST_CASE(the_number_of_segments_is_bounded) {
  apply("branch-1", 50);
  BOOST_CHECK_EQUAL(plan(5, never, 3).size(), 3u);
  // The unfinished fill the bound.
  BOOST_CHECK_EQUAL(plan(5, never, 3).size(), 3u);
  BOOST_CHECK_EQUAL(number("SELECT count(*) FROM lake_segments"), 3);
}

BOOST_AUTO_TEST_CASE(two_planners_at_once_plan_nothing_twice) {
  apply("branch-1", 200);
  apply("branch-2", 200);
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      auto own = storage::open_lake_plan_store(dsn);
      for (int n = 0; own && n < 10; ++n)
        if (!(*own)->plan(7, never, 10 + static_cast<size_t>(n) * 10))
          ++failures;
    });
  for (auto& x : threads)
    x.join();
  BOOST_CHECK_EQUAL(failures.load(), 0);
  BOOST_CHECK_EQUAL(
    number("SELECT count(*) FROM lake_segments a JOIN lake_segments b ON "
           "a.branch_id = b.branch_id AND a.from_no < b.from_no AND a.to_no "
           ">= b.from_no"),
    0);
  BOOST_CHECK_EQUAL(number("SELECT sum(to_no - from_no + 1) FROM "
                           "lake_segments"),
                    2 * 28 * 7);
}

BOOST_AUTO_TEST_CASE(entries_are_in_apply_order) {
  apply("branch-1", 20);
  auto entries = lake->entries({"branch-1", 5, 14});
  BOOST_REQUIRE(entries);
  BOOST_REQUIRE_EQUAL(entries->size(), 10u);
  for (size_t i = 0; i < entries->size(); ++i) {
    const auto& event = events["branch-1"][4 + i];
    BOOST_CHECK_EQUAL((*entries)[i].apply_no, static_cast<int64_t>(5 + i));
    BOOST_CHECK((*entries)[i].event_id == event.event_id);
    BOOST_CHECK((*entries)[i].day == event.when.day);
  }
}

BOOST_AUTO_TEST_CASE(a_lake_that_is_switched_on_late_starts_with_the_log) {
  apply("branch-1", 20);
  number("WITH gone AS (DELETE FROM analytics_event_log WHERE apply_no < 8 "
         "RETURNING 1) SELECT count(*) FROM gone");
  BOOST_CHECK(plan(10, never) == (segments{{"branch-1", 8, 17}}));
}

BOOST_AUTO_TEST_CASE(a_segment_without_rows_is_refused) {
  auto planned = lake->plan(0, 0, 10);
  BOOST_REQUIRE(!planned);
  BOOST_CHECK(planned.error() == errc::invalid);
}

BOOST_AUTO_TEST_SUITE_END()

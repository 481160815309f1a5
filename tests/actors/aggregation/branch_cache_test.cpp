#include "actors/aggregation/branch_cache.hpp"

#include "messages/core/limits.hpp"
#include "tests/support/made_up_events.hpp"
#include "tests/support/table_model.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>

using namespace tillstream;
using kind = shard_query::kind;

namespace {

using one_day = std::chrono::duration<int64_t, std::ratio<86400>>;

const auto now = *parse_rfc3339("2026-03-10T12:00:00Z");
const auto today = *parse_day("2026-03-10");

branch_clock clock_of(const std::string& branch_id) {
  return *branch_clock::make(*test::made_up_chain().find(branch_id));
}

shard_query ask(kind what, int from, int to) {
  shard_query result;
  result.what = what;
  result.from = today + one_day{from};
  result.to = today + one_day{to};
  return result;
}

shard_query ask_products(int from, int to) {
  auto result = ask(kind::products, from, to);
  auto length = result.to - result.from + one_day{1};
  result.previous_from = result.from - length;
  result.previous_to = result.from - one_day{1};
  return result;
}

shard_query ask_summary(int day, int minute_max) {
  auto result = ask(kind::summary, day, day);
  result.previous_from = result.from - one_day{7};
  result.minute_max = minute_max;
  return result;
}

shard_query ask_product(const std::string& id, int from, int to) {
  auto result = ask(kind::product_days, from, to);
  result.product_id = id;
  return result;
}

shard_query ask_loyal(bool by_revenue, size_t limit) {
  auto result = ask(kind::loyal, 0, 0);
  result.by_revenue = by_revenue;
  result.limit = limit;
  return result;
}

/// All that a memory can be asked.
std::vector<shard_query> every_query() {
  return {ask(kind::days, -400, 10),
          ask(kind::hours, -60, 2),
          ask(kind::heat, -60, 2),
          ask_products(-30, 0),
          ask_products(-1, -1),
          ask_products(-7, -1),
          ask_summary(0, last_minute),
          ask_summary(0, 700),
          ask_summary(-1, 300),
          ask_product("p\"1\\,{", -40, 0),
          ask_product("p\"2\\,{", -400, 0),
          ask_product("nobody sells this", -10, 0),
          ask_loyal(false, 1000),
          ask_loyal(true, 7)};
}

bool same(const shard_answer& x, const shard_answer& y) {
  auto same_heat = (x.heat == nullptr) == (y.heat == nullptr)
                   && (x.heat == nullptr || *x.heat == *y.heat);
  auto same_products
    = [](const product_sums_ptr& a, const product_sums_ptr& b) {
        return (a == nullptr) == (b == nullptr) && (a == nullptr || *a == *b);
      };
  return x.days == y.days && x.day == y.day && x.previous == y.previous
         && x.hours == y.hours && same_heat
         && same_products(x.products, y.products)
         && same_products(x.previous_products, y.previous_products)
         && x.product_days == y.product_days && x.label == y.label
         && std::equal(x.customers.begin(), x.customers.end(),
                       y.customers.begin(), y.customers.end(),
                       [](const loyal_customer& a, const loyal_customer& b) {
                         return a.customer_id == b.customer_id
                                && a.totals == b.totals;
                       });
}

/// One branch, its tables as a model, and a memory that follows them.
struct world {
  explicit world(uint64_t seed, std::string branch_id = "branch-2",
                 size_t rows_max = limits::shard_slice_rows_max)
    : id(std::move(branch_id)),
      maker(seed, {30, 9, 20, now}),
      memory(id, clock_of(id), rows_max) {
    tables.put_epoch(id, 1);
    memory.reset(tables.load(id));
  }

  /// Applies events to the tables and lets the memory follow.
  void apply(const std::vector<purchase_event>& events) {
    auto outcome = apply_to_tables(events);
    memory.apply(outcome);
  }

  apply_outcome apply_to_tables(const std::vector<purchase_event>& events) {
    auto branch = events.front().branch_id;
    tables.put_epoch(branch, 1);
    auto request = test::make_request(branch, 1, tables.cursor(branch), events);
    auto outcome = tables.apply({request}).front();
    BOOST_REQUIRE(outcome.owned);
    return outcome;
  }

  std::vector<purchase_event> make(size_t count) {
    std::vector<purchase_event> result;
    for (size_t i = 0; i < count; ++i)
      result.push_back(maker.make(id));
    return result;
  }

  /// Answers a query, loading what is missing.
  shard_answer answer(branch_cache& from, const shard_query& query) {
    for (int i = 0; i < 100; ++i) {
      auto request = from.missing(query);
      if (!request)
        return from.answer(query);
      ++loads;
      BOOST_REQUIRE(from.add(*request, tables.load_slice(*request)));
    }
    BOOST_FAIL("the memory is never content");
    return {};
  }

  /// Compares with a memory that is loaded from the tables just now.
  void check(const shard_query& query) {
    branch_cache fresh{id, clock_of(id), limits::shard_slice_rows_max};
    fresh.reset(tables.load(id));
    BOOST_TEST((memory.cursor() == fresh.cursor()));
    auto followed = answer(memory, query);
    auto loaded = answer(fresh, query);
    BOOST_TEST_CONTEXT("question " << static_cast<int>(query.what))
    BOOST_TEST(same(followed, loaded));
  }

  std::string id;
  test::table_model tables;
  test::event_maker maker;
  branch_cache memory;
  size_t loads = 0;
};

} // namespace

BOOST_AUTO_TEST_SUITE(branch_cache_suite)

// Goal: memory and tables are equal after every commit. Method: a seed draws
// batches, sales of other branches that move the chain's sets, and queries;
// each answer is compared with that of a memory loaded from the model, which
// counts everything from the beginning.
BOOST_AUTO_TEST_CASE(memory_after_commits_equals_memory_that_was_loaded) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      world w{seed, seed % 2 == 0 ? "branch-2" : "branch-3"};
      std::mt19937_64 prng{seed};
      auto queries = every_query();
      for (int step = 0; step < 12; ++step) {
        w.apply(w.make(1 + prng() % 20));
        if (prng() % 2 == 0)
          w.apply_to_tables({w.maker.make("branch-1")});
        std::shuffle(queries.begin(), queries.end(), prng);
        for (size_t i = 0; i < 4; ++i)
          w.check(queries[i]);
      }
      for (const auto& query : every_query())
        w.check(query);
    }
  }
}

// Goal: late events keep names right. Method: events are applied in an order
// other than that of their outbox numbers, so that older labels come last.
BOOST_AUTO_TEST_CASE(labels_stay_right_when_events_come_out_of_order) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      world w{seed};
      std::mt19937_64 prng{seed};
      auto events = w.make(60);
      for (auto& x : events)
        for (auto& item : x.items)
          if (prng() % 3 == 0)
            item.name = item.category = "";
      std::shuffle(events.begin(), events.end(), prng);
      for (size_t i = 0; i < events.size(); i += 5) {
        w.apply({events.begin() + static_cast<std::ptrdiff_t>(i),
                 events.begin() + static_cast<std::ptrdiff_t>(i + 5)});
        w.check(ask_products(-3, 0));
        w.check(ask_products(-20, -4));
        w.check(ask_product("p\"3\\,{", -20, 0));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_query_loads_its_slices_once) {
  world w{3};
  w.apply(w.make(200));
  w.check(ask_products(-7, 0));
  auto loads = w.loads;
  for (int i = 0; i < 5; ++i) {
    w.apply(w.make(3));
    w.answer(w.memory, ask_products(-7, 0));
  }
  BOOST_TEST(w.loads == loads);
}

BOOST_AUTO_TEST_CASE(days_without_sales_need_no_load) {
  world w{3};
  BOOST_TEST(!w.memory.missing(ask(kind::hours, -4000, 4000)));
  BOOST_TEST(!w.memory.missing(ask_products(0, 0)));
  BOOST_TEST(!w.memory.missing(ask_loyal(true, 5)));
  w.apply(w.make(5));
  BOOST_TEST(!w.memory.missing(ask(kind::hours, -4000, -3000)));
  BOOST_TEST(!w.memory.missing(ask_product("p", 3000, 4000)));
  auto empty = w.memory.answer(ask_products(1000, 2000));
  BOOST_TEST(empty.products->empty());
  BOOST_TEST(empty.previous_products->empty());
}

BOOST_AUTO_TEST_CASE(a_slice_of_another_moment_is_refused) {
  world w{3};
  w.apply(w.make(5));
  auto request = w.memory.missing(ask(kind::hours, -60, 0));
  BOOST_REQUIRE(request.has_value());
  auto piece = w.tables.load_slice(*request);
  piece.apply_no += 1;
  BOOST_TEST(!w.memory.add(*request, piece));
  BOOST_TEST(w.memory.missing(ask(kind::hours, -60, 0)).has_value());
}

BOOST_AUTO_TEST_CASE(an_answer_does_not_change_under_its_reader) {
  world w{5};
  w.apply(w.make(50));
  auto before = w.answer(w.memory, ask_products(-20, 0));
  auto copy = *before.products;
  w.apply(w.make(50));
  BOOST_TEST((*before.products == copy));
  auto after = w.answer(w.memory, ask_products(-20, 0));
  BOOST_TEST((*after.products != copy));
}

BOOST_AUTO_TEST_CASE(slices_beyond_the_bound_go_least_recently_used_first) {
  world w{6, "branch-1", 120};
  w.apply(w.make(300));
  for (int i = 0; i < 4; ++i) {
    w.check(ask(kind::hours, -30, 0));
    w.check(ask_loyal(false, 10));
    for (int day = -15; day < 0; ++day)
      w.check(ask_products(day, day));
  }
  // One query may exceed it; the next makes room again.
  w.check(ask_products(-1, -1));
  BOOST_TEST(w.memory.rows() <= 120u);
}

BOOST_AUTO_TEST_CASE(slices_that_nobody_asks_for_go) {
  world w{6};
  w.apply(w.make(50));
  w.check(ask(kind::hours, -30, 0));
  w.memory.drop_idle();
  BOOST_TEST(w.memory.rows() > 0u);
  w.memory.drop_idle();
  BOOST_TEST(w.memory.rows() == 0u);
  w.check(ask(kind::hours, -30, 0));
}

BOOST_AUTO_TEST_CASE(the_ranking_keeps_its_length) {
  world w{9};
  event_item coffee{"coffee", "Coffee", "", 100};
  std::vector<purchase_event> events;
  uuid_source ids{4};
  for (size_t i = 0; i < limits::rank_max + 50; ++i) {
    auto x = w.maker.make_at(w.id, ids.v4(), now);
    x.items.assign(1 + i % 3, coffee);
    x.total = static_cast<minor_units>(x.items.size()) * 100;
    events.push_back(x);
  }
  w.apply({events.begin(), events.begin() + 20});
  w.answer(w.memory, ask_loyal(true, 1));
  w.apply({events.begin() + 20, events.end()});
  w.check(ask_loyal(true, limits::rank_max));
  w.check(ask_loyal(false, limits::rank_max));
  auto list = w.answer(w.memory, ask_loyal(true, limits::rank_max));
  BOOST_TEST(list.customers.size() == limits::rank_max);
}

// An hour that the clock shows twice, and one that it skips, count where the
// clock says (New York, 2026-03-08 and 2026-11-01).
BOOST_AUTO_TEST_CASE(a_heat_map_goes_by_the_local_clock) {
  world w{9};
  auto sell = [&](const char* when) {
    return w.maker.make_at(w.id, w.maker.any_customer(), *parse_rfc3339(when));
  };
  w.apply({sell("2026-11-01T05:30:00Z"), sell("2026-11-01T06:30:00Z"),
           sell("2026-03-08T07:30:00Z")});
  shard_query query;
  query.what = kind::heat;
  query.from = *parse_day("2026-01-01");
  query.to = *parse_day("2026-12-31");
  auto heat = w.answer(w.memory, query).heat;
  // 01:30 twice, before 04:00: still Saturday's business day.
  BOOST_TEST((*heat)[heat_cell(6, 1)].purchases == 2);
  // 03:30 on the day that has no 02:30.
  BOOST_TEST((*heat)[heat_cell(6, 3)].purchases == 1);
}

BOOST_AUTO_TEST_SUITE_END()

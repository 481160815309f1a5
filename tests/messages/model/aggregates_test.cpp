#include <boost/test/unit_test.hpp>

#include "messages/model/aggregates.hpp"

#include <algorithm>
#include <random>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

calendar_day day(std::string_view text) {
  return parse_day(text).value();
}

timestamp at(std::string_view text) {
  return parse_rfc3339(text).value();
}

uuid customer(uint8_t n) {
  uuid result;
  result.bytes[15] = n;
  return result;
}

/// A sale in UTC.
purchase_event sale(std::string_view when, uint8_t who, int64_t seq,
                    std::vector<event_item> items) {
  purchase_event x;
  x.outbox_seq = seq;
  x.branch_id = "branch-1";
  x.user_id = customer(who);
  x.occurred_at = at(when);
  x.when = branch_clock::make(branch{"b", "B", "UTC", 0})->at(x.occurred_at);
  x.items = std::move(items);
  for (const auto& item : x.items)
    x.total += item.unit_price;
  return x;
}

bool equal(const branch_delta& x, const branch_delta& y) {
  return x.days == y.days && x.fresh == y.fresh && x.hours == y.hours
         && x.minutes == y.minutes && x.products == y.products
         && x.customers == y.customers && x.visits == y.visits
         && x.labels == y.labels && x.events == y.events;
}

} // namespace

BOOST_AUTO_TEST_SUITE(aggregates_suite)

BOOST_AUTO_TEST_CASE(a_sale_is_counted_everywhere) {
  branch_delta delta;
  auto x = sale("2019-04-01T07:31:20Z", 1, 5,
                {{"a", "Apple", "Fruit", 450}, {"b", "", "", 200}});
  x.new_customer = true;
  accumulate(delta, x);
  auto d = day("2019-04-01");
  sales_totals expected{650, 1, 2};
  BOOST_TEST(delta.events == 1);
  BOOST_TEST((delta.days[d] == expected));
  BOOST_TEST((delta.hours[{d, at("2019-04-01T07:00:00Z")}] == expected));
  BOOST_TEST((delta.minutes[{d, 451}] == expected));
  BOOST_TEST(delta.fresh[d] == 1);
  BOOST_TEST((delta.products[{d, "a"}] == product_totals{1, 450}));
  BOOST_TEST((delta.products[{d, "b"}] == product_totals{1, 200}));
  BOOST_TEST((delta.customers[customer(1)] == loyalty{1, 650, x.occurred_at}));
  BOOST_TEST((delta.visits[{d, customer(1)}] == 451));
  BOOST_TEST((delta.labels["a"] == product_label{"Apple", "Fruit", 5}));
  BOOST_TEST(!delta.labels.contains("b"));
}

BOOST_AUTO_TEST_CASE(sales_of_a_day_add_up) {
  branch_delta delta;
  accumulate(delta, sale("2019-04-01T07:31:20Z", 1, 1, {{"a", "", "", 450}}));
  accumulate(delta, sale("2019-04-01T07:05:00Z", 1, 2, {{"a", "", "", 350}}));
  accumulate(delta, sale("2019-04-02T00:00:00Z", 2, 3, {{"a", "", "", 0}}));
  auto d = day("2019-04-01");
  BOOST_TEST((delta.days[d] == sales_totals{800, 2, 2}));
  BOOST_TEST((delta.days[d + std::chrono::days{1}] == sales_totals{0, 1, 1}));
  BOOST_TEST((delta.products[{d, "a"}] == product_totals{2, 800}));
  BOOST_TEST((delta.customers[customer(1)]
              == loyalty{2, 800, at("2019-04-01T07:31:20Z")}));
  // The earliest minute of the day, whatever came first.
  BOOST_TEST((delta.visits[{d, customer(1)}] == 425));
  BOOST_TEST(delta.fresh.empty());
}

BOOST_AUTO_TEST_CASE(a_purchase_before_1970_is_the_last_if_it_is_the_only_one) {
  branch_delta delta;
  auto x = sale("1969-01-01T00:00:00Z", 1, 1, {{"a", "", "", 1}});
  accumulate(delta, x);
  BOOST_TEST((delta.customers[customer(1)].last_purchase_at == x.occurred_at));
}

BOOST_AUTO_TEST_CASE(the_latest_label_wins_by_outbox_sequence) {
  branch_delta delta;
  auto label = [&](int64_t seq, std::string name) {
    accumulate(delta,
               sale("2019-04-01T07:00:00Z", 1, seq, {{"a", name, "", 1}}));
  };
  label(5, "new");
  label(3, "old");
  label(9, "");
  BOOST_TEST((delta.labels["a"] == product_label{"new", "", 5}));
  label(6, "newer");
  BOOST_TEST((delta.labels["a"] == product_label{"newer", "", 6}));
}

BOOST_AUTO_TEST_CASE(customers_and_totals_add_up) {
  sales_totals x{1, 2, 3};
  x += sales_totals{10, 20, 30};
  BOOST_TEST((x == sales_totals{11, 22, 33}));
  customer_counts y{1, 2, 3};
  y += customer_counts{10, 20, 30};
  BOOST_TEST((y == customer_counts{11, 22, 33}));
}

// Goal: redeliveries and takeovers may change the order of events, never the
// numbers. Method: shuffle made-up sales.
BOOST_AUTO_TEST_CASE(the_order_of_events_does_not_matter) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 prng{seed};
      std::vector<purchase_event> events;
      for (int64_t seq = 1; seq <= 60; ++seq) {
        std::vector<event_item> items;
        for (auto n = 1 + prng() % 3; n > 0; --n)
          items.push_back({"p" + std::to_string(prng() % 5 + 5 * n),
                           prng() % 3 == 0 ? "" : std::to_string(prng() % 9),
                           prng() % 2 == 0 ? "" : "c",
                           static_cast<minor_units>(prng() % 1000)});
        auto x = sale("2019-04-01T00:00:00Z", prng() % 8, seq, items);
        x.occurred_at += std::chrono::minutes{prng() % 5000};
        x.when
          = branch_clock::make(branch{"b", "B", "UTC", 0})->at(x.occurred_at);
        x.new_customer = prng() % 4 == 0;
        events.push_back(std::move(x));
      }
      branch_delta expected;
      for (const auto& x : events)
        accumulate(expected, x);
      for (int round = 0; round < 5; ++round) {
        std::shuffle(events.begin(), events.end(), prng);
        branch_delta delta;
        for (const auto& x : events)
          accumulate(delta, x);
        BOOST_REQUIRE(equal(delta, expected));
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

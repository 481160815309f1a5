#include <boost/test/unit_test.hpp>

#include "tests/system/running_program.hpp"

#include "messages/core/time.hpp"

#include <fstream>

/// The owner's queries, over HTTP, in zones with daylight saving.

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

/// `branch-1` and `branch-2` in New York, the latter's day begins at 04:00;
/// `branch-3` in Tokyo.
constexpr const char* chain_file = R"({"name": "Test", "currency": "USD",
  "branches": [
    {"id": "branch-1", "name": "One", "time_zone": "America/New_York"},
    {"id": "branch-2", "name": "<script>", "time_zone": "America/New_York",
     "day_start": "04:00"},
    {"id": "branch-3", "name": "Three", "time_zone": "Asia/Tokyo"}]})";

struct shop {
  shop() {
    auto path = directory.path() + "/chain.json";
    std::ofstream{path} << chain_file;
    program
      = running_program::up(directory.path() + "/data", {"--chain", path});
  }

  temporary_directory directory;
  std::unique_ptr<running_program> program;
};

struct fixture {
  static shop& the_shop() {
    static shop instance;
    return instance;
  }

  /// Records one sale of 1.00 and returns its event.
  std::string
  sell(const std::string& branch, const std::string& occurred_at,
       const std::string& user = {}, const std::string& product = "p1") {
    sale x;
    x.branch_id = branch;
    x.occurred_at = occurred_at;
    x.user_id = user;
    x.new_customer = !user.empty();
    x.items = {{product, "1.00", "Product"}};
    auto got = program.post(branch, x.body());
    BOOST_TEST(got.status == 201, got.body);
    auto event_id = got.at("event_id");
    // `after` speaks of one event: branches do not wait for each other.
    auto seen = program.ask("/analytics/summary?branch_id=" + branch
                            + "&after=" + event_id);
    BOOST_TEST(seen.header("applied-after") == "true");
    return event_id;
  }

  running_program& program = *the_shop().program;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(analytics_suite, fixture)

BOOST_AUTO_TEST_CASE(a_customer_of_two_branches_counts_once_for_the_chain) {
  auto both = random_uuid();
  sell("branch-1", "2020-05-05T12:00:00-04:00", both);
  sell("branch-1", "2020-05-05T13:00:00-04:00", both);
  sell("branch-1", "2020-05-05T13:30:00-04:00");
  auto last = sell("branch-2", "2020-05-05T14:00:00-04:00", both);
  auto got = program.ask("/analytics/unique-customers?from=2020-05-05"
                         "&to=2020-05-05&after="
                         + last);
  BOOST_TEST(got.status == 200, got.body);
  BOOST_TEST(got.header("applied-after") == "true");
  BOOST_TEST(got.at("branches.0.days.0.customers") == "2");
  BOOST_TEST(got.at("branches.1.days.0.customers") == "1");
  BOOST_TEST(got.at("total.days.0.customers") == "2");
  BOOST_TEST(got.at("total.days.0.new_customers") == "2");
  auto subset = program.ask("/analytics/unique-customers?from=2020-05-05"
                            "&to=2020-05-05&branch_id=branch-2");
  BOOST_TEST(subset.at("total.days.0.customers") == "1");
}

BOOST_AUTO_TEST_CASE(days_of_daylight_saving_have_23_or_25_hours) {
  // 2020-03-08 lacks 02:00, 2020-11-01 has 01:00 twice (IANA tz).
  auto last = sell("branch-1", "2020-11-01T01:30:00-04:00");
  last = sell("branch-1", "2020-11-01T01:30:00-05:00");
  auto spring = program.ask("/analytics/revenue?from=2020-03-08&to=2020-03-08"
                            "&granularity=hour&branch_id=branch-1");
  BOOST_TEST(spring.at("branches.0.series") == "[23]");
  auto autumn = program.ask("/analytics/revenue?from=2020-11-01&to=2020-11-01"
                            "&granularity=hour&branch_id=branch-1&after="
                            + last);
  BOOST_TEST(autumn.at("branches.0.series") == "[25]");
  BOOST_TEST(autumn.at("branches.0.series.1.revenue") == "1.00");
  BOOST_TEST(autumn.at("branches.0.series.2.revenue") == "1.00");
  BOOST_TEST(autumn.at("branches.0.series.3.revenue") == "0.00");
}

BOOST_AUTO_TEST_CASE(a_business_day_follows_zone_and_day_start) {
  // 03:59 belongs to the day before where the day begins at 04:00.
  sell("branch-2", "2021-06-02T03:59:59-04:00");
  sell("branch-2", "2021-06-02T04:00:00-04:00");
  // 23:30 UTC is the next day in Tokyo.
  auto last = sell("branch-3", "2021-06-01T23:30:00Z");
  auto got = program.ask("/analytics/revenue?from=2021-06-01&to=2021-06-02"
                         "&granularity=day&after="
                         + last);
  BOOST_TEST(got.at("branches.1.series.0.purchases") == "1");
  BOOST_TEST(got.at("branches.1.series.1.purchases") == "1");
  BOOST_TEST(got.at("branches.2.series.0.purchases") == "0");
  BOOST_TEST(got.at("branches.2.series.1.purchases") == "1");
}

BOOST_AUTO_TEST_CASE(empty_buckets_are_zero_and_ties_are_broken_by_id) {
  sell("branch-1", "2022-02-01T10:00:00-05:00", {}, "zebra");
  auto last = sell("branch-1", "2022-02-03T10:00:00-05:00", {}, "ant");
  auto series = program.ask("/analytics/revenue?from=2022-02-01&to=2022-02-04"
                            "&granularity=day&branch_id=branch-1&after="
                            + last);
  BOOST_TEST(series.at("total.series") == "[4]");
  BOOST_TEST(series.at("total.series.1.revenue") == "0.00");
  auto top = program.ask("/analytics/top-products?period=month"
                         "&date=2022-02-10&branch_id=branch-1");
  BOOST_TEST(top.at("total.products.0.product_id") == "ant");
  BOOST_TEST(top.at("total.products.1.product_id") == "zebra");
  BOOST_TEST(top.at("total.products.0.share") == "0.5000");
}

BOOST_AUTO_TEST_CASE(today_is_compared_with_the_same_weekday_last_week) {
  auto before = program.ask("/analytics/summary?branch_id=branch-1");
  auto last = sell("branch-1", "");
  auto got = program.ask("/analytics/summary?branch_id=branch-1&after=" + last);
  BOOST_TEST(std::stoi(got.at("total.purchases"))
             == std::stoi(before.at("total.purchases")) + 1);
  auto today = parse_day(got.at("branches.0.date"));
  auto compared = parse_day(got.at("branches.0.previous.date"));
  BOOST_REQUIRE((today && compared));
  BOOST_TEST((*today - *compared).count() == 7);
  BOOST_TEST(got.at("pending_events") == "0");
  BOOST_TEST(got.at("lag_ms") == "0");
}

BOOST_AUTO_TEST_CASE(an_unknown_event_is_waited_for_and_then_told_so) {
  auto got = program.ask("/analytics/summary?after="
                         "01890000-0000-7000-8000-000000000000");
  BOOST_TEST(got.status == 200, got.body);
  BOOST_TEST(got.header("applied-after") == "false");
}

BOOST_AUTO_TEST_CASE(csv_holds_the_same_rows) {
  auto last = sell("branch-1", "2023-01-02T10:00:00-05:00");
  auto got = program.ask("/analytics/revenue?from=2023-01-02&to=2023-01-03"
                         "&granularity=day&branch_id=branch-1&after="
                           + last,
                         {{"Accept", "text/csv"}});
  BOOST_TEST(got.header("content-type").find("text/csv") == 0u);
  // A header, two days of the branch and two of the total.
  BOOST_TEST(std::count(got.body.begin(), got.body.end(), '\n') == 5);
  BOOST_TEST(got.body.find("branch-1,2023-01-02") != std::string::npos,
             got.body);
}

BOOST_AUTO_TEST_CASE(a_bad_parameter_is_400_and_named) {
  struct wrong {
    const char* target;
    const char* parameter;
  };
  for (const auto& x : {
         wrong{"/analytics/summary?date=2020-02-30", "date"},
         wrong{"/analytics/summary?branch_id=nowhere", "branch_id"},
         wrong{"/analytics/summary?surprise=1", "surprise"},
         wrong{"/analytics/revenue?from=2020-01-02&to=2020-01-01"
               "&granularity=day",
               "from"},
         wrong{"/analytics/revenue?from=2020-01-01&to=2020-01-02"
               "&granularity=fortnight",
               "granularity"},
         wrong{"/analytics/top-products?period=day&limit=1001", "limit"},
         wrong{"/analytics/product?from=2020-01-01&to=2020-01-02",
               "product_id"},
         wrong{"/analytics/summary?after=yesterday", "after"},
         wrong{"/analytics/summary?branch_id=%00", "branch_id"},
         wrong{"/analytics/summary?date=%zz", "date"},
       }) {
    auto got = program.ask(x.target);
    BOOST_TEST(got.status == 400, x.target << " " << got.body);
    BOOST_TEST(got.at("parameter") == x.parameter, got.body);
  }
  BOOST_TEST(program
               .ask("/analytics/revenue?from=2000-01-01&to=2030-01-01"
                    "&granularity=hour")
               .status
             == 400);
}

BOOST_AUTO_TEST_SUITE_END()

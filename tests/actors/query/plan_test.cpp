#include "actors/query/plan.hpp"

#include "messages/core/limits.hpp"
#include "tests/support/dashboard.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;

namespace {

const auto far_chain = test::directory_of(test::far_flung_chain());

/// Half past nine in the evening in New York, half past three in Berlin, seven
/// in the morning in Kolkata.
const auto now = *parse_rfc3339("2019-04-17T01:30:00Z");

auto plan_any(std::string name, header_list query = {},
              std::string accept = {}) {
  return plan_query(
    test::query(std::move(name), std::move(query), std::move(accept)),
    far_chain, now);
}

analytics_plan
plan(std::string name, header_list query = {}, std::string accept = {}) {
  auto result = plan_any(std::move(name), std::move(query), std::move(accept));
  if (auto* wrong = std::get_if<problem>(&result)) {
    BOOST_FAIL(wrong->detail);
    return {};
  }
  return std::get<analytics_plan>(std::move(result));
}

/// The parameter that a 400 names.
std::string refused(std::string name, header_list query) {
  auto result = plan_any(std::move(name), std::move(query));
  auto* wrong = std::get_if<problem>(&result);
  if (wrong == nullptr)
    return "nothing";
  BOOST_TEST(wrong->status == 400);
  BOOST_TEST(wrong->name == "bad-parameter");
  BOOST_REQUIRE(wrong->members.size() == 1u);
  BOOST_TEST(wrong->members[0].first == "parameter");
  BOOST_TEST(wrong->detail != "");
  return wrong->members[0].second;
}

std::string day(calendar_day x) {
  return to_string(x);
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_suite)

BOOST_AUTO_TEST_CASE(every_name_of_the_contract_is_known) {
  for (const auto* name : {"summary", "revenue", "top-products",
                           "loyal-customers", "unique-customers", "heatmap"})
    plan(name);
  plan("product", {{"product_id", "x"}});
  auto unknown = plan_any("live");
  BOOST_TEST(std::get<problem>(unknown).status == 404);
}

BOOST_AUTO_TEST_CASE(today_is_each_branchs_own) {
  auto x = plan("summary");
  BOOST_REQUIRE(x.branches.size() == 4u);
  BOOST_TEST(x.whole_chain);
  BOOST_TEST(day(x.branches[0].date) == "2019-04-17"); // ber
  BOOST_TEST(day(x.branches[1].date) == "2019-04-16"); // before 04:00
  BOOST_TEST(day(x.branches[2].date) == "2019-04-17"); // kol
  BOOST_TEST(day(x.branches[3].date) == "2019-04-16"); // nyc
  BOOST_TEST(x.branches[0].minute_max == 3 * 60 + 30);
  BOOST_TEST(x.branches[1].minute_max == 23 * 60 + 30);
  BOOST_TEST(x.branches[2].minute_max == 7 * 60);
  BOOST_TEST(x.branches[3].minute_max == 21 * 60 + 30);
}

BOOST_AUTO_TEST_CASE(a_day_that_is_over_is_compared_as_a_whole) {
  auto x = plan("summary", {{"date", "2019-04-16"}});
  BOOST_TEST(x.branches[0].minute_max == last_minute);
  BOOST_TEST(x.branches[3].minute_max == 21 * 60 + 30);
  auto query = query_for(x, 3);
  BOOST_TEST(day(query->from) == "2019-04-16");
  BOOST_TEST(day(query->previous_from) == "2019-04-09");
  BOOST_TEST(query->minute_max == 21 * 60 + 30);
}

BOOST_AUTO_TEST_CASE(customers_that_do_not_add_up_are_asked_of_the_tables) {
  // The whole chain, one day that is over: contributions add up.
  BOOST_TEST(plan("summary", {{"date", "2019-04-01"}}).subsets.empty());
  // One branch: its own number.
  BOOST_TEST(plan("summary", {{"branch_id", "ber"}}).subsets.empty());
  // Some branches: the day, and the one before.
  auto some = plan(
    "summary",
    {{"date", "2019-04-01"}, {"branch_id", "ber"}, {"branch_id", "nyc"}});
  BOOST_REQUIRE(some.subsets.size() == 2u);
  BOOST_TEST(some.subsets[0].branch_ids.size() == 2u);
  BOOST_TEST(day(some.subsets[0].from) == "2019-04-01");
  BOOST_TEST(day(some.subsets[1].from) == "2019-03-25");
  // The whole chain up to a minute that is not the same everywhere.
  auto mixed = plan("summary", {{"date", "2019-04-16"}});
  BOOST_REQUIRE(mixed.subsets.size() == 1u);
  BOOST_TEST(day(mixed.subsets[0].from) == "2019-04-09");
  BOOST_TEST(mixed.subsets[0].until_minutes
               == (std::vector<int>{last_minute, 1410, last_minute, 1290}),
             boost::test_tools::per_element());
  // Two dates at once: two groups of two branches each.
  auto today = plan("summary");
  BOOST_TEST(today.groups.size() == 2u);
  BOOST_TEST(today.subsets.size() == 4u);
  // Unique customers: some branches only.
  BOOST_TEST(plan("unique-customers").subsets.empty());
  BOOST_TEST(
    plan("unique-customers", {{"branch_id", "ber"}, {"branch_id", "nyc"}})
      .subsets.size()
    == 1u);
}

BOOST_AUTO_TEST_CASE(ranges_have_defaults) {
  auto x = plan("revenue");
  BOOST_TEST(day(x.to) == "2019-04-17");
  BOOST_TEST(day(x.from) == "2019-03-19");
  x = plan("revenue", {{"granularity", "hour"}});
  BOOST_TEST(day(x.from) == "2019-04-17");
  x = plan("revenue", {{"granularity", "week"}});
  BOOST_TEST(day(x.from) == "2019-01-28");
  x = plan("revenue", {{"granularity", "month"}});
  BOOST_TEST(day(x.from) == "2018-05-01");
  x = plan("revenue", {{"branch_id", "nyc"}});
  BOOST_TEST(day(x.to) == "2019-04-16");
  x = plan("unique-customers", {{"from", "2019-01-01"}});
  BOOST_TEST(day(x.from) == "2019-01-01");
}

BOOST_AUTO_TEST_CASE(periods_are_calendar_days_iso_weeks_and_months) {
  auto x = plan("top-products", {{"period", "week"}, {"date", "2019-12-31"}});
  BOOST_TEST(day(x.from) == "2019-12-30");
  BOOST_TEST(day(x.to) == "2020-01-05");
  BOOST_TEST(day(x.previous_from) == "2019-12-23");
  BOOST_TEST(day(x.previous_to) == "2019-12-29");
  x = plan("top-products", {{"period", "month"}, {"date", "2020-03-31"}});
  BOOST_TEST(day(x.from) == "2020-03-01");
  BOOST_TEST(day(x.to) == "2020-03-31");
  BOOST_TEST(day(x.previous_from) == "2020-02-01");
  BOOST_TEST(day(x.previous_to) == "2020-02-29");
  x = plan("top-products", {{"date", "2020-01-01"}});
  BOOST_TEST(day(x.previous_from) == "2019-12-31");
  BOOST_TEST(x.by_revenue);
  BOOST_TEST(x.limit == 10u);
  x = plan("loyal-customers");
  BOOST_TEST(!x.by_revenue);
}

BOOST_AUTO_TEST_CASE(branches_are_in_order_and_once) {
  auto x
    = plan("heatmap",
           {{"branch_id", "nyc"}, {"branch_id", "ber"}, {"branch_id", "nyc"}});
  BOOST_REQUIRE(x.branches.size() == 2u);
  BOOST_TEST(x.branches[0].where->id == "ber");
  BOOST_TEST(x.branches[1].where->id == "nyc");
  BOOST_TEST(!x.whole_chain);
}

BOOST_AUTO_TEST_CASE(a_bad_parameter_is_named) {
  BOOST_TEST(refused("summary", {{"date", "2019-02-29"}}) == "\"date\"");
  BOOST_TEST(refused("summary", {{"date", ""}}) == "\"date\"");
  BOOST_TEST(refused("summary", {{"branch_id", "x"}}) == "\"branch_id\"");
  BOOST_TEST(refused("summary", {{"from", "2019-02-01"}}) == "\"from\"");
  BOOST_TEST(
    refused("summary", {{"date", "2019-02-01"}, {"date", "2019-02-01"}})
    == "\"date\"");
  BOOST_TEST(refused("summary", {{"after", "x"}}) == "\"after\"");
  BOOST_TEST(refused("summary", {{"a\"b", "x"}}) == "\"a\\\"b\"");
  BOOST_TEST(refused("revenue", {{"granularity", "year"}})
             == "\"granularity\"");
  BOOST_TEST(refused("revenue", {{"from", "2019-02-02"}, {"to", "2019-02-01"}})
             == "\"from\"");
  BOOST_TEST(refused("top-products", {{"period", "hour"}}) == "\"period\"");
  BOOST_TEST(refused("top-products", {{"by", "purchases"}}) == "\"by\"");
  BOOST_TEST(refused("loyal-customers", {{"by", "quantity"}}) == "\"by\"");
  for (const auto* limit :
       {"0", "1001", "-1", "1e2", "", "10 ", "+5", "99999999999999999999999"})
    BOOST_TEST(refused("loyal-customers", {{"limit", limit}}) == "\"limit\"");
  BOOST_TEST(refused("product", {}) == "\"product_id\"");
  BOOST_TEST(refused("product", {{"product_id", ""}}) == "\"product_id\"");
  BOOST_TEST(refused("product", {{"product_id", std::string(65, 'x')}})
             == "\"product_id\"");
  BOOST_TEST(refused("heatmap", {{"limit", "3"}}) == "\"limit\"");
}

BOOST_AUTO_TEST_CASE(a_parameter_that_cannot_be_decoded_is_refused) {
  auto garbled = test::query("summary", {{"date", "2019-02-01"}});
  auto request = std::make_shared<http_request>(*garbled.request);
  request->garbled_parameter = "branch_id";
  garbled.request = request;
  auto result = plan_query(garbled, far_chain, now);
  BOOST_REQUIRE(std::holds_alternative<problem>(result));
  BOOST_TEST(std::get<problem>(result).members.at(0).second == "\"branch_id\"");
}

BOOST_AUTO_TEST_CASE(a_series_and_an_answer_have_a_bounded_length) {
  BOOST_TEST(refused("revenue", {{"granularity", "hour"},
                                 {"from", "2018-01-01"},
                                 {"to", "2019-04-01"}})
             == "\"from\"");
  plan("revenue",
       {{"granularity", "hour"}, {"from", "2018-03-01"}, {"to", "2019-04-01"}});
  // 416 days of 24 hours, of which one has 23 and one 25: 9984 buckets.
  plan("revenue", {{"granularity", "hour"},
                   {"branch_id", "nyc"},
                   {"from", "2018-01-01"},
                   {"to", "2019-02-20"}});
  BOOST_TEST(refused("revenue", {{"granularity", "hour"},
                                 {"branch_id", "nyc"},
                                 {"from", "2018-01-01"},
                                 {"to", "2019-02-21"}})
             == "\"from\"");
  BOOST_TEST(refused("heatmap", {{"from", "1900-01-01"}}) == "\"from\"");
  plan("revenue", {{"granularity", "month"}, {"from", "1900-01-01"}});
  tillstream::chain wide;
  for (int i = 0; i < 3000; ++i)
    wide.branches.push_back({"b" + std::to_string(10000 + i), "", "UTC", 0});
  auto many = test::directory_of(wide);
  auto rows
    = plan_query(test::query("loyal-customers", {{"limit", "100"}}), many, now);
  BOOST_TEST(std::get<problem>(rows).status == 400);
}

BOOST_AUTO_TEST_CASE(the_accept_header_makes_it_csv) {
  BOOST_TEST(plan("summary", {}, "text/csv").csv);
  BOOST_TEST(!plan("summary", {}, "application/json").csv);
  BOOST_TEST(!plan("summary").csv);
}

BOOST_AUTO_TEST_CASE(branches_share_a_query_where_it_is_the_same) {
  auto revenue = make_shard_queries(plan("revenue"));
  BOOST_REQUIRE(revenue.size() == 4u);
  BOOST_TEST(revenue[0] == revenue[3]);
  auto x = plan("summary");
  auto summary = make_shard_queries(x);
  BOOST_REQUIRE(summary.size() == 4u);
  for (size_t i = 0; i < 4; ++i)
    BOOST_TEST((summary[i]->from == x.branches[i].date));
}

BOOST_AUTO_TEST_CASE(products_of_any_days_are_compared_with_as_many_before) {
  auto x = plan("top-products", {{"from", "2019-04-03"}, {"to", "2019-04-09"}});
  BOOST_TEST(day(x.from) == "2019-04-03");
  BOOST_TEST(day(x.to) == "2019-04-09");
  BOOST_TEST(day(x.previous_from) == "2019-03-27");
  BOOST_TEST(day(x.previous_to) == "2019-04-02");
  BOOST_TEST(x.any_days);
  auto one
    = plan("top-products", {{"from", "2019-04-03"}, {"to", "2019-04-03"}});
  BOOST_TEST(day(one.previous_from) == "2019-04-02");
  BOOST_TEST(day(one.previous_to) == "2019-04-02");
  BOOST_TEST(refused("top-products", {{"from", "2019-04-03"}}) == "\"to\"");
  BOOST_TEST(refused("top-products", {{"to", "2019-04-03"}}) == "\"from\"");
  BOOST_TEST(
    refused("top-products", {{"from", "2019-04-03"}, {"to", "2019-04-02"}})
    == "\"from\"");
  BOOST_TEST(
    refused("top-products",
            {{"from", "2019-04-03"}, {"to", "2019-04-09"}, {"period", "week"}})
    == "\"period\"");
  BOOST_TEST(refused("top-products", {{"from", "2019-04-03"},
                                      {"to", "2019-04-09"},
                                      {"date", "2019-04-09"}})
             == "\"date\"");
  BOOST_TEST(!plan("top-products", {{"period", "week"}}).any_days);
}

BOOST_AUTO_TEST_CASE(a_total_alone_may_be_over_more_branches) {
  BOOST_TEST(plan("heatmap", {{"detail", "total"}}).total_only);
  BOOST_TEST(!plan("heatmap", {{"detail", "branches"}}).total_only);
  BOOST_TEST(!plan("heatmap").total_only);
  BOOST_TEST(refused("heatmap", {{"detail", "some"}}) == "\"detail\"");
  // A year of hours of a hundred branches is too many rows; of their total it
  // is not.
  header_list long_range{
    {"from", "2018-03-01"}, {"to", "2019-04-01"}, {"granularity", "hour"}};
  plan("revenue", long_range);
  tillstream::chain many;
  for (int i = 0; i < 100; ++i)
    many.branches.push_back({"b" + std::to_string(i), "B", "UTC", 0});
  auto ask = [&](header_list query) {
    return plan_query(test::query("revenue", std::move(query)),
                      test::directory_of(many), now);
  };
  BOOST_TEST(std::holds_alternative<problem>(ask(long_range)));
  long_range.emplace_back("detail", "total");
  BOOST_TEST(std::holds_alternative<analytics_plan>(ask(long_range)));
}

BOOST_AUTO_TEST_SUITE_END()

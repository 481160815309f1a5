#include "actors/query/answer.hpp"

#include "messages/codec/json.hpp"
#include "tests/support/dashboard.hpp"

#include <boost/test/unit_test.hpp>

#include <limits>
#include <map>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

const auto far_chain = test::directory_of(test::far_flung_chain());
const auto midday = *parse_rfc3339("2019-04-17T12:00:00Z");

uuid customer(uint8_t n) {
  uuid result;
  result.bytes[6] = 0x40;
  result.bytes[8] = 0x80;
  result.bytes[15] = n;
  return result;
}

struct fixture {
  /// Plans a query and gives each branch an empty answer.
  void plan(std::string name, header_list query = {}, std::string accept = {},
            timestamp now = midday) {
    auto result = plan_query(
      test::query(std::move(name), std::move(query), std::move(accept)),
      far_chain, now);
    BOOST_REQUIRE(std::holds_alternative<analytics_plan>(result));
    asked = std::get<analytics_plan>(std::move(result));
    for (const auto& x : asked.branches) {
      auto& answer = answers[x.where->id];
      answer.branch_id = x.where->id;
      answer.as_of = now;
      answer.lag_ms = 0;
    }
  }

  query_reply answer() {
    answer_parts parts;
    for (const auto& x : asked.branches)
      parts.shards.push_back(
        std::make_shared<const shard_answer>(answers[x.where->id]));
    for (const auto& x : subsets)
      parts.subsets.push_back(std::make_shared<const slice>(x));
    parts.subsets.resize(asked.subsets.size(), std::make_shared<const slice>());
    parts.applied_after = applied_after;
    parts.wants_version = wants_version;
    return render_answer(asked, parts);
  }

  http_reply reply() {
    return *answer().reply;
  }

  /// Renders, parses, and keeps the document.
  const json_value& json() {
    bytes = reply().body;
    auto problem = document.parse(bytes);
    BOOST_REQUIRE_MESSAGE(problem.empty(), problem << ": " << bytes);
    return document.root();
  }

  void sell(const std::string& id, const char* day, minor_units revenue,
            int64_t purchases = 1, customer_counts customers = {}) {
    answers[id].days.push_back(
      {*parse_day(day), {{revenue, purchases, purchases}, customers}});
  }

  void sell_at(const std::string& id, const char* day, const char* hour,
               minor_units revenue) {
    answers[id].hours.push_back(
      {*parse_day(day), *parse_rfc3339(hour), {revenue, 1, 1}});
  }

  analytics_plan asked;
  std::map<std::string, shard_answer> answers;
  std::vector<slice> subsets;
  std::optional<bool> applied_after;
  bool wants_version = false;
  std::string bytes;
  json_document document;
};

const json_value& at(const json_value& x, std::string_view name) {
  const auto* result = x.find(name);
  BOOST_REQUIRE_MESSAGE(result != nullptr, "no member " << name);
  return *result;
}

std::string text(const json_value& x, std::string_view name) {
  const auto& result = at(x, name);
  if (result.is(json_value::kind::null))
    return "null";
  if (result.is(json_value::kind::boolean))
    return result.boolean ? "true" : "false";
  return std::string{result.text};
}

const json_value& row(const json_value& of, std::string_view list, size_t i) {
  const auto& rows = at(of, list).elements;
  BOOST_REQUIRE(i < rows.size());
  return rows[i];
}

product_sums product(std::string id, int64_t quantity, minor_units revenue,
                     int64_t label_seq = 1) {
  return {id, {"N-" + id, "", label_seq}, {quantity, revenue}};
}

product_sums_ptr products(std::vector<product_sums> xs) {
  return std::make_shared<const std::vector<product_sums>>(std::move(xs));
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(answer_suite, fixture)

// -- golden answers -----------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_summary_as_json) {
  plan("summary", {{"branch_id", "ber"}});
  auto& x = answers["ber"];
  x.as_of = midday - 2500ms;
  x.pending_events = 3;
  x.lag_ms = 2500;
  x.day = {{1001, 2, 5}, {2, 1, 2}};
  x.previous = {{900, 0, 0}, {1, 0, 1}};
  applied_after = true;
  auto out = reply();
  BOOST_TEST(out.status == 200);
  BOOST_TEST(out.content_type == "application/json");
  BOOST_TEST((out.headers
              == header_list{{"Vary", "Accept"}, {"Applied-After", "true"}}));
  BOOST_TEST(
    out.body
    == R"({"currency":"USD","as_of":"2019-04-17T11:59:57.500Z",)"
       R"("pending_events":3,"lag_ms":2500,"date":"2019-04-17","branches":[)"
       R"({"branch_id":"ber","name":"Berlin","time_zone":"Europe/Berlin",)"
       R"("as_of":"2019-04-17T11:59:57.500Z","pending_events":3,)"
       R"("lag_ms":2500,"date":"2019-04-17","revenue":"10.01",)"
       R"("purchases":2,"items":5,"average_basket":"5.01",)"
       R"("unique_customers":2,"new_customers":1,)"
       R"("until":"2019-04-17T12:00:00.000Z","previous":{)"
       R"("date":"2019-04-10","revenue":"9.00","purchases":0,"items":0,)"
       R"("average_basket":null,"unique_customers":1}}],"total":{)"
       R"("date":"2019-04-17","revenue":"10.01","purchases":2,"items":5,)"
       R"("average_basket":"5.01","unique_customers":2,"new_customers":1,)"
       R"("until":"2019-04-17T12:00:00.000Z","previous":{)"
       R"("date":"2019-04-10","revenue":"9.00","purchases":0,"items":0,)"
       R"("average_basket":null,"unique_customers":1}}})");
}

BOOST_AUTO_TEST_CASE(a_summary_as_csv) {
  plan("summary", {{"branch_id", "ber"}, {"date", "2019-04-01"}}, "text/csv");
  answers["ber"].day = {{1001, 2, 5}, {2, 1, 2}};
  answers["ber"].lag_ms.reset();
  auto out = reply();
  BOOST_TEST(out.content_type == "text/csv; charset=utf-8; header=present");
  BOOST_TEST(
    out.body
    == "branch_id,date,revenue,purchases,items,average_basket,"
       "unique_customers,new_customers,until,previous_date,previous_revenue,"
       "previous_purchases,previous_items,previous_average_basket,"
       "previous_unique_customers\r\n"
       "ber,2019-04-01,10.01,2,5,5.01,2,1,,2019-03-25,0.00,0,0,,0\r\n"
       "*,2019-04-01,10.01,2,5,5.01,2,1,,2019-03-25,0.00,0,0,,0\r\n");
  BOOST_TEST((out.headers
              == header_list{{"As-Of", "2019-04-17T12:00:00.000Z"},
                             {"Pending-Events", "0"},
                             {"Lag-Ms", "unknown"},
                             {"Vary", "Accept"}}));
}

BOOST_AUTO_TEST_CASE(csv_quotes_what_it_must) {
  plan("top-products", {{"branch_id", "ber"}, {"date", "2019-04-01"}},
       "text/csv");
  auto x = product("=1+1,\"a\"\r\nb", 2, 300);
  answers["ber"].products = products({x});
  answers["ber"].previous_products = products({});
  auto body = reply().body;
  BOOST_TEST(body.find("ber,1,\"=1+1,\"\"a\"\"\r\nb\",\"N-=1+1,\"\"a\"\"\r\nb\""
                       ",,2,3.00,1.0000,,\r\n")
             != std::string::npos);
}

// -- how far it reaches -------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_whole_is_as_far_as_its_slowest_branch) {
  plan("unique-customers", {{"from", "2019-04-17"}});
  answers["kol"].as_of = midday - 5s;
  answers["kol"].pending_events = 7;
  answers["kol"].lag_ms = 5000;
  answers["nyc"].as_of = midday - 9s;
  answers["nyc"].pending_events = 1;
  answers["nyc"].lag_ms = 9000;
  const auto& x = json();
  BOOST_TEST(text(x, "as_of") == "2019-04-17T11:59:51.000Z");
  BOOST_TEST(text(x, "pending_events") == "8");
  BOOST_TEST(text(x, "lag_ms") == "9000");
  answers["ber"].lag_ms.reset();
  BOOST_TEST(text(json(), "lag_ms") == "null");
}

BOOST_AUTO_TEST_CASE(the_reply_says_how_far_it_reaches) {
  plan("heatmap", {{"branch_id", "ber"}, {"branch_id", "nyc"}});
  for (const auto* id : {"ber", "nyc"})
    answers[id].heat = std::make_shared<const heat_map>();
  answers["nyc"].as_of = midday - 9s;
  answers["nyc"].pending_events = 3;
  answers["nyc"].lag_ms = 9000;
  auto x = answer();
  BOOST_TEST((x.progress.as_of == midday - 9s));
  BOOST_TEST(x.progress.pending_events == 3);
  BOOST_TEST((x.progress.lag_ms == 9000));
  BOOST_TEST(x.version.empty());
}

BOOST_AUTO_TEST_CASE(the_version_depends_on_the_numbers_alone) {
  wants_version = true;
  plan("summary");
  auto first = answer();
  BOOST_TEST(first.version.size() == 16u);
  // Time goes by, and something is pending: the numbers are the same.
  plan("summary", {}, {}, midday + 1s);
  answers["kol"].pending_events = 7;
  answers["kol"].lag_ms.reset();
  auto second = answer();
  BOOST_TEST(second.version == first.version);
  BOOST_TEST(second.reply->body != first.reply->body);
  answers["kol"].day.sales.revenue = 1;
  auto third = answer();
  BOOST_TEST(third.version != first.version);
  // A number that moves from one branch to another is a change, too.
  answers["kol"].day.sales.revenue = 0;
  answers["nyc"].day.sales.revenue = 1;
  BOOST_TEST(answer().version != third.version);
}

// -- summary ------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_customer_of_two_branches_counts_once_for_the_chain) {
  plan("summary", {{"date", "2019-04-01"}});
  // One and the same customer; the first branch brought him to the chain.
  answers["ber"].day = {{100, 1, 1}, {1, 1, 1}};
  answers["nyc"].day = {{100, 1, 1}, {1, 0, 0}};
  answers["ber"].previous = {{100, 1, 1}, {1, 0, 0}};
  answers["kol"].previous = {{100, 1, 1}, {1, 0, 1}};
  const auto& total = at(json(), "total");
  BOOST_TEST(text(total, "unique_customers") == "1");
  BOOST_TEST(text(at(total, "previous"), "unique_customers") == "1");
  BOOST_TEST(text(total, "purchases") == "2");
}

BOOST_AUTO_TEST_CASE(for_some_branches_the_tables_count_the_customers) {
  plan("summary",
       {{"date", "2019-04-01"}, {"branch_id", "ber"}, {"branch_id", "nyc"}});
  answers["ber"].day = {{100, 1, 1}, {5, 1, 0}};
  answers["nyc"].day = {{100, 1, 1}, {5, 0, 0}};
  subsets.resize(2);
  subsets[0].subset_customers[*parse_day("2019-04-01")] = 6;
  subsets[1].subset_customers[*parse_day("2019-03-25")] = 4;
  const auto& total = at(json(), "total");
  BOOST_TEST(text(total, "unique_customers") == "6");
  BOOST_TEST(text(at(total, "previous"), "unique_customers") == "4");
}

BOOST_AUTO_TEST_CASE(a_day_that_is_over_has_no_until) {
  plan("summary", {{"date", "2019-04-16"}}, {},
       *parse_rfc3339("2019-04-17T01:30:00Z"));
  const auto& x = json();
  BOOST_TEST(text(row(x, "branches", 0), "until") == "null");
  BOOST_TEST(text(row(x, "branches", 3), "until")
             == "2019-04-17T01:30:00.000Z");
}

BOOST_AUTO_TEST_CASE(branches_with_different_dates_have_no_common_one) {
  plan("summary", {}, {}, *parse_rfc3339("2019-04-17T01:30:00Z"));
  subsets.resize(asked.subsets.size());
  const auto& x = json();
  BOOST_TEST(text(x, "date") == "null");
  BOOST_TEST(text(row(x, "branches", 0), "date") == "2019-04-17");
  BOOST_TEST(text(row(x, "branches", 3), "date") == "2019-04-16");
  BOOST_TEST(text(at(at(x, "total"), "previous"), "date") == "null");
}

// -- revenue ------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(empty_days_are_zero_and_today_is_unfinished) {
  plan("revenue", {{"from", "2019-04-15"}, {"to", "2019-04-18"}});
  sell("ber", "2019-04-15", 250, 2);
  sell("nyc", "2019-04-17", 100);
  const auto& x = json();
  const auto& ber = row(x, "branches", 0);
  BOOST_TEST(at(ber, "series").elements.size() == 4u);
  BOOST_TEST(text(row(ber, "series", 0), "bucket") == "2019-04-15");
  BOOST_TEST(text(row(ber, "series", 0), "start")
             == "2019-04-14T22:00:00.000Z");
  BOOST_TEST(text(row(ber, "series", 0), "revenue") == "2.50");
  BOOST_TEST(text(row(ber, "series", 0), "purchases") == "2");
  BOOST_TEST(text(row(ber, "series", 0), "unfinished") == "false");
  BOOST_TEST(text(row(ber, "series", 1), "revenue") == "0.00");
  BOOST_TEST(text(row(ber, "series", 2), "unfinished") == "true");
  BOOST_TEST(text(row(ber, "series", 3), "unfinished") == "true");
  const auto& total = at(x, "total");
  BOOST_TEST(text(row(total, "series", 2), "revenue") == "1.00");
  // The earliest of the branches: Kolkata.
  BOOST_TEST(text(row(total, "series", 0), "start")
             == "2019-04-14T18:30:00.000Z");
}

BOOST_AUTO_TEST_CASE(weeks_are_iso_weeks_and_count_only_what_was_asked) {
  plan("revenue", {{"from", "2018-12-30"},
                   {"to", "2019-01-08"},
                   {"granularity", "week"},
                   {"branch_id", "ber"}});
  sell("ber", "2018-12-30", 1);
  sell("ber", "2018-12-31", 20);
  sell("ber", "2019-01-06", 300);
  sell("ber", "2019-01-07", 4000);
  const auto& ber = row(json(), "branches", 0);
  BOOST_REQUIRE(at(ber, "series").elements.size() == 3u);
  BOOST_TEST(text(row(ber, "series", 0), "bucket") == "2018-12-24");
  BOOST_TEST(text(row(ber, "series", 0), "revenue") == "0.01");
  BOOST_TEST(text(row(ber, "series", 1), "bucket") == "2018-12-31");
  BOOST_TEST(text(row(ber, "series", 1), "revenue") == "3.20");
  BOOST_TEST(text(row(ber, "series", 2), "bucket") == "2019-01-07");
  BOOST_TEST(text(row(ber, "series", 2), "revenue") == "40.00");
}

BOOST_AUTO_TEST_CASE(months_are_months) {
  plan("revenue", {{"from", "2019-01-31"},
                   {"to", "2019-04-17"},
                   {"granularity", "month"},
                   {"branch_id", "ber"}});
  sell("ber", "2019-02-28", 7);
  const auto& ber = row(json(), "branches", 0);
  BOOST_REQUIRE(at(ber, "series").elements.size() == 4u);
  BOOST_TEST(text(row(ber, "series", 0), "bucket") == "2019-01-01");
  BOOST_TEST(text(row(ber, "series", 1), "revenue") == "0.07");
  BOOST_TEST(text(row(ber, "series", 2), "unfinished") == "false");
  BOOST_TEST(text(row(ber, "series", 3), "unfinished") == "true");
}

// Berlin, 2019-03-31: 02:00 to 03:00 does not exist.
BOOST_AUTO_TEST_CASE(a_day_in_spring_has_23_hours) {
  plan("revenue", {{"from", "2019-03-31"},
                   {"to", "2019-03-31"},
                   {"granularity", "hour"},
                   {"branch_id", "ber"}});
  sell_at("ber", "2019-03-31", "2019-03-31T01:00:00Z", 500);
  const auto& ber = row(json(), "branches", 0);
  BOOST_REQUIRE(at(ber, "series").elements.size() == 23u);
  BOOST_TEST(text(row(ber, "series", 1), "bucket")
             == "2019-03-31T01:00:00+01:00");
  BOOST_TEST(text(row(ber, "series", 2), "bucket")
             == "2019-03-31T03:00:00+02:00");
  BOOST_TEST(text(row(ber, "series", 2), "revenue") == "5.00");
  BOOST_TEST(text(row(ber, "series", 2), "unfinished") == "false");
}

// Berlin, 2019-10-27: 02:00 to 03:00 comes twice.
BOOST_AUTO_TEST_CASE(a_day_in_autumn_has_25_hours) {
  plan("revenue",
       {{"from", "2019-10-27"},
        {"to", "2019-10-27"},
        {"granularity", "hour"},
        {"branch_id", "ber"}},
       {}, *parse_rfc3339("2019-10-27T00:30:00Z"));
  sell_at("ber", "2019-10-27", "2019-10-27T00:00:00Z", 100);
  sell_at("ber", "2019-10-27", "2019-10-27T01:00:00Z", 200);
  const auto& ber = row(json(), "branches", 0);
  BOOST_REQUIRE(at(ber, "series").elements.size() == 25u);
  BOOST_TEST(text(row(ber, "series", 2), "bucket")
             == "2019-10-27T02:00:00+02:00");
  BOOST_TEST(text(row(ber, "series", 2), "revenue") == "1.00");
  BOOST_TEST(text(row(ber, "series", 3), "bucket")
             == "2019-10-27T02:00:00+01:00");
  BOOST_TEST(text(row(ber, "series", 3), "revenue") == "2.00");
  BOOST_TEST(text(row(ber, "series", 1), "unfinished") == "false");
  BOOST_TEST(text(row(ber, "series", 2), "unfinished") == "true");
}

BOOST_AUTO_TEST_CASE(hours_of_several_zones_are_joined_by_their_instant) {
  plan("revenue", {{"from", "2019-04-01"},
                   {"to", "2019-04-01"},
                   {"granularity", "hour"},
                   {"branch_id", "ber"},
                   {"branch_id", "kol"}});
  sell_at("ber", "2019-04-01", "2019-04-01T10:00:00Z", 100);
  sell_at("kol", "2019-04-01", "2019-04-01T10:30:00Z", 200);
  const auto& total = at(json(), "total");
  // From Kolkata's midnight to Berlin's, in halves where both are.
  BOOST_TEST(at(total, "series").elements.size() == 48u);
  BOOST_TEST(text(row(total, "series", 0), "start")
             == "2019-03-31T18:30:00.000Z");
  std::map<std::string, std::string> revenue;
  for (const auto& x : at(total, "series").elements)
    revenue[text(x, "bucket")] = text(x, "revenue");
  BOOST_TEST(revenue["2019-04-01T10:00:00+00:00"] == "1.00");
  BOOST_TEST(revenue["2019-04-01T10:30:00+00:00"] == "2.00");
}

BOOST_AUTO_TEST_CASE(an_hour_in_which_the_day_changes_is_one_bucket) {
  tillstream::chain odd;
  odd.branches = {{"odd", "Odd", "UTC", 270}}; // 04:30
  auto result = plan_query(test::query("revenue", {{"from", "2019-04-01"},
                                                   {"to", "2019-04-02"},
                                                   {"granularity", "hour"}}),
                           test::directory_of(odd), midday);
  asked = std::get<analytics_plan>(result);
  answers["odd"].branch_id = "odd";
  sell_at("odd", "2019-04-01", "2019-04-02T04:00:00Z", 100);
  sell_at("odd", "2019-04-02", "2019-04-02T04:00:00Z", 20);
  const auto& series = at(row(json(), "branches", 0), "series").elements;
  BOOST_TEST(series.size() == 49u);
  BOOST_TEST(text(series[0], "start") == "2019-04-01T04:00:00.000Z");
  BOOST_TEST(text(series[24], "revenue") == "1.20");
}

// -- top products -------------------------------------------------------------

BOOST_AUTO_TEST_CASE(products_are_ranked_with_share_and_change) {
  plan("top-products", {{"branch_id", "ber"}, {"limit", "3"}});
  auto& x = answers["ber"];
  x.products = products({product("a", 1, 100), product("b", 9, 600),
                         product("c", 2, 100), product("d", 5, 200)});
  x.previous_products = products(
    {product("a", 1, 900), product("b", 1, 100), product("e", 1, 500)});
  const auto& ber = row(json(), "branches", 0);
  BOOST_REQUIRE(at(ber, "products").elements.size() == 3u);
  const auto& first = row(ber, "products", 0);
  BOOST_TEST(text(first, "rank") == "1");
  BOOST_TEST(text(first, "product_id") == "b");
  BOOST_TEST(text(first, "name") == "N-b");
  BOOST_TEST(text(first, "category") == "null");
  BOOST_TEST(text(first, "quantity") == "9");
  BOOST_TEST(text(first, "revenue") == "6.00");
  BOOST_TEST(text(first, "share") == "0.6000");
  BOOST_TEST(text(first, "previous_rank") == "3");
  BOOST_TEST(text(first, "rank_change") == "2");
  BOOST_TEST(text(row(ber, "products", 1), "previous_rank") == "null");
  BOOST_TEST(text(row(ber, "products", 1), "rank_change") == "null");
  // A tie: by id.
  BOOST_TEST(text(row(ber, "products", 2), "product_id") == "a");
  BOOST_TEST(text(row(ber, "products", 2), "rank_change") == "-2");
}

BOOST_AUTO_TEST_CASE(products_of_several_branches_add_up) {
  plan("top-products",
       {{"branch_id", "ber"}, {"branch_id", "nyc"}, {"by", "quantity"}});
  answers["ber"].products
    = products({product("a", 2, 10, 5), product("b", 3, 10)});
  auto renamed = product("a", 2, 10, 9);
  renamed.label.name = "New name";
  answers["nyc"].products = products({renamed, product("z", 1, 10)});
  answers["ber"].previous_products = products({product("b", 3, 10)});
  answers["nyc"].previous_products = products({product("z", 4, 10)});
  const auto& total = at(json(), "total");
  BOOST_REQUIRE(at(total, "products").elements.size() == 3u);
  BOOST_TEST(text(row(total, "products", 0), "product_id") == "a");
  BOOST_TEST(text(row(total, "products", 0), "name") == "New name");
  BOOST_TEST(text(row(total, "products", 0), "quantity") == "4");
  BOOST_TEST(text(row(total, "products", 0), "share") == "0.5000");
  BOOST_TEST(text(row(total, "products", 1), "previous_rank") == "2");
  BOOST_TEST(text(row(total, "products", 2), "previous_rank") == "1");
}

BOOST_AUTO_TEST_CASE(shares_are_rounded_and_never_overflow) {
  BOOST_TEST(render_share(0, 0) == "0.0000");
  BOOST_TEST(render_share(1, 3) == "0.3333");
  BOOST_TEST(render_share(2, 3) == "0.6667");
  BOOST_TEST(render_share(1, 20'000) == "0.0001");
  BOOST_TEST(render_share(1, 20'001) == "0.0000");
  BOOST_TEST(render_share(7, 7) == "1.0000");
  auto huge = std::numeric_limits<int64_t>::max();
  BOOST_TEST(render_share(huge, huge) == "1.0000");
  BOOST_TEST(render_share(huge / 2, huge) == "0.5000");
  BOOST_TEST(render_share(huge / 40'001, huge / 40'001) == "1.0000");
}

// -- customers ----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(loyal_customers_are_merged_and_ranked) {
  plan("loyal-customers",
       {{"branch_id", "ber"}, {"branch_id", "nyc"}, {"limit", "3"}});
  auto x = [](uint8_t n, int64_t purchases, minor_units revenue) {
    return loyal_customer{customer(n), {purchases, revenue, midday}};
  };
  answers["ber"].customers = {x(1, 9, 100), x(2, 5, 900), x(3, 5, 800)};
  answers["nyc"].customers = {x(2, 9, 100), x(9, 5, 900)};
  const auto& json_root = json();
  const auto& total = at(json_root, "total");
  BOOST_REQUIRE(at(total, "customers").elements.size() == 3u);
  BOOST_TEST(text(row(total, "customers", 0), "user_id")
             == to_string(customer(1)));
  BOOST_TEST(text(row(total, "customers", 0), "branch_id") == "ber");
  BOOST_TEST(text(row(total, "customers", 1), "branch_id") == "nyc");
  BOOST_TEST(text(row(total, "customers", 2), "user_id")
             == to_string(customer(2)));
  BOOST_TEST(text(row(total, "customers", 2), "last_purchase_at")
             == "2019-04-17T12:00:00.000Z");
  const auto& ber = row(json_root, "branches", 0);
  BOOST_TEST((row(ber, "customers", 0).find("branch_id") == nullptr));
  asked.csv = true;
  auto csv = reply().body;
  BOOST_TEST(csv.find("branch_id,rank,user_id,purchases,revenue,"
                      "last_purchase_at,customer_branch_id\r\n")
             == 0u);
  BOOST_TEST(csv.find("\r\n*,2," + to_string(customer(2))
                      + ",9,1.00,2019-04-17T12:00:00.000Z,nyc\r\n")
             != std::string::npos);
  BOOST_TEST(csv.find("\r\nber,1," + to_string(customer(1))
                      + ",9,1.00,2019-04-17T12:00:00.000Z,ber\r\n")
             != std::string::npos);
}

BOOST_AUTO_TEST_CASE(unique_customers_add_contributions_to_the_chain) {
  plan("unique-customers", {{"from", "2019-04-01"}, {"to", "2019-04-02"}});
  sell("ber", "2019-04-01", 1, 9, {5, 2, 5});
  sell("nyc", "2019-04-01", 1, 9, {4, 1, 2});
  const auto& x = json();
  const auto& total = at(x, "total");
  BOOST_TEST(text(row(total, "days", 0), "customers") == "7");
  BOOST_TEST(text(row(total, "days", 0), "new_customers") == "3");
  BOOST_TEST(text(row(total, "days", 0), "returning_customers") == "4");
  BOOST_TEST(text(row(total, "days", 1), "customers") == "0");
  const auto& nyc = row(x, "branches", 3);
  BOOST_TEST(text(row(nyc, "days", 0), "customers") == "4");
  BOOST_TEST(text(row(nyc, "days", 0), "returning_customers") == "3");
}

BOOST_AUTO_TEST_CASE(unique_customers_of_some_branches_come_from_the_tables) {
  plan("unique-customers", {{"from", "2019-04-01"},
                            {"to", "2019-04-02"},
                            {"branch_id", "ber"},
                            {"branch_id", "nyc"}});
  sell("ber", "2019-04-01", 1, 9, {5, 2, 5});
  sell("nyc", "2019-04-01", 1, 9, {4, 1, 2});
  subsets.resize(1);
  subsets[0].subset_customers[*parse_day("2019-04-01")] = 8;
  const auto& total = at(json(), "total");
  BOOST_TEST(text(row(total, "days", 0), "customers") == "8");
  BOOST_TEST(text(row(total, "days", 0), "returning_customers") == "5");
  BOOST_TEST(text(row(total, "days", 1), "customers") == "0");
}

BOOST_AUTO_TEST_CASE(one_branch_alone_counts_its_own_customers) {
  plan("unique-customers",
       {{"from", "2019-04-01"}, {"to", "2019-04-01"}, {"branch_id", "nyc"}});
  sell("nyc", "2019-04-01", 1, 9, {4, 1, 2});
  BOOST_TEST(text(row(at(json(), "total"), "days", 0), "customers") == "4");
}

// -- one product, heat map ----------------------------------------------------

BOOST_AUTO_TEST_CASE(a_product_has_a_row_a_day_and_sums) {
  plan("product", {{"product_id", "a"},
                   {"from", "2019-04-01"},
                   {"to", "2019-04-03"},
                   {"branch_id", "ber"},
                   {"branch_id", "nyc"}});
  answers["ber"].product_days = {{*parse_day("2019-04-02"), {2, 500}}};
  answers["ber"].label = {"Old", "", 4};
  answers["nyc"].product_days = {{*parse_day("2019-04-02"), {1, 250}},
                                 {*parse_day("2019-04-03"), {1, 200}}};
  answers["nyc"].label = {"New", "", 5};
  const auto& x = json();
  BOOST_TEST(text(x, "name") == "New");
  BOOST_TEST(text(x, "product_id") == "a");
  const auto& total = at(x, "total");
  BOOST_TEST(text(total, "quantity") == "4");
  BOOST_TEST(text(total, "revenue") == "9.50");
  BOOST_TEST(text(row(total, "days", 0), "quantity") == "0");
  BOOST_TEST(text(row(total, "days", 1), "revenue") == "7.50");
  BOOST_TEST(text(row(x, "branches", 0), "revenue") == "5.00");
}

BOOST_AUTO_TEST_CASE(a_product_that_nobody_sold_has_zeros_and_no_name) {
  plan("product", {{"product_id", "?"}, {"from", "2019-04-17"}});
  const auto& x = json();
  BOOST_TEST(text(x, "name") == "null");
  BOOST_TEST(text(at(x, "total"), "revenue") == "0.00");
}

BOOST_AUTO_TEST_CASE(a_heat_map_has_168_cells_and_adds_up) {
  plan("heatmap");
  for (auto& [id, x] : answers) {
    auto cells = std::make_shared<heat_map>();
    (*cells)[heat_cell(7, 23)] = {100, 1, 1};
    x.heat = cells;
  }
  const auto& x = json();
  const auto& total = at(x, "total");
  BOOST_REQUIRE(at(total, "cells").elements.size() == 168u);
  const auto& last = row(total, "cells", 167);
  BOOST_TEST(text(last, "weekday") == "7");
  BOOST_TEST(text(last, "hour") == "23");
  BOOST_TEST(text(last, "revenue") == "4.00");
  BOOST_TEST(text(last, "purchases") == "4");
  BOOST_TEST(text(row(total, "cells", 0), "weekday") == "1");
  BOOST_TEST(text(row(total, "cells", 0), "hour") == "0");
}

BOOST_AUTO_TEST_SUITE_END()

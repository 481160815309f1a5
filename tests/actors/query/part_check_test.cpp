#include "actors/query/part_check.hpp"

#include "messages/core/error.hpp"

#include <boost/test/unit_test.hpp>

#include <memory>

using namespace tillstream;

namespace {

using kind = shard_query::kind;

calendar_day day(const char* text) {
  return *parse_day(text);
}

product_sums_ptr products(std::vector<std::string> ids) {
  auto result = std::make_shared<std::vector<product_sums>>();
  for (auto& id : ids)
    result->push_back({std::move(id), {}, {}});
  return result;
}

struct fixture {
  fixture() {
    query.from = day("2019-04-01");
    query.to = day("2019-04-03");
    query.limit = 2;
    part.branch_id = "b";
  }

  bool fits(kind what) {
    query.what = what;
    auto err
      = check_part(query, "b", std::make_shared<const shard_answer>(part));
    BOOST_TEST((!err || err == errc::internal));
    return !err;
  }

  shard_query query;
  shard_answer part;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(part_check_suite, fixture)

BOOST_AUTO_TEST_CASE(a_part_must_be_there_and_of_its_branch) {
  BOOST_TEST((check_part(query, "b", nullptr) == errc::internal));
  BOOST_TEST(fits(kind::status));
  BOOST_TEST(fits(kind::summary));
  part.branch_id = "c";
  BOOST_TEST(!fits(kind::status));
  BOOST_TEST(!fits(kind::summary));
}

BOOST_AUTO_TEST_CASE(days_are_those_of_the_query_in_order) {
  BOOST_TEST(fits(kind::days));
  part.days = {{day("2019-04-01"), {}}, {day("2019-04-03"), {}}};
  BOOST_TEST(fits(kind::days));
  part.days = {{day("2019-03-31"), {}}};
  BOOST_TEST(!fits(kind::days));
  part.days = {{day("2019-04-04"), {}}};
  BOOST_TEST(!fits(kind::days));
  part.days = {{day("2019-04-01"), {}}, {day("2019-04-01"), {}}};
  BOOST_TEST(!fits(kind::days));
  // One between two that are right must not escape.
  part.days = {
    {day("2019-04-01"), {}}, {day("2019-05-01"), {}}, {day("2019-04-03"), {}}};
  BOOST_TEST(!fits(kind::days));
}

BOOST_AUTO_TEST_CASE(so_are_the_days_of_a_product) {
  BOOST_TEST(fits(kind::product_days));
  part.product_days = {{day("2019-04-01"), {}}, {day("2019-04-02"), {}}};
  BOOST_TEST(fits(kind::product_days));
  part.product_days = {{day("1901-01-01"), {}}};
  BOOST_TEST(!fits(kind::product_days));
}

BOOST_AUTO_TEST_CASE(hours_are_of_days_of_the_query) {
  BOOST_TEST(fits(kind::hours));
  part.hours = {{day("2019-04-03"), {}, {}}};
  BOOST_TEST(fits(kind::hours));
  part.hours = {{day("2019-04-04"), {}, {}}};
  BOOST_TEST(!fits(kind::hours));
}

BOOST_AUTO_TEST_CASE(a_heat_map_must_be_there) {
  BOOST_TEST(!fits(kind::heat));
  part.heat = std::make_shared<const heat_map>();
  BOOST_TEST(fits(kind::heat));
}

BOOST_AUTO_TEST_CASE(products_of_both_periods_are_there_each_once_by_id) {
  BOOST_TEST(!fits(kind::products));
  part.products = products({"a", "b"});
  BOOST_TEST(!fits(kind::products));
  part.previous_products = products({});
  BOOST_TEST(fits(kind::products));
  part.products = products({"b", "a"});
  BOOST_TEST(!fits(kind::products));
  part.products = products({"a", "a"});
  BOOST_TEST(!fits(kind::products));
}

BOOST_AUTO_TEST_CASE(a_ranking_is_no_longer_than_was_asked) {
  part.customers.resize(2);
  BOOST_TEST(fits(kind::loyal));
  part.customers.resize(3);
  BOOST_TEST(!fits(kind::loyal));
}

BOOST_AUTO_TEST_SUITE_END()

#include "actors/query/buckets.hpp"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace tillstream;

namespace {

std::string start(const char* day, bucket_size step) {
  return to_string(bucket_start(*parse_day(day), step));
}

std::string next(const char* day, bucket_size step) {
  return to_string(next_bucket(*parse_day(day), step));
}

} // namespace

BOOST_AUTO_TEST_SUITE(buckets_suite)

BOOST_AUTO_TEST_CASE(sizes_have_names) {
  for (auto x : {bucket_size::hour, bucket_size::day, bucket_size::week,
                 bucket_size::month})
    BOOST_TEST((find_bucket_size(to_string(x)) == x));
  BOOST_TEST(to_string(bucket_size::week) == "week");
  BOOST_TEST(!find_bucket_size("year"));
  BOOST_TEST(!find_bucket_size(""));
}

BOOST_AUTO_TEST_CASE(weeks_begin_on_monday_and_months_on_the_first) {
  BOOST_TEST(start("2019-01-06", bucket_size::day) == "2019-01-06");
  BOOST_TEST(start("2019-01-06", bucket_size::week) == "2018-12-31");
  BOOST_TEST(start("2019-01-07", bucket_size::week) == "2019-01-07");
  BOOST_TEST(start("2020-02-29", bucket_size::month) == "2020-02-01");
}

BOOST_AUTO_TEST_CASE(a_bucket_ends_where_the_next_begins) {
  BOOST_TEST(next("2020-02-28", bucket_size::day) == "2020-02-29");
  BOOST_TEST(next("2018-12-31", bucket_size::week) == "2019-01-07");
  BOOST_TEST(next("2020-02-01", bucket_size::month) == "2020-03-01");
}

BOOST_AUTO_TEST_SUITE_END()

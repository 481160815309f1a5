#include "actors/query/accept.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;

BOOST_AUTO_TEST_SUITE(accept_suite)

BOOST_AUTO_TEST_CASE(csv_is_what_is_asked_for_by_name) {
  BOOST_TEST(prefers_csv("text/csv"));
  BOOST_TEST(prefers_csv("TEXT/CSV; charset=utf-8"));
  BOOST_TEST(prefers_csv("text/*"));
  BOOST_TEST(prefers_csv("application/json;q=0.5, text/csv"));
  BOOST_TEST(prefers_csv("*/*;q=0.1, text/csv"));
  BOOST_TEST(!prefers_csv(""));
  BOOST_TEST(!prefers_csv("*/*"));
  BOOST_TEST(!prefers_csv("application/json"));
  BOOST_TEST(!prefers_csv("text/html, application/xhtml+xml, */*;q=0.8"));
  BOOST_TEST(!prefers_csv("text/csv;q=0.5, application/json"));
  BOOST_TEST(!prefers_csv("text/csv;q=0"));
  BOOST_TEST(!prefers_csv("text/csvx"));
  BOOST_TEST(!prefers_csv(",,;;q=,"));
}

BOOST_AUTO_TEST_SUITE_END()

#include "actors/aggregation/stream_incarnation.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;

namespace {

std::string next(const std::string& own, uint64_t seq,
                 const std::string& incarnation, uint64_t last_seq) {
  branch_cursor cursor;
  cursor.stream_incarnation = own;
  cursor.stream_seq = seq;
  stream_state stream;
  stream.incarnation = incarnation;
  stream.last_seq = last_seq;
  return next_incarnation(cursor, stream);
}

} // namespace

BOOST_AUTO_TEST_SUITE(stream_incarnation_suite)

BOOST_AUTO_TEST_CASE(the_same_stream_is_the_same_incarnation) {
  BOOST_TEST(next("t1", 5, "t1", 5) == "t1");
  BOOST_TEST(next("t1", 5, "t1", 9) == "t1");
  BOOST_TEST(next("t1#2", 5, "t1", 9) == "t1#2");
}

BOOST_AUTO_TEST_CASE(a_stream_made_anew_is_another_incarnation) {
  BOOST_TEST(next("t1", 5, "t2", 9) == "t2");
  BOOST_TEST(next("t1#3", 5, "t2", 9) == "t2");
  BOOST_TEST(next("", 0, "t2", 9) == "t2");
}

BOOST_AUTO_TEST_CASE(a_stream_that_came_back_shorter_is_another_incarnation) {
  BOOST_TEST(next("t1", 5, "t1", 4) == "t1#1");
  BOOST_TEST(next("t1#1", 5, "t1", 4) == "t1#2");
  BOOST_TEST(next("t1#1", 0, "t1", 4) == "t1#1");
}

BOOST_AUTO_TEST_SUITE_END()

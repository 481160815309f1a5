#include "actors/aggregation/stream_follower.hpp"

#include "messages/core/limits.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

using step = stream_follower::step;
using phase = stream_follower::phase;

const stream_follower::time_point start{1000s};

struct fixture {
  fixture() {
    cursor.stream_incarnation = "t1";
    cursor.stream_seq = 5;
    stream.incarnation = "t1";
    stream.last_seq = 9;
  }

  step next(stream_follower::time_point now = start, bool synced = true) {
    return follower.next(cursor, synced, now);
  }

  /// Starts, and probes the stream.
  void probe(stream_follower::time_point now = start) {
    if (follower.at() == phase::closed)
      follower.start(now);
    BOOST_REQUIRE((next(now) == step::probe));
    follower.probe_sent();
    BOOST_TEST((next(now) == step::none));
    follower.probe_answered(stream);
  }

  branch_cursor cursor;
  stream_state stream;
  stream_follower follower{"branch-1", 8, 100, 1};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(stream_follower_suite, fixture)

BOOST_AUTO_TEST_CASE(deliveries_begin_behind_the_cursor) {
  BOOST_TEST((next() == step::none));
  probe();
  BOOST_TEST((next() == step::open));
  auto how = follower.open(cursor, start);
  BOOST_TEST(how.first_seq == 6u);
  BOOST_TEST(how.generation == 101u);
  BOOST_TEST(how.credit == 8u);
  BOOST_TEST(follower.is_following());
  BOOST_TEST((next() == step::none));
}

BOOST_AUTO_TEST_CASE(opening_again_waits_and_has_another_generation) {
  probe();
  follower.open(cursor, start);
  auto when = follower.reopen(start, branch_inbox::trouble::gap);
  BOOST_TEST((when > start));
  BOOST_TEST((next(when - 1ns) == step::none));
  probe(when);
  BOOST_TEST(follower.open(cursor, when).generation == 102u);
}

BOOST_AUTO_TEST_CASE(an_answer_from_before_a_load_is_ignored) {
  follower.start(start);
  follower.probe_sent();
  follower.close();
  follower.start(start);
  follower.probe_answered(stream);
  BOOST_TEST((follower.at() == phase::waiting));
  BOOST_TEST((next() == step::probe));
}

BOOST_AUTO_TEST_CASE(the_first_incarnation_is_adopted) {
  cursor = {};
  probe();
  BOOST_TEST((next() == step::adopt));
  BOOST_TEST(follower.adopt(cursor) == "t1");
  cursor.stream_incarnation = "t1";
  probe();
  BOOST_TEST((next() == step::open));
}

BOOST_AUTO_TEST_CASE(what_is_missing_is_published_before_the_cursor_moves) {
  stream.incarnation = "t2";
  probe();
  BOOST_TEST((next() == step::republish));
  BOOST_TEST(follower.republish(cursor) == "t2");
  BOOST_TEST((next() == step::none));
  follower.republished("t2");
  BOOST_TEST((next() == step::adopt));
  BOOST_TEST(follower.adopt(cursor) == "t2");
}

BOOST_AUTO_TEST_CASE(a_load_meanwhile_does_not_publish_twice) {
  stream.incarnation = "t2";
  probe();
  follower.republish(cursor);
  follower.close();
  follower.republished("t2");
  BOOST_TEST((follower.at() == phase::closed));
  probe();
  BOOST_TEST((next() == step::adopt));
}

BOOST_AUTO_TEST_CASE(what_is_missing_is_known_once_the_backlog_is_synced) {
  stream.last_seq = 4;
  probe();
  BOOST_TEST((next(start, false) == step::reopen));
  BOOST_TEST((next() == step::republish));
  BOOST_TEST(follower.republish(cursor) == "t1#1");
}

BOOST_AUTO_TEST_CASE(publishing_again_can_be_put_off) {
  stream.incarnation = "t2";
  probe();
  follower.postpone(start + 1s);
  BOOST_TEST((next(start + 999ms) == step::none));
  BOOST_TEST((next(start + 1s) == step::republish));
}

BOOST_AUTO_TEST_CASE(the_incarnation_is_checked_from_time_to_time) {
  auto interval = limits::incarnation_check_interval;
  BOOST_TEST(!follower.take_check(start + 1h));
  probe();
  follower.open(cursor, start);
  BOOST_TEST(!follower.take_check(start + interval - 1ms));
  BOOST_TEST(follower.take_check(start + interval));
  BOOST_TEST(!follower.take_check(start + interval));
  BOOST_TEST(!stream_follower::is_other(cursor, stream));
  stream.last_seq = 4;
  BOOST_TEST(stream_follower::is_other(cursor, stream));
}

BOOST_AUTO_TEST_SUITE_END()

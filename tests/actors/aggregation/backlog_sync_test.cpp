#include "actors/aggregation/backlog_sync.hpp"

#include "messages/core/limits.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

const backlog_sync::time_point start{1000s};
const timestamp db_start = *parse_rfc3339("2026-03-10T12:00:00Z");

struct fixture {
  fixture() {
    cursor.recorded_at = db_start;
  }

  commit_notice make() {
    commit_notice result;
    result.branch_id = "branch-1";
    result.seq = ++seq;
    result.event_id = source.v7(db_start + 1s * seq);
    result.recorded_at = db_start + 1s * seq;
    return result;
  }

  /// Loads, and reads these purchases.
  uint64_t read(const std::vector<commit_notice>& notices) {
    sync.loaded(start, db_start);
    auto what = sync.next_read(cursor, start);
    BOOST_REQUIRE(what);
    sync.read(what->round, notices);
    return what->round;
  }

  int64_t seq = 0;
  uuid_source source{1};
  branch_cursor cursor;
  backlog_sync sync{"branch-1", backlog_limits{4, 8}, 3, 1};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(backlog_sync_suite, fixture)

BOOST_AUTO_TEST_CASE(what_is_committed_and_not_in_the_event_log_is_pending) {
  auto a = make(), b = make();
  read({a, b});
  BOOST_TEST(!sync.synced());
  auto what = sync.next_lookup(start);
  BOOST_REQUIRE(what);
  BOOST_TEST(what->event_ids.size() == 2u);
  sync.looked_up(*what, {a.event_id});
  BOOST_TEST(sync.synced());
  BOOST_TEST(sync.pending().count() == 1);
  BOOST_TEST(sync.pending().is_pending(b.event_id));
  BOOST_TEST(sync.republish_after(cursor) == cursor.outbox_seq);
  cursor.outbox_seq = 7;
  BOOST_TEST(sync.republish_after(cursor) == b.seq - 1);
  BOOST_TEST(!sync.next_read(cursor, start));
}

BOOST_AUTO_TEST_CASE(reading_begins_a_margin_before_the_cursor) {
  sync.loaded(start, db_start);
  auto what = sync.next_read(cursor, start);
  BOOST_REQUIRE(what);
  BOOST_TEST((what->since == db_start - limits::backlog_margin));
}

BOOST_AUTO_TEST_CASE(without_recent_purchases_there_is_nothing_to_look_up) {
  read({});
  BOOST_TEST(!sync.next_lookup(start));
  BOOST_TEST(sync.synced());
}

BOOST_AUTO_TEST_CASE(a_full_read_is_followed_by_another) {
  auto a = make(), b = make(), c = make();
  read({a, b, c});
  sync.looked_up(*sync.next_lookup(start), {a.event_id, b.event_id});
  BOOST_TEST(sync.synced());
  auto what = sync.next_read(cursor, start);
  BOOST_REQUIRE(what);
  BOOST_TEST((what->since < c.recorded_at));
  sync.read(what->round, {c});
  sync.looked_up(*sync.next_lookup(start), {});
  BOOST_TEST(sync.pending().count() == 1);
  BOOST_TEST(!sync.next_read(cursor, start));
}

BOOST_AUTO_TEST_CASE(answers_wait_for_the_sync_until_the_grace_is_over) {
  auto end = start + limits::shard_sync_grace;
  BOOST_TEST(!sync.in_grace(start));
  read({make()});
  BOOST_TEST(sync.in_grace(end - 1ms));
  BOOST_TEST(!sync.in_grace(end));
  sync.looked_up(*sync.next_lookup(start), {});
  BOOST_TEST(!sync.in_grace(start));
}

BOOST_AUTO_TEST_CASE(a_failure_ends_the_grace_and_is_retried_later) {
  sync.loaded(start, db_start);
  auto what = sync.next_read(cursor, start);
  sync.read_failed(what->round, start);
  BOOST_TEST(!sync.in_grace(start));
  BOOST_TEST(!sync.next_read(cursor, start));
  BOOST_TEST(sync.next_read(cursor, start + 1s).has_value());
}

BOOST_AUTO_TEST_CASE(a_lookup_that_failed_repeats_the_read) {
  read({make()});
  sync.lookup_failed(*sync.next_lookup(start), start);
  BOOST_TEST(!sync.synced());
  BOOST_TEST(!sync.next_lookup(start));
  BOOST_TEST(sync.next_read(cursor, start + 1s).has_value());
}

BOOST_AUTO_TEST_CASE(answers_of_a_round_that_is_over_are_ignored) {
  auto a = make();
  auto round = read({a});
  auto what = sync.next_lookup(start);
  // Not synced yet: the grace does not begin anew.
  BOOST_TEST(!sync.restart(start + 500ms));
  sync.looked_up(*what, {a.event_id});
  BOOST_TEST(!sync.synced());
  auto second = sync.next_read(cursor, start);
  BOOST_REQUIRE(second);
  sync.read(round, {});
  sync.read_failed(round, start);
  BOOST_TEST(!sync.next_lookup(start));
  sync.read(second->round, {a});
  sync.looked_up(*sync.next_lookup(start), {});
  BOOST_TEST(sync.synced());
  BOOST_TEST(sync.restart(start));
  BOOST_TEST(sync.in_grace(start));
}

BOOST_AUTO_TEST_CASE(a_notice_for_what_is_applied_is_found_in_the_event_log) {
  read({});
  sync.next_lookup(start);
  auto a = make();
  sync.committed({a});
  BOOST_TEST(!sync.next_lookup(start));
  sync.tick(start + 1min, db_start);
  auto what = sync.next_lookup(start + 1min);
  BOOST_REQUIRE(what);
  // A failure does not count as looked up.
  sync.lookup_failed(*what, start + 1min);
  BOOST_TEST((sync.reconciled_at() < start + 1min));
  sync.tick(start + 2min, db_start);
  what = sync.next_lookup(start + 2min);
  BOOST_REQUIRE(what);
  sync.looked_up(*what, {a.event_id});
  BOOST_TEST((sync.reconciled_at() == start + 2min));
  BOOST_TEST(sync.pending().count() == 0);
  BOOST_TEST(sync.pending().recently_applied(a.event_id));
}

BOOST_AUTO_TEST_CASE(an_answer_tells_how_far_it_reaches) {
  auto a = make();
  sync.committed({a});
  shard_answer answer;
  sync.add_progress(answer, cursor, db_start + 1h);
  BOOST_TEST(!answer.lag_ms);
  BOOST_TEST((answer.as_of == db_start));
  read({a});
  // First what the notices said, then what was read.
  sync.looked_up(*sync.next_lookup(start), {});
  sync.looked_up(*sync.next_lookup(start), {});
  sync.add_progress(answer, cursor, a.recorded_at + 400ms);
  BOOST_TEST(answer.pending_events == 1);
  BOOST_TEST(answer.lag_ms.value_or(-1) == 400);
  BOOST_TEST((answer.as_of == a.recorded_at - 1ms));
}

BOOST_AUTO_TEST_CASE(only_new_events_are_known_applied_if_some_were_set_aside) {
  auto a = make(), b = make();
  sync.committed({a, b});
  apply_request request;
  for (const auto& x : {a, b}) {
    stream_event event;
    event.event.event_id = x.event_id;
    event.event.outbox_seq = x.seq;
    event.event.recorded_at = x.recorded_at;
    request.events.push_back(event);
  }
  apply_outcome outcome;
  outcome.applied = {a.event_id};
  outcome.quarantined = 1;
  sync.applied(request, outcome, db_start + 1min);
  BOOST_TEST(sync.pending().count() == 0);
  BOOST_TEST(sync.pending().recently_applied(a.event_id));
  BOOST_TEST(!sync.pending().recently_applied(b.event_id));
}

BOOST_AUTO_TEST_SUITE_END()

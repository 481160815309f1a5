#include "storage/ports/backlog_store.hpp"

#include "tests/support/outbox_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::test;

namespace {

struct fixture : outbox_fixture {
  backlog_store_ptr backlog = must(open_backlog_store(dsn));
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(backlog_store_suite, fixture)

BOOST_AUTO_TEST_CASE(recent_events_are_those_of_the_branch_since_then) {
  auto old = sell(3);
  sell(2, "branch-2");
  pass_millisecond_of(old);
  auto fresh = sell(4);
  confirm(fresh);
  auto since = fresh[0].recorded_at;
  auto found = must(backlog->recent("branch-1", since, 100));
  BOOST_TEST(seqs(found) == seqs(fresh), boost::test_tools::per_element());
  BOOST_TEST(!found[0].payload);
  BOOST_TEST(must(backlog->recent("branch-1", since, 2)).size() == 2u);
  BOOST_TEST(must(backlog->recent("branch-1", timestamp{}, 100)).size() == 7u);
}

BOOST_AUTO_TEST_CASE(recent_events_come_by_age_and_no_more_is_read) {
  sell(100, "branch-2");
  sell(400);
  // The last was made first: its writer waited between making and numbering.
  psql->run("UPDATE purchases SET outbox_seq = outbox_seq + 1000 WHERE "
            "purchase_id = (SELECT purchase_id FROM purchases WHERE "
            "branch_id = 'branch-1' ORDER BY 1 LIMIT 1)");
  auto rows_read = [&] {
    psql->run("SELECT pg_stat_force_next_flush()");
    return number(*psql, "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes "
                         "WHERE relname = 'purchases'");
  };
  auto before = rows_read();
  auto found = must(backlog->recent("branch-1", timestamp{}, 5));
  BOOST_REQUIRE(found.size() == 5u);
  BOOST_TEST(found[0].seq > 1000);
  backlog.reset();
  BOOST_TEST(eventually([&] { return rows_read() > before; }));
  BOOST_TEST(rows_read() < before + 50);
}

BOOST_AUTO_TEST_CASE(events_that_the_outbox_has_no_more_are_not_recent) {
  auto old = sell(3);
  pass_millisecond_of(old);
  auto fresh = sell(2);
  psql->run(
    fmt::format("DELETE FROM outbox_events WHERE seq < {}", fresh[0].seq));
  auto found = must(backlog->recent("branch-1", timestamp{}, 100));
  BOOST_TEST(seqs(found) == seqs(fresh), boost::test_tools::per_element());
  // An id that none of us made: only its time counts.
  psql->run("INSERT INTO outbox_events SELECT branch_id, "
            "overlay(event_id::text placing '0000' from 20)::uuid, "
            "overlay(purchase_id::text placing '0000' from 20)::uuid, "
            "seq, created_at, payload FROM outbox_events LIMIT 1");
  BOOST_TEST(must(backlog->recent("branch-1", timestamp{}, 100)).size() == 2u);
  psql->run("DELETE FROM outbox_events");
  BOOST_TEST(must(backlog->recent("branch-1", timestamp{}, 100)).empty());
}

// As when a day is kept for one event that is stuck, and the next one dropped.
BOOST_AUTO_TEST_CASE(an_older_event_does_not_make_dropped_ones_recent) {
  auto stuck = sell(1);
  pass_millisecond_of(stuck);
  auto dropped = sell(2);
  psql->run(
    fmt::format("DELETE FROM outbox_events WHERE seq > {}", stuck[0].seq));
  auto since = dropped[0].recorded_at;
  BOOST_TEST(must(backlog->recent("branch-1", since, 100)).empty());
}

BOOST_AUTO_TEST_CASE(the_age_of_a_sent_event_is_told_and_new_is_minus_one) {
  auto sold = sell(2);
  confirm({sold[0]});
  auto age = must(backlog->sent_age("branch-1", sold[0].event_id));
  BOOST_REQUIRE(age);
  BOOST_TEST(*age >= 0);
  BOOST_TEST(*age < 60'000);
  auto waiting = must(backlog->sent_age("branch-1", sold[1].event_id));
  BOOST_REQUIRE(waiting);
  BOOST_TEST(*waiting == -1);
  BOOST_TEST(!must(backlog->sent_age("branch-2", sold[0].event_id)));
  BOOST_TEST(!must(backlog->sent_age("branch-1", make.new_id())));
}

BOOST_AUTO_TEST_CASE(a_lost_connection_is_unavailable) {
  psql->run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
            "application_name = 'tillstream-backlog' AND "
            "datname = current_database()");
  auto found = backlog->recent("branch-1", timestamp{}, 10);
  BOOST_REQUIRE(!found);
  BOOST_TEST((found.error() == errc::unavailable));
}

BOOST_AUTO_TEST_SUITE_END()

#include "storage/ports/outbox_store.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "tests/support/made_up_purchases.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::test;
using postgres::session;

namespace {

/// A database with a writer, a relay's store and psql.
struct fixture {
  std::string dsn = fresh_database("oltp");
  purchase_store_ptr writer = open_purchases(dsn);
  outbox_store_ptr outbox = must(open_outbox_store(dsn));
  postgres::session_ptr psql = open_psql(dsn);
  purchase_maker make;
  outbox_floor floor;

  std::vector<commit_notice>
  sell(size_t count, const std::string& branch = "branch-1") {
    std::vector<purchase_ptr> batch;
    for (size_t i = 0; i < count; ++i)
      batch.push_back(make.make([&](purchase& x) { x.branch_id = branch; }));
    return must(writer->record(batch)).committed;
  }

  std::vector<commit_notice> poll(size_t limit = limits::relay_poll_max) {
    return must(outbox->poll(floor, limit));
  }

  void mark(const std::vector<commit_notice>& notices) {
    std::vector<outbox_mark> marks;
    for (const auto& x : notices)
      marks.push_back({x.seq, x.event_id});
    must(outbox->mark_sent(marks));
  }

  int64_t count(const std::string& condition) {
    return number(*psql,
                  "SELECT count(*) FROM outbox_events WHERE " + condition);
  }

  /// Waits until whoever sells next does so later than these.
  void pass_millisecond_of(const std::vector<commit_notice>& sold) {
    BOOST_REQUIRE(eventually([&] {
      return number(*psql, "SELECT floor(extract(epoch FROM "
                           "clock_timestamp()) * 1000)::bigint")
             > to_ms(sold.back().recorded_at);
    }));
  }

  int64_t stored_mark() {
    return number(*psql, "SELECT seq FROM outbox_floor");
  }
};

std::vector<int64_t> seqs(const std::vector<commit_notice>& notices) {
  std::vector<int64_t> result;
  for (const auto& x : notices)
    result.push_back(x.seq);
  return result;
}

/// A sale of another session, which takes its number now and commits later:
/// what a writer does between its claims and its COMMIT.
class slow_sale {
public:
  explicit slow_sale(const std::string& dsn) : db_(open_psql(dsn)) {
    db_->run("BEGIN; SELECT pg_current_xact_id()");
    seq = number(*db_, "SELECT nextval('outbox_seq')");
  }

  void commit() {
    // Any id of today.
    auto id = to_string(uuid_source{}.v7(from_ms(number(
      *db_, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"))));
    db_->run(fmt::format("INSERT INTO outbox_events (branch_id, event_id, "
                         "purchase_id, seq, created_at, payload) VALUES "
                         "('branch-1', '{0}', '{0}', {1}, clock_timestamp(), "
                         "'late')",
                         id, seq));
    db_->run("COMMIT");
  }

  int64_t seq = 0;

private:
  postgres::session_ptr db_;
};

} // namespace

// -- reading ------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(outbox_store_suite)

BOOST_FIXTURE_TEST_CASE(a_poll_gives_what_is_new_in_order, fixture) {
  auto sold = sell(5);
  auto more = sell(5, "branch-2");
  sold.insert(sold.end(), more.begin(), more.end());
  auto found = poll();
  BOOST_TEST(seqs(found) == seqs(sold), boost::test_tools::per_element());
  for (size_t i = 0; i < found.size(); ++i) {
    BOOST_TEST(found[i].branch_id == sold[i].branch_id);
    BOOST_TEST((found[i].event_id == sold[i].event_id));
    BOOST_TEST((found[i].recorded_at == sold[i].recorded_at));
    BOOST_TEST(*found[i].payload == *sold[i].payload);
    BOOST_TEST(found[i].publish_round == 1);
  }
  // Nothing was marked, so the next poll gives it again.
  BOOST_TEST(poll(3).size() == 3u);
  mark(found);
  BOOST_TEST(poll().empty());
}

BOOST_FIXTURE_TEST_CASE(rows_are_fetched_by_number_in_order, fixture) {
  auto sold = sell(6);
  mark({sold[2]});
  auto found
    = must(outbox->fetch({sold[4].seq, sold[2].seq, sold[0].seq, 1'000'000}));
  BOOST_TEST(seqs(found) == (std::vector<int64_t>{sold[0].seq, sold[4].seq}),
             boost::test_tools::per_element());
  BOOST_TEST(*found[1].payload == *sold[4].payload);
  BOOST_TEST(must(outbox->fetch({})).empty());
}

BOOST_FIXTURE_TEST_CASE(payloads_come_in_the_order_asked, fixture) {
  auto sold = sell(3);
  auto other = sell(1, "branch-2");
  auto found = must(outbox->payloads(
    "branch-1", {sold[2].event_id, make.new_id(), sold[0].event_id}));
  BOOST_REQUIRE(found.size() == 3u);
  BOOST_TEST(found[0] == *sold[2].payload);
  BOOST_TEST(found[1] == "");
  BOOST_TEST(found[2] == *sold[0].payload);
  BOOST_TEST(must(outbox->payloads("branch-1", {other[0].event_id}))
             == std::vector<std::string>{""});
  BOOST_TEST(must(outbox->payloads("branch-1", {})).empty());
}

BOOST_FIXTURE_TEST_CASE(recent_events_are_those_of_the_branch_since_then,
                        fixture) {
  auto old = sell(3);
  sell(2, "branch-2");
  pass_millisecond_of(old);
  auto fresh = sell(4);
  mark(fresh);
  auto since = fresh[0].recorded_at;
  auto found = must(outbox->recent("branch-1", since, 100));
  BOOST_TEST(seqs(found) == seqs(fresh), boost::test_tools::per_element());
  BOOST_TEST(!found[0].payload);
  BOOST_TEST(must(outbox->recent("branch-1", since, 2)).size() == 2u);
  BOOST_TEST(must(outbox->recent("branch-1", timestamp{}, 100)).size() == 7u);
}

BOOST_FIXTURE_TEST_CASE(recent_events_come_by_age_and_no_more_is_read,
                        fixture) {
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
  auto found = must(outbox->recent("branch-1", timestamp{}, 5));
  BOOST_REQUIRE(found.size() == 5u);
  BOOST_TEST(found[0].seq > 1000);
  outbox.reset();
  BOOST_TEST(eventually([&] { return rows_read() > before; }));
  BOOST_TEST(rows_read() < before + 50);
}

BOOST_FIXTURE_TEST_CASE(events_that_the_outbox_has_no_more_are_not_recent,
                        fixture) {
  auto old = sell(3);
  pass_millisecond_of(old);
  auto fresh = sell(2);
  psql->run(
    fmt::format("DELETE FROM outbox_events WHERE seq < {}", fresh[0].seq));
  auto found = must(outbox->recent("branch-1", timestamp{}, 100));
  BOOST_TEST(seqs(found) == seqs(fresh), boost::test_tools::per_element());
  // An id that none of us made: only its time counts.
  psql->run("INSERT INTO outbox_events SELECT branch_id, "
            "overlay(event_id::text placing '0000' from 20)::uuid, "
            "overlay(purchase_id::text placing '0000' from 20)::uuid, "
            "seq, created_at, payload FROM outbox_events LIMIT 1");
  BOOST_TEST(must(outbox->recent("branch-1", timestamp{}, 100)).size() == 2u);
  psql->run("DELETE FROM outbox_events");
  BOOST_TEST(must(outbox->recent("branch-1", timestamp{}, 100)).empty());
}

// As when a day is kept for one event that is stuck, and the next one dropped.
BOOST_FIXTURE_TEST_CASE(an_older_event_does_not_make_dropped_ones_recent,
                        fixture) {
  auto stuck = sell(1);
  pass_millisecond_of(stuck);
  auto dropped = sell(2);
  psql->run(
    fmt::format("DELETE FROM outbox_events WHERE seq > {}", stuck[0].seq));
  auto since = dropped[0].recorded_at;
  BOOST_TEST(must(outbox->recent("branch-1", since, 100)).empty());
}

// -- marking ------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_row_is_marked_once, fixture) {
  auto sold = sell(4);
  mark({sold[0], sold[1]});
  auto first = text(*psql, "SELECT min(sent_at) FROM outbox_events");
  mark(sold);
  BOOST_TEST(text(*psql, "SELECT min(sent_at) FROM outbox_events") == first);
  BOOST_TEST(count("status = 'SENT' AND sent_at IS NOT NULL") == 4);
  must(outbox->mark_sent({}));
  must(outbox->mark_sent({{1'000'000, make.new_id()}}));
}

BOOST_FIXTURE_TEST_CASE(marking_touches_no_index_and_scans_no_table, fixture) {
  for (int i = 0; i < 8; ++i)
    mark(sell(100));
  outbox.reset();
  auto sum = [&](const std::string& column) {
    return number(*psql, fmt::format("SELECT sum({}) FROM pg_stat_user_tables "
                                     "WHERE relname LIKE 'outbox_events_%'",
                                     column));
  };
  BOOST_TEST(eventually([&] { return sum("n_tup_upd") == 800; }));
  BOOST_TEST(sum("n_tup_hot_upd") == 800);
  BOOST_TEST(sum("seq_scan") == 0);
  // Reading the day for each event would be 280,000.
  BOOST_TEST(number(*psql, "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes "
                           "WHERE relname LIKE 'outbox_events_%'")
             < 10'000);
}

BOOST_FIXTURE_TEST_CASE(the_backlog_counts_what_waits, fixture) {
  auto empty = must(outbox->backlog(floor));
  BOOST_TEST(empty.rows == 0);
  BOOST_TEST(empty.oldest_age_ms == 0);
  auto sold = sell(5);
  mark({sold[0]});
  psql->run("UPDATE outbox_events SET created_at = created_at - "
            "interval '10 minutes' WHERE seq = "
            + std::to_string(sold[1].seq));
  auto waiting = must(outbox->backlog(floor));
  BOOST_TEST(waiting.rows == 4);
  BOOST_TEST(waiting.oldest_age_ms >= 600'000);
  BOOST_TEST(waiting.oldest_age_ms < 660'000);
}

// -- the floor ----------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(the_floor_follows_what_is_sent, fixture) {
  auto sold = sell(10);
  mark(sold);
  BOOST_TEST(eventually([&] {
    poll();
    return floor.seq > sold.back().seq;
  }));
  auto more = sell(2);
  BOOST_TEST(poll().size() == 2u);
}

BOOST_FIXTURE_TEST_CASE(the_floor_stops_at_the_first_new_row, fixture) {
  auto sold = sell(10);
  auto rest = sold;
  rest.erase(rest.begin() + 4);
  mark(rest);
  BOOST_TEST(eventually([&] {
    poll();
    return floor.seq == sold[4].seq;
  }));
  for (int i = 0; i < 5; ++i)
    BOOST_TEST(seqs(poll()) == std::vector<int64_t>{sold[4].seq},
               boost::test_tools::per_element());
  BOOST_TEST(floor.seq == sold[4].seq);
}

BOOST_FIXTURE_TEST_CASE(a_row_that_commits_late_is_found, fixture) {
  mark(sell(3));
  slow_sale late{dsn};
  // Much happens meanwhile; the others take higher numbers and are sent.
  for (int i = 0; i < 5; ++i) {
    mark(sell(5));
    BOOST_TEST(poll().empty());
    BOOST_TEST(floor.seq <= late.seq);
  }
  late.commit();
  auto found = poll();
  BOOST_REQUIRE(found.size() == 1u);
  BOOST_TEST(found[0].seq == late.seq);
  mark(found);
  BOOST_TEST(eventually([&] {
    poll();
    return floor.seq > late.seq + 20;
  }));
}

BOOST_FIXTURE_TEST_CASE(a_stuck_transaction_hides_nothing_above_it, fixture) {
  slow_sale stuck{dsn};
  for (int i = 0; i < 4; ++i) {
    auto sold = sell(3);
    BOOST_TEST(seqs(poll()) == seqs(sold), boost::test_tools::per_element());
    mark(sold);
  }
  BOOST_TEST(poll().empty());
}

BOOST_FIXTURE_TEST_CASE(a_number_without_a_row_does_not_hold_the_floor,
                        fixture) {
  // Refused: its number is gone.
  must(writer->record(
    {make.make([&](purchase& x) { x.user_id = make.new_id(); })}));
  auto sold = sell(1);
  mark(sold);
  BOOST_TEST(eventually([&] {
    poll();
    return floor.seq > sold[0].seq;
  }));
}

BOOST_FIXTURE_TEST_CASE(a_relay_that_starts_begins_where_others_came_to,
                        fixture) {
  for (int i = 0; i < 3; ++i)
    mark(sell(400, "branch-3"));
  BOOST_TEST(eventually([&] {
    poll();
    return stored_mark() > 1200;
  }));
  auto sold = sell(1);
  outbox_floor fresh;
  BOOST_TEST(must(outbox->backlog(fresh)).rows == 1);
  BOOST_TEST(seqs(must(outbox->poll(fresh, 10))) == seqs(sold),
             boost::test_tools::per_element());
  BOOST_TEST(fresh.seq > 1200);
}

// -- the stream lost data
// --------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(what_the_broker_forgot_is_new_again, fixture) {
  auto sold = sell(6);
  auto others = sell(3, "branch-2");
  mark(sold);
  mark(others);
  auto waiting = sell(1);
  BOOST_TEST(must(outbox->republish("branch-1", sold[1].seq)) == 4);
  auto found = poll();
  BOOST_REQUIRE(found.size() == 5u);
  for (size_t i = 0; i < 4; ++i) {
    BOOST_TEST(found[i].seq == sold[i + 2].seq);
    BOOST_TEST(found[i].publish_round == 2);
    BOOST_TEST(*found[i].payload == *sold[i + 2].payload);
  }
  BOOST_TEST(found[4].publish_round == 1);
  BOOST_TEST(count("status = 'NEW' AND sent_at IS NOT NULL") == 0);
}

BOOST_FIXTURE_TEST_CASE(every_relay_notices_what_is_new_again, fixture) {
  for (int i = 0; i < 3; ++i)
    mark(sell(400));
  auto other = must(open_outbox_store(dsn));
  outbox_floor other_floor;
  BOOST_TEST(eventually([&] {
    poll();
    must(other->poll(other_floor, 10));
    return stored_mark() > 1200 && other_floor.seq > 1200;
  }));
  BOOST_TEST(must(outbox->republish("branch-1", 1190)) == 10);
  BOOST_TEST(stored_mark() == 1191);
  BOOST_TEST(must(other->poll(other_floor, 100)).size() == 10u);
  BOOST_TEST(poll().size() == 10u);
  // A relay that starts now sees it too.
  outbox_floor fresh;
  BOOST_TEST(must(outbox->poll(fresh, 100)).size() == 10u);
}

BOOST_FIXTURE_TEST_CASE(a_poll_does_not_wait_for_a_republish, fixture) {
  for (int i = 0; i < 3; ++i)
    mark(sell(400));
  psql->run("BEGIN; UPDATE outbox_floor SET generation = generation + 1");
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(poll().empty());
  BOOST_TEST(stored_mark() == 0);
  psql->run("ROLLBACK");
}

BOOST_FIXTURE_TEST_CASE(a_lost_session_is_unavailable, fixture) {
  psql->run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
            "application_name = 'tillstream-outbox' AND "
            "datname = current_database()");
  auto found = outbox->poll(floor, 10);
  BOOST_REQUIRE(!found);
  BOOST_TEST((found.error() == errc::unavailable));
  BOOST_TEST(
    (outbox->mark_sent({{1, make.new_id()}}).error() == errc::unavailable));
}

BOOST_AUTO_TEST_SUITE_END()

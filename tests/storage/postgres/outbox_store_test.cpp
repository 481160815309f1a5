#include "storage/ports/outbox_store.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "tests/support/outbox_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::test;

namespace {

struct fixture : outbox_fixture {
  outbox_floor floor;

  std::vector<commit_notice> poll(size_t limit = limits::relay_poll_max) {
    return must(outbox->poll(floor, limit));
  }

  int64_t count(const std::string& condition) {
    return number(*psql,
                  "SELECT count(*) FROM outbox_events WHERE " + condition);
  }

  int64_t stored_floor() {
    return number(*psql, "SELECT seq FROM outbox_floor");
  }
};

/// A sale over another connection, which takes its number now and commits
/// later: what a writer does between its claims and its COMMIT.
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
  postgres::connection_ptr db_;
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
  // Nothing was confirmed, so the next poll gives it again.
  BOOST_TEST(poll(3).size() == 3u);
  confirm(found);
  BOOST_TEST(poll().empty());
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

// -- confirming ---------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_row_is_confirmed_once, fixture) {
  auto sold = sell(4);
  confirm({sold[0], sold[1]});
  auto first = text(*psql, "SELECT min(sent_at) FROM outbox_events");
  confirm(sold);
  BOOST_TEST(text(*psql, "SELECT min(sent_at) FROM outbox_events") == first);
  BOOST_TEST(count("status = 'SENT' AND sent_at IS NOT NULL") == 4);
  must(outbox->confirm_sent({}));
  must(outbox->confirm_sent({{1'000'000, make.new_id()}}));
}

BOOST_FIXTURE_TEST_CASE(confirming_touches_no_index_and_scans_no_table,
                        fixture) {
  for (int i = 0; i < 8; ++i)
    confirm(sell(100));
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
  confirm({sold[0]});
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
  confirm(sold);
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
  confirm(rest);
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
  confirm(sell(3));
  slow_sale late{dsn};
  // Much happens meanwhile; the others take higher numbers and are sent.
  for (int i = 0; i < 5; ++i) {
    confirm(sell(5));
    BOOST_TEST(poll().empty());
    BOOST_TEST(floor.seq <= late.seq);
  }
  late.commit();
  auto found = poll();
  BOOST_REQUIRE(found.size() == 1u);
  BOOST_TEST(found[0].seq == late.seq);
  confirm(found);
  BOOST_TEST(eventually([&] {
    poll();
    return floor.seq > late.seq + 20;
  }));
}

// Nobody else takes a transaction id or ends meanwhile: no snapshot tells that
// this one is open.
BOOST_FIXTURE_TEST_CASE(a_row_that_commits_late_and_alone_is_found, fixture) {
  slow_sale late{dsn};
  for (int i = 0; i < 4; ++i) {
    BOOST_TEST(poll().empty());
    BOOST_TEST(floor.seq <= late.seq);
  }
  late.commit();
  auto found = poll();
  BOOST_REQUIRE(found.size() == 1u);
  BOOST_TEST(found[0].seq == late.seq);
}

BOOST_FIXTURE_TEST_CASE(a_poll_takes_one_transaction_id_at_most, fixture) {
  auto before = number(*psql, "SELECT pg_current_xact_id()::text::bigint");
  for (int i = 0; i < 10; ++i)
    poll();
  auto taken
    = number(*psql, "SELECT pg_current_xact_id()::text::bigint") - before;
  BOOST_TEST(taken <= 11);
}

BOOST_FIXTURE_TEST_CASE(a_stuck_transaction_hides_nothing_above_it, fixture) {
  slow_sale stuck{dsn};
  for (int i = 0; i < 4; ++i) {
    auto sold = sell(3);
    BOOST_TEST(seqs(poll()) == seqs(sold), boost::test_tools::per_element());
    confirm(sold);
  }
  BOOST_TEST(poll().empty());
}

BOOST_FIXTURE_TEST_CASE(a_number_without_a_row_does_not_hold_the_floor,
                        fixture) {
  // Refused: its number is gone.
  must(writer->record(
    {make.make([&](purchase& x) { x.user_id = make.new_id(); })}));
  auto sold = sell(1);
  confirm(sold);
  BOOST_TEST(eventually([&] {
    poll();
    return floor.seq > sold[0].seq;
  }));
}

BOOST_FIXTURE_TEST_CASE(a_relay_that_starts_begins_at_the_stored_floor,
                        fixture) {
  for (int i = 0; i < 3; ++i)
    confirm(sell(400, "branch-3"));
  BOOST_TEST(eventually([&] {
    poll();
    return stored_floor() > 1200;
  }));
  auto sold = sell(1);
  outbox_floor fresh;
  BOOST_TEST(must(outbox->backlog(fresh)).rows == 1);
  BOOST_TEST(seqs(must(outbox->poll(fresh, 10))) == seqs(sold),
             boost::test_tools::per_element());
  BOOST_TEST(fresh.seq > 1200);
}

// -- below the floor ----------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(rows_left_below_the_floor_are_found, fixture) {
  auto sold = sell(5);
  confirm(sold);
  // What an older version left.
  psql->run(fmt::format("UPDATE outbox_events SET status = 'NEW', sent_at = "
                        "NULL WHERE seq IN ({}, {}); "
                        "UPDATE outbox_floor SET seq = {}",
                        sold[1].seq, sold[3].seq, sold.back().seq + 1));
  auto waiting = sell(1);
  outbox = must(open_outbox_store(dsn));
  auto found = poll();
  BOOST_TEST(seqs(found)
               == (std::vector{sold[1].seq, sold[3].seq, waiting[0].seq}),
             boost::test_tools::per_element());
  BOOST_TEST(*found[0].payload == *sold[1].payload);
  BOOST_TEST(floor.seq == sold.back().seq + 1);
  BOOST_TEST(must(outbox->backlog(floor)).rows == 3);
  // Each store looks for itself, and finds what is still NEW.
  confirm({found[0]});
  outbox = must(open_outbox_store(dsn));
  BOOST_TEST(seqs(poll()) == (std::vector{sold[3].seq, waiting[0].seq}),
             boost::test_tools::per_element());
}

// -- the stream lost data -----------------------------------------------------

BOOST_FIXTURE_TEST_CASE(what_the_stream_lost_is_new_again, fixture) {
  auto sold = sell(6);
  auto others = sell(3, "branch-2");
  confirm(sold);
  confirm(others);
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
    confirm(sell(400));
  auto other = must(open_outbox_store(dsn));
  outbox_floor other_floor;
  BOOST_TEST(eventually([&] {
    poll();
    must(other->poll(other_floor, 10));
    return stored_floor() > 1200 && other_floor.seq > 1200;
  }));
  BOOST_TEST(must(outbox->republish("branch-1", 1190)) == 10);
  BOOST_TEST(stored_floor() == 1191);
  BOOST_TEST(must(other->poll(other_floor, 100)).size() == 10u);
  BOOST_TEST(poll().size() == 10u);
  // A relay that starts now sees it too.
  outbox_floor fresh;
  BOOST_TEST(must(outbox->poll(fresh, 100)).size() == 10u);
}

BOOST_FIXTURE_TEST_CASE(a_poll_does_not_wait_for_a_republish, fixture) {
  for (int i = 0; i < 3; ++i)
    confirm(sell(400));
  psql->run("BEGIN; UPDATE outbox_floor SET generation = generation + 1");
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(poll().empty());
  BOOST_TEST(stored_floor() == 0);
  psql->run("ROLLBACK");
}

BOOST_FIXTURE_TEST_CASE(a_lost_connection_is_unavailable, fixture) {
  psql->run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
            "application_name = 'tillstream-outbox' AND "
            "datname = current_database()");
  auto found = outbox->poll(floor, 10);
  BOOST_REQUIRE(!found);
  BOOST_TEST((found.error() == errc::unavailable));
  BOOST_TEST(
    (outbox->confirm_sent({{1, make.new_id()}}).error() == errc::unavailable));
}

BOOST_AUTO_TEST_SUITE_END()

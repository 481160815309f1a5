#include "storage/postgres/partitions.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "tests/support/made_up_purchases.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::test;

namespace {

constexpr std::chrono::days one_day{1};

struct database {
  std::string dsn;
  postgres::connection_ptr psql;

  explicit database(std::string_view schema)
    : dsn(fresh_database(schema)),
      psql(open_psql(dsn)) {
    // nop
  }

  calendar_day today() {
    return *parse_day(
      text(*psql, "SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date"));
  }

  std::vector<std::string> partitions(const std::string& table) {
    std::vector<std::string> result;
    for (auto row : psql->run(fmt::format(
           "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON "
           "c.oid = i.inhrelid WHERE inhparent = '{}'::regclass ORDER BY 1",
           table)))
      result.push_back(postgres::as_text(row[0]));
    return result;
  }

  /// An outbox partition of a past day, with one row.
  std::string add_old_outbox(int days_ago, const std::string& status) {
    auto day = today() - one_day * days_ago;
    auto name = partition_of("outbox_events", day);
    psql->run(fmt::format(
      "CREATE TABLE {0} PARTITION OF outbox_events "
      "FOR VALUES FROM ('{1}') TO ('{2}'); "
      "INSERT INTO outbox_events (branch_id, event_id, purchase_id, seq, "
      "created_at, payload, status) VALUES ('b', '{1}', '{1}', 1, now(), 'x', "
      "'{3}')",
      name, to_string(uuid7_floor(timestamp{day})),
      to_string(uuid7_floor(timestamp{day + one_day})), status));
    return name;
  }

  static std::string partition_of(const std::string& table, calendar_day day) {
    auto digits = tillstream::to_string(day);
    std::erase(digits, '-');
    return table + "_" + digits;
  }

  bool has_table(const std::string& name) {
    return text(*psql,
                fmt::format("SELECT to_regclass('{}') IS NOT NULL", name))
           == "t";
  }
};

bool mentions(const std::vector<std::string>& sentences,
              const std::string& words) {
  return std::any_of(sentences.begin(), sentences.end(), [&](const auto& x) {
    return x.find(words) != std::string::npos;
  });
}

} // namespace

BOOST_AUTO_TEST_SUITE(partitions_suite)

BOOST_AUTO_TEST_CASE(an_unknown_schema_and_no_retention_are_refused) {
  database db{""};
  BOOST_TEST(
    (maintain_partitions(db.dsn, "other", 7).error() == errc::invalid));
  BOOST_TEST((maintain_partitions(db.dsn, "oltp", 0).error() == errc::invalid));
}

BOOST_AUTO_TEST_CASE(a_week_of_partitions_lies_ahead) {
  database oltp{"oltp"};
  auto days = oltp.partitions("outbox_events");
  BOOST_TEST(days.size() == 2u + limits::partitions_ahead_days);
  BOOST_TEST(
    days.front()
    == database::partition_of("outbox_events", oltp.today() - one_day));
  database analytics{"analytics"};
  days = analytics.partitions("analytics_event_log");
  BOOST_TEST(days.size()
             == 2u + limits::retention_days + limits::partitions_ahead_days);
  BOOST_TEST(must(maintain_partitions(oltp.dsn, "oltp", 7)).empty());
  BOOST_TEST(must(maintain_partitions(analytics.dsn, "analytics", 7)).empty());
}

BOOST_AUTO_TEST_CASE(pages_of_the_outbox_keep_room_and_are_not_vacuumed) {
  database db{"oltp"};
  BOOST_TEST(number(*db.psql,
                    "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND "
                    "relname LIKE 'outbox_events_%' AND reloptions IS DISTINCT "
                    "FROM ARRAY['fillfactor=50', "
                    "'autovacuum_vacuum_threshold=2147483647', "
                    "'autovacuum_vacuum_insert_threshold=-1']")
             == 0);
}

BOOST_AUTO_TEST_CASE(missing_days_are_attached_again) {
  database db{"oltp"};
  auto days = db.partitions("outbox_events");
  db.psql->run("DROP TABLE " + days[4] + ", " + days.back());
  auto changes = must(maintain_partitions(db.dsn, "oltp", 7));
  BOOST_TEST(changes.size() == 2u);
  BOOST_TEST(mentions(changes, "attached " + days[4]));
  BOOST_TEST(db.partitions("outbox_events") == days,
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(days_before_the_oldest_are_never_made_again) {
  database db{"analytics"};
  auto days = db.partitions("analytics_event_log");
  db.psql->run("DROP TABLE " + days[0] + ", " + days[1]);
  BOOST_TEST(must(maintain_partitions(db.dsn, "analytics", 30)).empty());
  BOOST_TEST(db.partitions("analytics_event_log").front() == days[2]);
}

BOOST_AUTO_TEST_CASE(a_day_beyond_the_retention_goes_when_all_is_sent) {
  database db{"oltp"};
  auto sent = db.add_old_outbox(9, "SENT");
  auto unsent = db.add_old_outbox(10, "NEW");
  auto changes = must(maintain_partitions(db.dsn, "oltp", 7));
  BOOST_TEST(mentions(changes, "dropped " + sent));
  BOOST_TEST(mentions(changes, "kept " + unsent));
  BOOST_TEST(!db.has_table(sent));
  BOOST_TEST(number(*db.psql, "SELECT count(*) FROM outbox_events") == 1);
  db.psql->run("UPDATE outbox_events SET status = 'SENT'");
  must(maintain_partitions(db.dsn, "oltp", 7));
  BOOST_TEST(!db.has_table(unsent));
}

BOOST_AUTO_TEST_CASE(a_day_within_the_retention_stays) {
  database db{"oltp"};
  auto name = db.add_old_outbox(7, "SENT");
  must(maintain_partitions(db.dsn, "oltp", 7));
  BOOST_TEST(db.has_table(name));
}

BOOST_AUTO_TEST_CASE(the_event_log_keeps_one_day_more) {
  database db{"analytics"};
  auto days = db.partitions("analytics_event_log");
  auto changes = must(maintain_partitions(db.dsn, "analytics", 5));
  BOOST_TEST(changes.size() == 2u);
  BOOST_TEST(db.partitions("analytics_event_log").front() == days[2]);
}

BOOST_AUTO_TEST_CASE(what_a_dead_node_left_half_detached_is_finished) {
  database db{"oltp"};
  auto detached = db.add_old_outbox(9, "SENT");
  auto unsent = db.add_old_outbox(10, "NEW");
  db.psql->run("ALTER TABLE outbox_events DETACH PARTITION " + detached);
  db.psql->run("ALTER TABLE outbox_events DETACH PARTITION " + unsent);
  auto changes = must(maintain_partitions(db.dsn, "oltp", 7));
  BOOST_TEST(mentions(changes, "dropped " + detached));
  BOOST_TEST(mentions(changes, "attached " + unsent + " again"));
  BOOST_TEST(number(*db.psql, "SELECT count(*) FROM outbox_events") == 1);
}

BOOST_AUTO_TEST_CASE(a_detaching_that_was_interrupted_is_finished) {
  database db{"oltp"};
  auto name = db.add_old_outbox(9, "SENT");
  // A reader holds the old picture, so the detaching stops in its middle.
  auto reader = open_psql(db.dsn);
  reader->run("BEGIN; SELECT count(*) FROM outbox_events");
  db.psql->run("SET lock_timeout = '50ms'");
  BOOST_CHECK_THROW(db.psql->run("ALTER TABLE outbox_events DETACH PARTITION "
                                 + name + " CONCURRENTLY"),
                    std::exception);
  BOOST_TEST(number(*db.psql, "SELECT count(*) FROM pg_inherits "
                              "WHERE inhdetachpending")
             == 1);
  reader->run("ROLLBACK");
  auto changes = must(maintain_partitions(db.dsn, "oltp", 7));
  BOOST_TEST(mentions(changes, "dropped " + name));
  BOOST_TEST(!db.has_table(name));
}

BOOST_AUTO_TEST_CASE(old_days_are_left_to_the_node_that_is_at_it) {
  database db{"oltp"};
  auto name = db.add_old_outbox(9, "SENT");
  db.psql->run("SELECT pg_advisory_lock(1953066092, 3)");
  BOOST_TEST(must(maintain_partitions(db.dsn, "oltp", 7)).empty());
  BOOST_TEST(db.has_table(name));
}

BOOST_AUTO_TEST_CASE(nodes_may_maintain_partitions_at_once) {
  database db{"oltp"};
  auto days = db.partitions("outbox_events");
  db.psql->run("DROP TABLE " + days[3]);
  auto old = db.add_old_outbox(9, "SENT");
  using result = caf::expected<std::vector<std::string>>;
  std::vector<result> results(4, result{std::vector<std::string>{}});
  std::vector<std::thread> threads;
  for (auto& x : results)
    threads.emplace_back([&] { x = maintain_partitions(db.dsn, "oltp", 7); });
  for (auto& x : threads)
    x.join();
  size_t changes = 0;
  for (auto& x : results)
    changes += must(x).size();
  BOOST_TEST(changes == 2u);
  BOOST_TEST(!db.has_table(old));
  BOOST_TEST(db.has_table(days[3]));
}

BOOST_AUTO_TEST_CASE(writers_go_on_while_partitions_change) {
  database db{"oltp"};
  db.add_old_outbox(9, "SENT");
  auto writer = open_purchases(db.dsn);
  purchase_maker make;
  // An open transaction that has read the table: detaching waits for it, and
  // nobody waits for the detaching.
  auto reader = open_psql(db.dsn);
  reader->run("BEGIN; SELECT count(*) FROM outbox_events");
  std::thread keeper{[&] { must(maintain_partitions(db.dsn, "oltp", 7)); }};
  BOOST_TEST(eventually([&] {
    return number(*db.psql, "SELECT count(*) FROM pg_inherits "
                            "WHERE inhdetachpending")
           == 1;
  }));
  auto results = must(writer->record(make.make_many(5))).results;
  reader->run("ROLLBACK");
  keeper.join();
  for (const auto& x : results)
    BOOST_TEST((x.outcome == verdict::recorded));
}

BOOST_AUTO_TEST_SUITE_END()

#include "storage/postgres/connection.hpp"

#include "tests/support/eventually.hpp"
#include "tests/support/must.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <optional>
#include <string>

using namespace tillstream;
using namespace tillstream::storage::postgres;
using test::must;

namespace {

constexpr statement echo{"test_echo", R"(
  SELECT $1::text, $2::bigint, $3::boolean, $4::uuid, $5::date,
         (extract(epoch FROM $6::timestamptz) * 1000)::bigint,
         $7::text IS NULL, cardinality($8::bigint[]))"};

constexpr statement count_plans{"test_count_plans", R"(
  SELECT generic_plans + custom_plans FROM pg_prepared_statements
   WHERE name = 'test_echo')"};

struct fixture {
  std::string show(connection& on, const std::string& setting) {
    return as_text(on.run("SHOW " + setting)[0][0]);
  }

  std::string dsn = test::fresh_database("");
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(connection_suite, fixture)

BOOST_AUTO_TEST_CASE(options_become_settings_of_the_connection) {
  connection_options options;
  options.application_name = "tillstream-test";
  options.statement_timeout = std::chrono::milliseconds{1234};
  options.lock_timeout = std::chrono::milliseconds{345};
  connection db{dsn, options};
  BOOST_TEST(show(db, "application_name") == "tillstream-test");
  BOOST_TEST(show(db, "statement_timeout") == "1234ms");
  BOOST_TEST(show(db, "lock_timeout") == "345ms");
  BOOST_TEST(show(db, "timezone") == "UTC");
  BOOST_TEST(show(db, "enable_seqscan") == "on");
  options.pinned_plans = true;
  connection pinned{dsn, options};
  BOOST_TEST(show(pinned, "plan_cache_mode") == "force_generic_plan");
  BOOST_TEST(show(pinned, "enable_seqscan") == "off");
}

BOOST_AUTO_TEST_CASE(what_the_dsn_says_wins) {
  BOOST_REQUIRE(dsn.find('?') == std::string::npos);
  connection db{dsn + "?application_name=of-the-dsn"};
  BOOST_TEST(show(db, "application_name") == "of-the-dsn");
}

BOOST_AUTO_TEST_CASE(every_kind_of_argument_arrives_as_it_was) {
  connection db{dsn};
  auto id = uuid_source{1}.v4();
  auto day = *parse_day("2024-02-29");
  auto when = from_ms(1'700'000'000'123);
  array_of<int64_t> three;
  for (int64_t x : {1, 2, 3})
    three.add(x);
  auto row = db.exec(echo, "a \"quote\" and a \\", -5, true, id, day, when,
                     std::optional<std::string>{}, three)[0];
  BOOST_TEST(as_text(row[0]) == "a \"quote\" and a \\");
  BOOST_TEST(as_int(row[1]) == -5);
  BOOST_TEST(as_bool(row[2]));
  BOOST_TEST((as_uuid(row[3]) == id));
  BOOST_TEST((as_day(row[4]) == day));
  BOOST_TEST((as_timestamp(row[5]) == when));
  BOOST_TEST(as_bool(row[6]));
  BOOST_TEST(as_int(row[7]) == 3);
}

BOOST_AUTO_TEST_CASE(a_statement_is_prepared_once) {
  connection db{dsn};
  auto ask = [&] {
    db.exec(echo, "", 1, false, uuid{}, *parse_day("2024-01-01"), from_ms(0),
            std::optional<std::string>{"x"}, array_of<int64_t>{});
  };
  for (int i = 0; i < 3; ++i)
    ask();
  BOOST_TEST(as_int(db.exec(count_plans)[0][0]) == 3);
}

BOOST_AUTO_TEST_CASE(a_lost_connection_stays_broken) {
  connection db{dsn};
  connection other{dsn};
  BOOST_TEST(!db.broken());
  auto pid = as_text(db.run("SELECT pg_backend_pid()")[0][0]);
  other.run("SELECT pg_terminate_backend(" + pid + ")");
  for (int i = 0; i < 2; ++i) {
    auto result = guarded(db, [&]() -> caf::expected<int64_t> {
      return as_int(db.run("SELECT 1")[0][0]);
    });
    BOOST_REQUIRE(!result);
    BOOST_TEST((result.error() == errc::unavailable));
  }
  BOOST_TEST(db.broken());
  BOOST_TEST(!db.in_transaction());
}

BOOST_AUTO_TEST_CASE(what_cannot_be_reached_or_read_is_unavailable) {
  for (std::string where :
       {"postgresql://127.0.0.1:1/none", "host=127.0.0.1 port=1 dbname=none",
        "no DSN at all"}) {
    auto result = open_connection(where);
    BOOST_REQUIRE(!result);
    BOOST_TEST((result.error() == errc::unavailable));
  }
  BOOST_TEST(!must(open_connection(dsn))->broken());
}

BOOST_AUTO_TEST_SUITE_END()

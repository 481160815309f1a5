#include "storage/postgres/migrate.hpp"

#include "messages/core/error.hpp"
#include "storage/postgres/schemas.hpp"
#include "tests/support/made_up_purchases.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <string>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::test;

BOOST_AUTO_TEST_SUITE(migrate_suite)

BOOST_AUTO_TEST_CASE(migrating_twice_changes_nothing) {
  for (std::string schema : {"oltp", "analytics"}) {
    auto dsn = fresh_database("");
    auto psql = open_psql(dsn);
    BOOST_TEST(must(migrate(dsn, schema)) == newest_version(schema));
    auto tables = number(*psql, "SELECT count(*) FROM pg_class");
    BOOST_TEST(must(migrate(dsn, schema)) == newest_version(schema));
    BOOST_TEST(number(*psql, "SELECT count(*) FROM pg_class") == tables);
    BOOST_TEST(number(*psql, "SELECT count(*) FROM schema_version")
               == newest_version(schema));
  }
}

BOOST_AUTO_TEST_CASE(nodes_may_migrate_at_once) {
  auto dsn = fresh_database("");
  std::vector<caf::expected<int>> results(4, caf::expected<int>{0});
  std::vector<std::thread> threads;
  for (auto& x : results)
    threads.emplace_back([&] { x = migrate(dsn, "oltp"); });
  for (auto& x : threads)
    x.join();
  for (auto& x : results)
    BOOST_TEST(must(x) == newest_version("oltp"));
}

BOOST_AUTO_TEST_CASE(a_newer_schema_is_refused) {
  auto dsn = fresh_database("oltp");
  auto psql = open_psql(dsn);
  psql->run("INSERT INTO schema_version (schema_name, number, name) "
            "VALUES ('oltp', 9999, 'of the future')");
  auto result = migrate(dsn, "oltp");
  BOOST_REQUIRE(!result);
  BOOST_TEST((result.error() == errc::invalid));
}

BOOST_AUTO_TEST_CASE(a_schema_that_is_not_ours_is_refused) {
  BOOST_TEST((migrate(fresh_database(""), "other").error() == errc::invalid));
}

BOOST_AUTO_TEST_SUITE_END()

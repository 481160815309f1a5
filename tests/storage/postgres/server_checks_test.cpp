#include "storage/postgres/server_checks.hpp"

#include "messages/core/error.hpp"
#include "tests/support/made_up_purchases.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::test;

namespace {

bool mentions(const std::vector<std::string>& sentences,
              const std::string& words) {
  return std::any_of(sentences.begin(), sentences.end(), [&](const auto& x) {
    return x.find(words) != std::string::npos;
  });
}

} // namespace

BOOST_AUTO_TEST_SUITE(server_checks_suite)

BOOST_AUTO_TEST_CASE(a_migrated_database_has_nothing_wrong) {
  for (std::string schema : {"oltp", "analytics"})
    BOOST_TEST(must(check_server(fresh_database(schema), schema)).empty());
}

BOOST_AUTO_TEST_CASE(an_older_schema_is_reported) {
  auto dsn = fresh_database("");
  BOOST_TEST(mentions(must(check_server(dsn, "oltp")), "tillstream migrate"));
}

BOOST_AUTO_TEST_CASE(a_newer_schema_is_reported) {
  auto dsn = fresh_database("oltp");
  open_psql(dsn)->run("INSERT INTO schema_version (schema_name, number, name) "
                      "VALUES ('oltp', 9999, 'of the future')");
  BOOST_TEST(mentions(must(check_server(dsn, "oltp")), "newer tillstream"));
}

BOOST_AUTO_TEST_CASE(a_schema_that_is_not_ours_is_refused) {
  BOOST_TEST(
    (check_server(fresh_database(""), "other").error() == errc::invalid));
}

BOOST_AUTO_TEST_CASE(unsafe_settings_are_reported_with_their_cure) {
  auto dsn = fresh_database("oltp");
  auto psql = open_psql(dsn);
  psql->run("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET "
            "synchronous_commit = off', current_database()); END $$");
  auto wrong = must(check_server(dsn, "oltp"));
  BOOST_REQUIRE(wrong.size() == 1u);
  BOOST_TEST(mentions(wrong, "synchronous_commit = on"));
}

BOOST_AUTO_TEST_SUITE_END()

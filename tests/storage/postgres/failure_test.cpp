#include "storage/postgres/failure.hpp"

#include <boost/test/unit_test.hpp>

#include <pqxx/except>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage::postgres;

namespace {

pqxx::sql_error refusal(const char* sqlstate) {
  return pqxx::sql_error{"no", "SELECT", sqlstate};
}

errc code_for(failure x) {
  auto error = to_error(x, std::runtime_error{"why"});
  for (auto code : {errc::in_doubt, errc::unavailable, errc::internal})
    if (error == code)
      return code;
  return errc::none;
}

} // namespace

BOOST_AUTO_TEST_SUITE(failure_suite)

BOOST_AUTO_TEST_CASE(a_sqlstate_says_what_to_do_next) {
  const std::vector<std::pair<const char*, failure>> expected{
    {"08006", failure::broken},     // The connection failed.
    {"57P01", failure::broken},     // The server shuts down.
    {"25P03", failure::broken},     // Idle in a transaction for too long.
    {"40001", failure::contention}, // A serialization failure.
    {"40P01", failure::contention}, // A deadlock.
    {"55P03", failure::contention}, // A lock time-out.
    {"53200", failure::contention}, // The lock table is full.
    {"23505", failure::duplicate},
    {"23503", failure::bad_data},  // A foreign key.
    {"22021", failure::bad_data},  // A character that the encoding lacks.
    {"53100", failure::exhausted}, // The disk is full.
    {"58030", failure::exhausted}, // An I/O error.
    {"57014", failure::exhausted}, // A statement time-out.
    {"25006", failure::exhausted}, // A standby.
    {"42P01", failure::exhausted}, // A table that is gone.
    {"42501", failure::exhausted}, // Rights that were taken.
    {"42601", failure::bug},       // A syntax error.
    {"", failure::bug},
  };
  for (const auto& [sqlstate, what] : expected) {
    BOOST_TEST((classify_sqlstate(sqlstate) == what), sqlstate);
    BOOST_TEST((classify(false, refusal(sqlstate)) == what), sqlstate);
  }
}

BOOST_AUTO_TEST_CASE(a_lost_connection_outweighs_what_was_said) {
  BOOST_TEST((classify(true, refusal("23505")) == failure::broken));
  BOOST_TEST(
    (classify(false, pqxx::broken_connection{"gone"}) == failure::broken));
}

BOOST_AUTO_TEST_CASE(a_commit_without_answer_is_in_doubt_whatever_else) {
  for (auto lost : {false, true})
    BOOST_TEST(
      (classify(lost, pqxx::in_doubt_error{"maybe"}) == failure::in_doubt));
}

BOOST_AUTO_TEST_CASE(exceptions_without_a_state_have_one) {
  BOOST_TEST(sqlstate_of(refusal("22003")) == "22003");
  BOOST_TEST(sqlstate_of(std::runtime_error{"no database"}) == "");
}

BOOST_AUTO_TEST_CASE(callers_learn_of_three_outcomes) {
  BOOST_TEST((code_for(failure::in_doubt) == errc::in_doubt));
  for (auto x : {failure::broken, failure::contention, failure::exhausted})
    BOOST_TEST((code_for(x) == errc::unavailable));
  for (auto x : {failure::duplicate, failure::bad_data, failure::bug})
    BOOST_TEST((code_for(x) == errc::internal));
}

BOOST_AUTO_TEST_CASE(a_servers_line_end_is_no_part_of_the_message) {
  auto error = to_error(failure::bug, std::runtime_error{"ERROR:  no \n"});
  auto text = describe(error);
  BOOST_TEST(text.find("ERROR:  no") != std::string::npos);
  BOOST_TEST(text.find('\n') == std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include "actors/upkeep/janitor.hpp"
#include "messages/core/error.hpp"
#include "tests/support/actor_fixture.hpp"

#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::tests;
using namespace std::chrono_literals;

namespace {

struct fixture : actor_fixture {
  fixture() {
    janitor_options options;
    options.maintain =
      [this](
        const std::string& schema) -> caf::expected<std::vector<std::string>> {
      rounds.push_back(schema);
      if (schema == broken)
        return caf::make_error(errc::unavailable, "fake");
      return std::vector<std::string>{"attached a partition"};
    };
    uut = sys.spawn(janitor, options);
    settle();
  }

  ~fixture() {
    end(uut);
  }

  std::vector<std::string> rounds;
  std::string broken;
  janitor_actor uut;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(janitor_suite, fixture)

BOOST_AUTO_TEST_CASE(both_schemas_are_maintained_at_start_and_each_hour) {
  auto expected = std::vector<std::string>{"oltp", "analytics"};
  BOOST_TEST(rounds == expected, boost::test_tools::per_element());
  advance(59min);
  BOOST_TEST(rounds.size() == 2u);
  advance(1min);
  BOOST_TEST(rounds.size() == 4u);
}

BOOST_AUTO_TEST_CASE(a_failure_costs_the_other_schema_nothing_and_is_retried) {
  broken = "oltp";
  advance(1h);
  BOOST_TEST(rounds.size() == 4u);
  BOOST_TEST(rounds.back() == "analytics");
  advance(1min);
  BOOST_TEST(rounds.size() == 6u);
  broken.clear();
  advance(1min);
  advance(59min);
  BOOST_TEST(rounds.size() == 8u);
}

BOOST_AUTO_TEST_SUITE_END()

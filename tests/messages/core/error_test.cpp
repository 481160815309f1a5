#include <boost/test/unit_test.hpp>

#include "messages/core/error.hpp"

#include <caf/error.hpp>
#include <caf/sec.hpp>

#include <set>

using namespace tillstream;

BOOST_AUTO_TEST_SUITE(error_suite)

BOOST_AUTO_TEST_CASE(every_code_has_a_name_of_its_own) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(errc::in_progress); ++i)
    names.insert(to_string(static_cast<errc>(i)));
  BOOST_TEST(names.size() == static_cast<size_t>(errc::in_progress) + 1);
  BOOST_TEST(!names.contains("unknown"));
  BOOST_TEST(to_string(static_cast<errc>(200)) == "unknown");
}

BOOST_AUTO_TEST_CASE(an_error_is_described_with_its_context) {
  BOOST_TEST(describe(caf::error{}) == "no error");
  BOOST_TEST(describe(caf::make_error(errc::timeout)) == "timeout");
  BOOST_TEST(describe(caf::make_error(errc::unavailable, "no route"))
             == "unavailable: no route");
  BOOST_TEST(describe(caf::make_error(errc::invalid, std::string{"a"}, 5))
             == "invalid: a 5");
  BOOST_TEST(
    describe(caf::make_error(caf::sec::request_timeout)).find("request_timeout")
    != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

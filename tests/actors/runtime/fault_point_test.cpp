#include <boost/test/unit_test.hpp>

#include "actors/runtime/fault_point.hpp"
#include "messages/core/error.hpp"

#include <stdexcept>

using namespace tillstream;

namespace {

struct fixture {
  ~fixture() {
    BOOST_TEST(static_cast<bool>(arm_fault_points("")));
  }
};

bool throws(std::string_view name) {
  try {
    fault_point(name);
    return false;
  } catch (const std::runtime_error&) {
    return true;
  }
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(fault_point_suite, fixture)

BOOST_AUTO_TEST_CASE(nothing_is_armed_at_first) {
  BOOST_TEST(!throws("a.b"));
}

BOOST_AUTO_TEST_CASE(an_armed_point_throws_as_often_as_configured) {
  BOOST_TEST(static_cast<bool>(arm_fault_points("a.b=throw:2,c.d=throw:1")));
  BOOST_TEST(!throws("a"));
  BOOST_TEST(throws("a.b"));
  BOOST_TEST(throws("c.d"));
  BOOST_TEST(throws("a.b"));
  BOOST_TEST(!throws("a.b"));
  BOOST_TEST(!throws("c.d"));
}

BOOST_AUTO_TEST_CASE(arming_replaces_and_an_empty_text_disarms) {
  BOOST_TEST(static_cast<bool>(arm_fault_points("a.b=throw:9")));
  BOOST_TEST(static_cast<bool>(arm_fault_points("c.d=throw:9")));
  BOOST_TEST(!throws("a.b"));
  BOOST_TEST(static_cast<bool>(arm_fault_points("")));
  BOOST_TEST(!throws("c.d"));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_read_is_refused_and_arms_nothing) {
  for (auto text : {"a.b", "a.b=throw", "a.b=throw:", "a.b=throw:x",
                    "a.b=throw:1x", "a.b=kill:1", "=throw:1", ",",
                    "a.b=throw:-1", "a.b=throw:99999999999999999999"}) {
    BOOST_TEST_CONTEXT(text) {
      auto result = arm_fault_points(text);
      BOOST_TEST((!result && result.error() == errc::invalid));
      BOOST_TEST(!throws("a.b"));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

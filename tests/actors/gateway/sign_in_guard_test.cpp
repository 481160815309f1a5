#include <boost/test/unit_test.hpp>

#include "actors/gateway/sign_in_guard.hpp"

#include <string>

using namespace tillstream;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(sign_in_guard_suite)

BOOST_AUTO_TEST_CASE(waits_begin_after_some_failures_and_double) {
  sign_in_guard guard;
  sign_in_guard::time_point t{};
  for (int i = 0; i + 1 < sign_in_guard::free_failures; ++i)
    guard.failed("a", t);
  BOOST_TEST(guard.wait_for("a", t).count() == 0);
  for (auto expected :
       {1000, 2000, 4000, 8000, 16'000, 32'000, 60'000, 60'000}) {
    guard.failed("a", t);
    BOOST_TEST(guard.wait_for("a", t).count() == expected);
    BOOST_TEST(guard.wait_for("b", t).count() == 0);
    t += std::chrono::milliseconds{expected};
    BOOST_TEST(guard.wait_for("a", t).count() == 0);
  }
}

BOOST_AUTO_TEST_CASE(success_and_time_forget_failures) {
  sign_in_guard guard;
  sign_in_guard::time_point t{};
  for (int i = 0; i < 20; ++i)
    guard.failed("a", t);
  guard.succeeded("a");
  BOOST_TEST(guard.wait_for("a", t).count() == 0);
  for (int i = 0; i < 20; ++i)
    guard.failed("b", t);
  BOOST_TEST(guard.wait_for("b", t).count() > 0);
  t += sign_in_guard::memory_max + 1s;
  guard.failed("b", t);
  BOOST_TEST(guard.wait_for("b", t).count() == 0);
}

BOOST_AUTO_TEST_CASE(more_addresses_than_have_a_place_wait_as_one) {
  sign_in_guard guard;
  sign_in_guard::time_point t{};
  for (size_t i = 0; i < sign_in_guard::addresses_max; ++i)
    guard.failed(std::to_string(i), t);
  for (int i = 0; i < sign_in_guard::free_failures; ++i)
    guard.failed("new " + std::to_string(i), t);
  BOOST_TEST(guard.wait_for("somebody else", t).count() > 0);
  BOOST_TEST(guard.wait_for("7", t).count() == 0);
}

BOOST_AUTO_TEST_SUITE_END()

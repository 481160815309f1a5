#include <boost/test/unit_test.hpp>

#include "actors/runtime/backoff.hpp"

#include <chrono>
#include <set>

using namespace tillstream;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(backoff_suite)

BOOST_AUTO_TEST_CASE(waits_double_up_to_the_maximum_with_half_of_it_drawn) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      backoff uut{seed, 50ms, 5s};
      caf::timespan whole = 50ms;
      for (int i = 0; i < 40; ++i) {
        auto wait = uut.next();
        BOOST_TEST((wait > whole / 2));
        BOOST_TEST((wait <= whole));
        whole = std::min<caf::timespan>(whole * 2, 5s);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_success_starts_over_with_the_minimum) {
  backoff uut{1, 50ms, 5s};
  for (int i = 0; i < 10; ++i)
    uut.next();
  BOOST_TEST((uut.next() > 2s));
  uut.reset();
  BOOST_TEST((uut.next() <= 50ms));
}

BOOST_AUTO_TEST_CASE(clients_that_failed_together_do_not_retry_together) {
  std::set<caf::timespan> waits;
  for (uint64_t seed = 0; seed < 100; ++seed)
    waits.insert(backoff{seed, 50ms, 5s}.next());
  BOOST_TEST(waits.size() > 90u);
  BOOST_TEST((*waits.begin() < 27ms));
  BOOST_TEST((*waits.rbegin() > 48ms));
}

BOOST_AUTO_TEST_SUITE_END()

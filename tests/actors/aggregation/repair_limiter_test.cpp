#include "actors/aggregation/repair_limiter.hpp"

#include <boost/test/unit_test.hpp>

#include <optional>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

repair_limiter_limits bounds() {
  repair_limiter_limits result;
  result.probes_per_second = 2;
  result.probes_burst = 3;
  result.republish_max = 2;
  return result;
}

/// How many probes are allowed at one moment.
int probes_at(repair_limiter& limiter, repair_limiter::time_point now) {
  int result = 0;
  while (result < 100 && limiter.may_probe(now))
    ++result;
  return result;
}

const repair_limiter::time_point start{1000s};

} // namespace

BOOST_AUTO_TEST_SUITE(repair_limiter_suite)

BOOST_AUTO_TEST_CASE(after_a_quiet_time_a_burst_of_probes_is_allowed) {
  repair_limiter limiter{bounds()};
  BOOST_TEST(probes_at(limiter, start) == 3);
  BOOST_TEST(probes_at(limiter, start + 1h) == 3);
}

BOOST_AUTO_TEST_CASE(probes_come_back_at_their_rate) {
  repair_limiter limiter{bounds()};
  probes_at(limiter, start);
  BOOST_TEST(!limiter.may_probe(start + 499ms));
  BOOST_TEST(limiter.may_probe(start + 500ms));
  BOOST_TEST(!limiter.may_probe(start + 500ms));
  BOOST_TEST(probes_at(limiter, start + 1500ms) == 2);
}

BOOST_AUTO_TEST_CASE(a_clock_that_steps_back_allows_no_probe) {
  repair_limiter limiter{bounds()};
  probes_at(limiter, start);
  BOOST_TEST(probes_at(limiter, start - 10s) == 0);
}

BOOST_AUTO_TEST_CASE(a_permit_counts_for_as_long_as_it_lives) {
  repair_limiter limiter{bounds()};
  auto first = limiter.acquire();
  auto second = limiter.acquire();
  BOOST_TEST((first && second));
  BOOST_TEST(!limiter.acquire());
  auto copy = first;
  first = nullptr;
  BOOST_TEST(!limiter.acquire());
  copy = nullptr;
  BOOST_TEST(!!limiter.acquire());
}

BOOST_AUTO_TEST_CASE(a_permit_may_outlive_the_limiter) {
  std::optional<repair_limiter> limiter;
  limiter.emplace(bounds());
  auto permit = limiter->acquire();
  limiter.reset();
  BOOST_TEST(permit.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(threads_together_get_no_more_permits_than_there_are) {
  repair_limiter limiter{bounds()};
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) {
        auto permit = limiter.acquire();
        if (!permit)
          continue;
        auto now = ++inside;
        auto seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now))
          ; // nop
        --inside;
      }
    });
  for (auto& x : threads)
    x.join();
  BOOST_TEST(most.load() >= 1);
  BOOST_TEST(most.load() <= 2);
}

BOOST_AUTO_TEST_SUITE_END()

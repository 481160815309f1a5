#include <boost/test/unit_test.hpp>

#include "actors/gateway/rate_limiter.hpp"

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

struct fixture {
  /// How many of `n` requests at once are granted.
  int granted(rate_limiter& limiter, const uuid& who, int n) {
    int result = 0;
    for (int i = 0; i < n; ++i)
      if (limiter.take(who, now) == 0ms)
        ++result;
    return result;
  }

  uuid_source ids{7};
  uuid key = ids.v4();
  rate_limiter::time_point now{1h};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(rate_limiter_suite, fixture)

BOOST_AUTO_TEST_CASE(without_a_rate_nothing_is_limited) {
  rate_limiter limiter;
  BOOST_TEST(granted(limiter, key, 10'000) == 10'000);
}

BOOST_AUTO_TEST_CASE(a_second_s_worth_is_granted_at_once) {
  rate_limiter limiter{20};
  BOOST_TEST(granted(limiter, key, 100) == 20);
}

BOOST_AUTO_TEST_CASE(the_wait_is_the_time_until_the_next_token) {
  rate_limiter limiter{20};
  granted(limiter, key, 20);
  auto wait = limiter.take(key, now);
  BOOST_TEST((wait == 50ms));
  now += wait - 1ms;
  // Rounded up, so that no client comes back too early.
  auto rest = limiter.take(key, now);
  BOOST_TEST((rest >= 1ms && rest <= 2ms));
  now += rest;
  BOOST_TEST((limiter.take(key, now) == 0ms));
}

BOOST_AUTO_TEST_CASE(in_the_long_run_the_rate_holds) {
  rate_limiter limiter{20};
  int sum = 0;
  for (int i = 0; i < 1000; ++i, now += 10ms)
    sum += granted(limiter, key, 5);
  BOOST_TEST(sum >= 20 + 199);
  BOOST_TEST(sum <= 20 + 200);
}

BOOST_AUTO_TEST_CASE(a_rate_below_one_still_grants_one) {
  rate_limiter limiter{0.1};
  BOOST_TEST(granted(limiter, key, 3) == 1);
  BOOST_TEST((limiter.take(key, now) == 10s));
}

BOOST_AUTO_TEST_CASE(keys_do_not_share_their_tokens) {
  rate_limiter limiter{2};
  BOOST_TEST(granted(limiter, key, 5) == 2);
  BOOST_TEST(granted(limiter, ids.v4(), 5) == 2);
}

// Goal: forgetting keys grants nobody more. Method: more keys than are kept
// without a sweep, while one of them has no token left.
BOOST_AUTO_TEST_CASE(a_key_that_is_used_up_is_not_forgotten) {
  rate_limiter limiter{1};
  BOOST_TEST(granted(limiter, key, 5) == 1);
  for (int i = 0; i < 5000; ++i)
    limiter.take(ids.v4(), now);
  BOOST_TEST(granted(limiter, key, 5) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

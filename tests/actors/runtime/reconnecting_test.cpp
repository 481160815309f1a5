#include <boost/test/unit_test.hpp>

#include "actors/runtime/reconnecting.hpp"

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

struct fixture {
  reconnecting<int> subject{[this]() -> caf::expected<std::unique_ptr<int>> {
                              ++attempts;
                              if (away)
                                return caf::make_error(errc::unavailable,
                                                       "connection refused");
                              return std::make_unique<int>(attempts);
                            },
                            7};
  reconnecting<int>::time_point now{1h};
  bool away = false;
  int attempts = 0;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(reconnecting_suite, fixture)

BOOST_AUTO_TEST_CASE(it_opens_once) {
  BOOST_TEST(!subject.is_open());
  BOOST_TEST(subject.open(now));
  BOOST_TEST(subject.open(now + 1h));
  BOOST_TEST(attempts == 1);
  BOOST_TEST(*subject == 1);
  BOOST_TEST(!subject.error());
}

BOOST_AUTO_TEST_CASE(what_cannot_be_opened_is_tried_again_after_a_backoff) {
  away = true;
  BOOST_TEST(!subject.open(now));
  BOOST_TEST((subject.error() == errc::unavailable));
  auto wait = subject.retry_at() - now;
  BOOST_TEST((wait > 0ms && wait <= limits::backoff_min));
  BOOST_TEST(!subject.open(subject.retry_at() - 1ns));
  BOOST_TEST(attempts == 1);
  for (int i = 0; i < 20; ++i) {
    now = subject.retry_at();
    BOOST_TEST(!subject.open(now));
  }
  BOOST_TEST(attempts == 21);
  wait = subject.retry_at() - now;
  BOOST_TEST((wait > limits::backoff_max / 2 && wait <= limits::backoff_max));
  away = false;
  BOOST_TEST(subject.open(subject.retry_at()));
  BOOST_TEST(!subject.error());
}

BOOST_AUTO_TEST_CASE(what_worked_for_a_while_is_opened_again_at_once) {
  subject.open(now);
  now += limits::backoff_max;
  subject.drop(now, caf::make_error(errc::unavailable, "reset by peer"));
  BOOST_TEST(!subject.is_open());
  BOOST_TEST((subject.error() == errc::unavailable));
  BOOST_TEST(subject.open(now));
  BOOST_TEST(*subject == 2);
}

BOOST_AUTO_TEST_CASE(what_broke_early_is_opened_after_a_backoff) {
  subject.open(now);
  now += limits::backoff_max - 1ms;
  subject.drop(now, caf::make_error(errc::unavailable, "reset by peer"));
  BOOST_TEST(!subject.open(now));
  BOOST_TEST(attempts == 1);
  BOOST_TEST(subject.open(subject.retry_at()));
}

BOOST_AUTO_TEST_SUITE_END()

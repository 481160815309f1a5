#include "actors/aggregation/event_waiters.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

using waiters = event_waiters<int>;
using numbers = std::vector<int>;

const waiters::time_point start{1000s};

uuid event(uint8_t n) {
  uuid result;
  result.bytes[15] = n;
  return result;
}

struct fixture {
  fixture() : all(3) {
    all.add(event(1), start + 1s, 1, true);
    all.add(event(2), start + 2s, 2, false);
    all.add(event(3), start + 3s, 3, true);
  }

  /// The numbers of the events to be looked up.
  numbers lookups(waiters::time_point now, size_t max = 100) {
    numbers result;
    for (const auto& id : all.take_lookups(now, max))
      result.push_back(id.bytes[15]);
    return result;
  }

  waiters all;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(event_waiters_suite, fixture)

BOOST_AUTO_TEST_CASE(those_whose_event_is_applied_are_released) {
  auto is_first = [](const uuid& x) { return x == event(1); };
  BOOST_TEST(all.take_applied(is_first) == numbers({1}));
  BOOST_TEST(all.take_applied(is_first).empty());
  BOOST_TEST(all.take_all() == numbers({2, 3}));
  BOOST_TEST(all.empty());
}

BOOST_AUTO_TEST_CASE(waiters_end_at_their_deadlines) {
  BOOST_TEST(all.take_expired(start).empty());
  BOOST_TEST(all.take_expired(start + 2s) == numbers({1, 2}));
}

BOOST_AUTO_TEST_CASE(an_event_is_looked_up_once) {
  BOOST_TEST(lookups(start) == numbers({1, 3}));
  BOOST_TEST(lookups(start).empty());
  all.looked_up();
  BOOST_TEST(lookups(start + 1h).empty());
}

BOOST_AUTO_TEST_CASE(a_lookup_is_bounded) {
  BOOST_TEST(lookups(start, 1) == numbers({1}));
  all.looked_up();
  BOOST_TEST(lookups(start, 1) == numbers({3}));
}

BOOST_AUTO_TEST_CASE(a_lookup_that_failed_is_repeated_a_little_later) {
  BOOST_TEST(lookups(start, 1) == numbers({1}));
  auto retry_at = all.lookup_failed(start);
  BOOST_TEST((retry_at > start));
  BOOST_TEST(lookups(retry_at - 1ms).empty());
  BOOST_TEST(lookups(retry_at) == numbers({1, 3}));
}

BOOST_AUTO_TEST_CASE(after_a_load_every_event_is_looked_up) {
  lookups(start);
  all.lookup_failed(start);
  all.need_lookups();
  BOOST_TEST(lookups(start) == numbers({1, 2, 3}));
}

BOOST_AUTO_TEST_CASE(their_number_is_bounded) {
  BOOST_TEST(all.full());
  all.take_expired(start + 1s);
  BOOST_TEST(!all.full());
}

BOOST_AUTO_TEST_SUITE_END()

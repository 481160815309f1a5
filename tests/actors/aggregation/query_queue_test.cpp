#include "actors/aggregation/query_queue.hpp"

#include <boost/test/unit_test.hpp>

#include <set>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

using queue = query_queue<int>;
using numbers = std::vector<int>;

const queue::time_point start{1000s};

shard_query_ptr query(shard_query::kind what) {
  shard_query result;
  result.what = what;
  return std::make_shared<const shard_query>(result);
}

template <class Entries>
numbers replies_of(const Entries& xs) {
  numbers result;
  for (const auto& x : xs)
    result.push_back(x.reply);
  return result;
}

struct fixture {
  fixture() : all(3) {
    all.push({query(shard_query::kind::loyal), start + 1s, 1});
    all.push({query(shard_query::kind::days), start + 2s, 2});
    all.push({query(shard_query::kind::status), start + 3s, 3});
  }

  auto advance() {
    return all.take_answerable(
      [this](const shard_query& x) -> std::optional<slice_request> {
        if (missing.count(x.what) == 0)
          return std::nullopt;
        slice_request result;
        result.what = slice_request::kind::loyal;
        return result;
      },
      [this](const shard_query& x) { return held_back.count(x.what) > 0; });
  }

  std::set<shard_query::kind> missing;
  std::set<shard_query::kind> held_back;
  queue all;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(query_queue_suite, fixture)

BOOST_AUTO_TEST_CASE(queries_with_all_their_slices_are_taken_in_their_order) {
  auto result = advance();
  BOOST_TEST(replies_of(result.answerable) == numbers({1, 2, 3}));
  BOOST_TEST(!result.missing);
  BOOST_TEST(all.empty());
}

BOOST_AUTO_TEST_CASE(a_query_that_lacks_a_slice_is_served_before_the_next) {
  missing.insert(shard_query::kind::days);
  auto result = advance();
  BOOST_TEST(replies_of(result.answerable) == numbers({1}));
  BOOST_REQUIRE(result.missing);
  BOOST_TEST((result.missing->what == slice_request::kind::loyal));
  missing.clear();
  BOOST_TEST(replies_of(advance().answerable) == numbers({2, 3}));
}

BOOST_AUTO_TEST_CASE(a_query_that_is_held_back_delays_nobody_behind_it) {
  held_back.insert(shard_query::kind::loyal);
  auto result = advance();
  BOOST_TEST(replies_of(result.answerable) == numbers({2, 3}));
  BOOST_TEST(!result.missing);
  BOOST_TEST(!all.empty());
}

BOOST_AUTO_TEST_CASE(queries_end_at_their_deadlines) {
  BOOST_TEST(replies_of(all.take_expired(start)).empty());
  BOOST_TEST(replies_of(all.take_expired(start + 2s)) == numbers({1, 2}));
  BOOST_TEST(replies_of(all.take_all()) == numbers({3}));
  BOOST_TEST(all.empty());
}

BOOST_AUTO_TEST_CASE(their_number_is_bounded) {
  BOOST_TEST(all.full());
  all.take_expired(start + 1s);
  BOOST_TEST(!all.full());
}

BOOST_AUTO_TEST_SUITE_END()

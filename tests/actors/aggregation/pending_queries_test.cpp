#include "actors/aggregation/pending_queries.hpp"

#include <boost/test/unit_test.hpp>

#include <vector>

using namespace tillstream;

namespace {

struct fixture {
  uint64_t open(size_t branches) {
    return pending.open(branches, [this](shard_answers_ptr x) {
      answers.push_back(std::move(x));
    });
  }

  static branch_answer part(const std::string& id) {
    auto x = std::make_shared<shard_answer>();
    x->branch_id = id;
    return {errc::none, std::move(x)};
  }

  std::vector<shard_answers_ptr> answers;
  pending_queries pending;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(pending_queries_suite, fixture)

BOOST_AUTO_TEST_CASE(the_last_part_completes_the_answer_in_order) {
  auto number = open(3);
  pending.take(number, 2, part("c"));
  pending.take(number, 0, part("a"));
  BOOST_TEST(answers.empty());
  pending.take(number, 1, {errc::not_owner, nullptr});
  BOOST_REQUIRE(answers.size() == 1u);
  const auto& parts = answers.front()->branches;
  BOOST_REQUIRE(parts.size() == 3u);
  BOOST_TEST(parts[0].answer->branch_id == "a");
  BOOST_TEST((parts[1].error == errc::not_owner));
  BOOST_TEST(parts[2].answer->branch_id == "c");
  BOOST_TEST(pending.size() == 0u);
}

BOOST_AUTO_TEST_CASE(queries_do_not_mix) {
  auto first = open(1);
  auto second = open(1);
  pending.take(second, 0, part("b"));
  BOOST_REQUIRE(answers.size() == 1u);
  BOOST_TEST(answers[0]->branches[0].answer->branch_id == "b");
  pending.take(first, 0, part("a"));
  BOOST_TEST(answers.size() == 2u);
}

BOOST_AUTO_TEST_CASE(what_is_late_counts_as_unavailable_and_is_dropped) {
  auto number = open(2);
  pending.take(number, 0, part("a"));
  pending.expire(number);
  BOOST_REQUIRE(answers.size() == 1u);
  BOOST_TEST((answers[0]->branches[0].error == errc::none));
  BOOST_TEST((answers[0]->branches[1].error == errc::unavailable));
  pending.take(number, 1, part("b"));
  pending.expire(number);
  BOOST_TEST(answers.size() == 1u);
}

BOOST_AUTO_TEST_CASE(whoever_waits_is_answered_when_it_ends) {
  {
    pending_queries ending;
    ending.open(1, [this](shard_answers_ptr x) { answers.push_back(x); });
  }
  BOOST_REQUIRE(answers.size() == 1u);
  BOOST_TEST((answers[0]->branches[0].error == errc::unavailable));
}

BOOST_AUTO_TEST_SUITE_END()

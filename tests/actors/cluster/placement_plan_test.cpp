#include "actors/cluster/placement_plan.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace tillstream;

namespace {

node_state node(const std::string& name, int64_t incarnation = 1) {
  node_state result;
  result.name = name;
  result.incarnation = incarnation;
  result.roles = "intake,shards,query";
  result.alive = result.holds = result.eligible = true;
  return result;
}

branch_owner
owned(const std::string& id, const std::string& by, int64_t incarnation = 1) {
  return {id, by, incarnation, 5, ""};
}

ownership_facts facts_of(const std::string& me) {
  ownership_facts result;
  result.nodes = {node("a"), node("b")};
  result.branches = {"branch-1", "branch-2", "branch-3", "branch-4"};
  result.node = me;
  result.incarnation = 1;
  return result;
}

using names = std::vector<std::string>;

} // namespace

BOOST_AUTO_TEST_SUITE(placement_plan_suite)

BOOST_AUTO_TEST_CASE(who_is_dead_or_lacks_the_role_is_no_candidate) {
  auto dead = node("dead");
  dead.alive = false;
  auto query = node("query");
  query.roles = "intake,query";
  // A lease that ran out is not dead yet.
  auto silent = node("silent");
  silent.holds = false;
  BOOST_TEST(
    (candidates({node("a"), dead, query, silent}) == names{"a", "silent"}));
}

BOOST_AUTO_TEST_CASE(who_wants_no_branches_is_the_last_resort) {
  auto ineligible = node("ineligible");
  ineligible.eligible = false;
  auto draining = node("draining");
  draining.draining = true;
  BOOST_TEST((candidates({draining, node("ok"), ineligible}) == names{"ok"}));
  BOOST_TEST((candidates({draining, ineligible}) == names{"ineligible"}));
  BOOST_TEST((candidates({draining}) == names{"draining"}));
  BOOST_TEST(candidates({}).empty());
}

BOOST_AUTO_TEST_CASE(free_branches_are_shared_without_a_word) {
  auto a = plan_ownership(facts_of("a"));
  auto b = plan_ownership(facts_of("b"));
  BOOST_TEST(a.acquire.size() == 2u);
  BOOST_TEST(b.acquire.size() == 2u);
  for (const auto& id : a.acquire)
    BOOST_TEST(
      (std::find(b.acquire.begin(), b.acquire.end(), id) == b.acquire.end()));
}

BOOST_AUTO_TEST_CASE(what_a_dead_incarnation_owned_is_free) {
  auto facts = facts_of("a");
  facts.nodes[0].incarnation = facts.incarnation = 2;
  facts.owners = {owned("branch-1", "a", 1), owned("branch-2", "a", 2),
                  owned("branch-3", "b"), owned("branch-4", "b")};
  BOOST_TEST(!is_owned(facts.owners[0], facts.nodes));
  auto plan = plan_ownership(facts);
  BOOST_TEST((plan.acquire == names{"branch-1"}));
  BOOST_TEST(plan.release.empty());
  BOOST_TEST(!plan.expecting);
}

BOOST_AUTO_TEST_CASE(who_has_too_many_gives_and_who_has_too_few_expects) {
  for (const auto* me : {"a", "b"}) {
    auto facts = facts_of(me);
    for (const auto& id : facts.branches)
      facts.owners.push_back(owned(id, "a"));
    auto plan = plan_ownership(facts);
    BOOST_TEST(plan.acquire.empty());
    BOOST_TEST(plan.release.size() == (std::string{me} == "a" ? 2u : 0u));
    BOOST_TEST(plan.expecting == (std::string{me} == "b"));
    for (const auto& [id, next] : plan.release)
      BOOST_TEST(next == "b");
  }
}

BOOST_AUTO_TEST_CASE(what_was_let_go_of_for_somebody_goes_there) {
  for (const auto* next : {"a", "b"})
    for (const auto* me : {"a", "b"}) {
      auto facts = facts_of(me);
      facts.owners = {owned("branch-1", "a"), owned("branch-2", "b"),
                      owned("branch-3", ""), owned("branch-4", "")};
      facts.owners[2].next = next;
      auto plan = plan_ownership(facts);
      auto takes
        = std::find(plan.acquire.begin(), plan.acquire.end(), "branch-3")
          != plan.acquire.end();
      BOOST_TEST(takes == (std::string{me} == next));
      BOOST_TEST(plan.acquire.size() == 1u);
    }
}

BOOST_AUTO_TEST_CASE(who_is_to_be_emptied_gives_everything) {
  auto facts = facts_of("a");
  facts.nodes[0].draining = true;
  facts.owners = {owned("branch-1", "a"), owned("branch-2", "a"),
                  owned("branch-3", "b"), owned("branch-4", "b")};
  BOOST_TEST(plan_ownership(facts).release.size() == 2u);
  // Alone it keeps them.
  facts.nodes.pop_back();
  facts.owners.resize(2);
  BOOST_TEST(plan_ownership(facts).release.empty());
}

BOOST_AUTO_TEST_CASE(a_branch_that_left_the_chain_is_nobodys_concern) {
  auto facts = facts_of("a");
  facts.owners = {owned("branch-0", "a")};
  auto plan = plan_ownership(facts);
  BOOST_TEST(plan.release.empty());
  BOOST_TEST(plan.acquire.size() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

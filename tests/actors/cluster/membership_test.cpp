#include "actors/cluster/membership.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "tests/support/ownership_model.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;
using namespace std::chrono_literals;

using phase = membership::phase;

namespace {

struct fixture {
  fixture() {
    facts.node = "a";
    node = make("a");
  }

  membership make(const std::string& name) {
    storage::node_identity who;
    who.name = name;
    who.process = ids.v4();
    who.roles = "shards";
    return {who, 5s, own_lease};
  }

  /// As OWNERSHIP does it. @returns whether the node is a member.
  bool heartbeat() {
    auto x = node.heartbeat(store, facts, 0);
    if (!x || !x->kept) {
      if (x)
        node.lapse(facts);
      return false;
    }
    membership::set_nodes(facts, std::move(x->nodes));
    node.renew_lease(facts);
    return true;
  }

  void join() {
    node.open("here:1");
    BOOST_REQUIRE(!node.join(store, facts));
  }

  /// Another node that sends one heartbeat.
  int64_t join_other() {
    storage::node_identity who;
    who.name = "b";
    who.process = ids.v4();
    who.roles = "shards";
    return *tables->join(who, 5s, true);
  }

  uuid_source ids{7};
  std::chrono::milliseconds now{1h};
  lease_ptr own_lease
    = std::make_shared<lease>([this] { return lease::time_point{now}; });
  test::ownership_tables_ptr tables
    = std::make_shared<test::ownership_tables>([this] { return now; });
  std::shared_ptr<test::model_ownership_store::mood> how
    = std::make_shared<test::model_ownership_store::mood>();
  test::model_ownership_store store{tables, how};
  ownership_facts facts;
  membership node;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(membership_suite, fixture)

BOOST_AUTO_TEST_CASE(a_node_joins_and_its_lease_holds_from_the_sending) {
  BOOST_TEST((node.at() == phase::closed));
  join();
  BOOST_TEST((node.at() == phase::member));
  BOOST_TEST(facts.incarnation != 0);
  BOOST_TEST(!node.lease_holds());
  BOOST_TEST(heartbeat());
  now += 4999ms;
  BOOST_TEST(node.lease_holds());
  now += 1ms;
  BOOST_TEST(!node.lease_holds());
}

BOOST_AUTO_TEST_CASE(another_process_under_our_name_keeps_it) {
  join();
  node.lapse(facts);
  BOOST_REQUIRE(tables->join({"a", ids.v4(), "shards", "", ""}, 60s, true));
  auto failed = node.join(store, facts);
  BOOST_TEST((failed == errc::not_owner));
  BOOST_TEST((node.at() == phase::lapsed));
  BOOST_TEST(facts.incarnation == 0);
}

BOOST_AUTO_TEST_CASE(a_node_that_was_declared_dead_joins_again) {
  join();
  heartbeat();
  auto first = facts.incarnation;
  now += 6s;
  BOOST_TEST(tables->declare_dead("a", first));
  BOOST_TEST(!heartbeat());
  BOOST_TEST((node.at() == phase::lapsed));
  BOOST_TEST(!own_lease->holds(first));
  BOOST_REQUIRE(!node.join(store, facts));
  BOOST_TEST(facts.incarnation > first);
  BOOST_TEST(heartbeat());
}

BOOST_AUTO_TEST_CASE(a_node_is_dead_when_its_lease_was_seen_to_run_out_twice) {
  join();
  join_other();
  heartbeat();
  BOOST_TEST(*node.detect_failures(store, facts) == 0u);
  BOOST_TEST(!node.suspects_anybody());
  now += 5s;
  heartbeat();
  BOOST_TEST(*node.detect_failures(store, facts) == 0u);
  BOOST_TEST(node.suspects_anybody());
  now += limits::suspicion_min;
  heartbeat();
  BOOST_TEST(*node.detect_failures(store, facts) == 1u);
  BOOST_TEST(!tables->nodes["b"].said.alive);
}

BOOST_AUTO_TEST_CASE(after_trouble_of_our_own_we_suspect_nobody_for_a_while) {
  join();
  join_other();
  now += 5s;
  heartbeat();
  node.detect_failures(store, facts);
  node.suspend_failure_detection();
  BOOST_TEST(!node.suspects_anybody());
  now += 1s;
  heartbeat();
  BOOST_TEST(*node.detect_failures(store, facts) == 0u);
  BOOST_TEST(!node.suspects_anybody());
  now += limits::backoff_max + 2s;
  heartbeat();
  node.detect_failures(store, facts);
  BOOST_TEST(node.suspects_anybody());
}

BOOST_AUTO_TEST_CASE(without_the_broker_a_node_is_not_eligible) {
  join();
  node.update_eligibility(own_lease->now(), false);
  heartbeat();
  BOOST_TEST(tables->nodes["a"].said.eligible);
  now += limits::broker_away_max;
  node.update_eligibility(std::nullopt, false);
  BOOST_TEST((node.ineligible_since() == own_lease->now()));
  heartbeat();
  BOOST_TEST(!tables->nodes["a"].said.eligible);
  node.update_eligibility(own_lease->now(), false);
  BOOST_TEST(!node.ineligible_since());
  // A node that leaves is not eligible, whatever the broker does.
  node.update_eligibility(own_lease->now(), true);
  heartbeat();
  BOOST_TEST(!tables->nodes["a"].said.eligible);
}

BOOST_AUTO_TEST_CASE(how_long_a_node_was_silent_changes_no_plan) {
  join();
  heartbeat();
  auto nodes = facts.nodes;
  nodes[0].silent_ms += 100;
  BOOST_TEST(!membership::set_nodes(facts, nodes));
  nodes[0].draining = true;
  BOOST_TEST(membership::set_nodes(facts, nodes));
}

BOOST_AUTO_TEST_CASE(leaving_ends_the_lease_in_the_tables) {
  join();
  heartbeat();
  BOOST_TEST(*node.leave(&store, facts));
  BOOST_TEST((node.at() == phase::left));
  BOOST_TEST(!tables->nodes["a"].said.alive);
  // Without a store nothing is written, and that is said.
  auto other = make("c");
  ownership_facts theirs;
  other.open("there:1");
  BOOST_REQUIRE(!other.join(store, theirs));
  BOOST_TEST(!*other.leave(nullptr, theirs));
}

BOOST_AUTO_TEST_SUITE_END()

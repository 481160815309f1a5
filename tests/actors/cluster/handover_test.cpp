#include "actors/cluster/handover.hpp"

#include "messages/core/limits.hpp"
#include "messages/model/apply.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

/// We are node `a`; `b` has no branches yet.
struct fixture {
  fixture() {
    facts.node = "a";
    facts.incarnation = 1;
    for (auto name : {"a", "b"}) {
      node_state x;
      x.name = name;
      x.incarnation = name == std::string{"a"} ? 1 : 2;
      x.roles = "shards";
      x.alive = x.holds = x.eligible = true;
      facts.nodes.push_back(x);
    }
    for (int i = 10; i < 18; ++i) {
      auto id = "branch-" + std::to_string(i);
      facts.branches.push_back(id);
      facts.owners.push_back({id, "a", 1, 7, ""});
    }
  }

  strings_ptr begin(bool leaving = false) {
    return moves.begin(facts, now, leaving, ineligible_since);
  }

  /// Plans, and begins the first batch once `b` has read the tables.
  strings_ptr begin_first() {
    moves.update_plan(facts);
    begin();
    now += 1s;
    return begin();
  }

  ownership_facts facts;
  handover moves;
  handover::time_point now{1h};
  std::optional<handover::time_point> ineligible_since;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(handover_suite, fixture)

BOOST_AUTO_TEST_CASE(what_is_ours_is_announced_once) {
  auto mine = moves.announce(facts);
  BOOST_REQUIRE(mine);
  BOOST_TEST(mine->size() == 8u);
  BOOST_TEST(mine->front().epoch == 7);
  BOOST_TEST(!moves.announce(facts));
  facts.incarnation = 0;
  mine = moves.announce(facts);
  BOOST_REQUIRE(mine);
  BOOST_TEST(mine->empty());
}

BOOST_AUTO_TEST_CASE(the_table_of_owners_is_read_when_its_digest_changes) {
  BOOST_TEST(moves.owners_changed({1, 8, 8}));
  BOOST_TEST(!moves.owners_changed({1, 8, 8}));
  moves.forget_owners();
  BOOST_TEST(moves.owners_changed({1, 8, 8}));
}

BOOST_AUTO_TEST_CASE(a_batch_waits_until_its_receiver_has_read_the_tables) {
  BOOST_TEST(moves.update_plan(facts));
  BOOST_TEST(!moves.update_plan(facts));
  facts.nodes[1].silent_ms = 500;
  BOOST_TEST(!begin());
  now += 400ms;
  BOOST_TEST(!begin());
  now += 200ms;
  auto ids = begin();
  BOOST_REQUIRE(ids);
  BOOST_TEST(ids->size() == 4u);
}

BOOST_AUTO_TEST_CASE(what_is_being_released_is_not_announced_as_ours) {
  moves.announce(facts);
  auto ids = begin_first();
  BOOST_REQUIRE(ids);
  // SHARD MANAGER heard of it by being asked to end them.
  BOOST_TEST(moves.announced() == 4u);
  BOOST_TEST(!moves.announce(facts));
  BOOST_TEST(!moves.done());
}

BOOST_AUTO_TEST_CASE(the_next_batch_begins_when_this_one_was_acquired) {
  auto ids = begin_first();
  auto number = moves.batch_number();
  BOOST_TEST(!begin());
  BOOST_REQUIRE(moves.stopped(number));
  BOOST_TEST(!moves.stopped(number + 1));
  BOOST_TEST(moves.stopped(number)->branches.size() == ids->size());
  moves.released(now);
  for (auto& x : facts.owners)
    for (const auto& id : *ids)
      if (x.branch_id == id)
        x.node.clear();
  moves.settle(facts, now);
  BOOST_TEST((moves.stopped(number) != nullptr));
  for (auto& x : facts.owners)
    if (x.node.empty())
      x.node = "b";
  moves.settle(facts, now);
  BOOST_TEST(!moves.stopped(number));
}

BOOST_AUTO_TEST_CASE(a_batch_that_nobody_acquires_is_not_waited_for) {
  auto ids = begin_first();
  moves.released(now);
  for (auto& x : facts.owners)
    if (x.branch_id == ids->front())
      x.node.clear();
  moves.settle(facts, now + limits::lot_taken_max - 1ms);
  BOOST_TEST((moves.stopped(1) != nullptr));
  moves.settle(facts, now + limits::lot_taken_max);
  BOOST_TEST(!moves.stopped(1));
}

BOOST_AUTO_TEST_CASE(a_release_that_could_not_be_written_gives_them_back) {
  moves.announce(facts);
  begin_first();
  moves.release_failed();
  auto mine = moves.announce(facts);
  BOOST_REQUIRE(mine);
  BOOST_TEST(mine->size() == 8u);
  BOOST_TEST(moves.owners_changed({0, 0, 0}));
}

BOOST_AUTO_TEST_CASE(without_the_broker_there_is_a_grace_unless_we_leave) {
  moves.update_plan(facts);
  begin();
  ineligible_since = now;
  now += 1s;
  BOOST_TEST(!begin());
  now += limits::broker_doubt_max;
  BOOST_TEST(!!begin());
  handover leaving;
  leaving.update_plan(facts);
  leaving.begin(facts, now, true, now);
  now += 10ms;
  BOOST_TEST(!!leaving.begin(facts, now, true, now));
}

BOOST_AUTO_TEST_CASE(a_node_that_was_declared_dead_has_nothing_to_release) {
  begin_first();
  moves.lapse();
  facts.incarnation = 0;
  moves.update_plan(facts);
  BOOST_TEST(moves.done());
}

BOOST_AUTO_TEST_SUITE_END()

#include "actors/cluster/ownership.hpp"

#include "messages/core/error.hpp"
#include "messages/model/placement.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/ownership_model.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

/// What a fake SHARD MANAGER was told. `broker`: what STREAM CONSUMER
/// publishes.
struct shard_manager_script {
  int64_t incarnation = 0;
  std::map<std::string, int64_t> owned;
  bool broker = true;
  size_t updates = 0;
  size_t closes = 0;
  size_t largest_batch = 0;
  bool drained = false;
};

using shard_manager_script_ptr = std::shared_ptr<shard_manager_script>;

branch_control_actor::behavior_type
fake_shards(branch_control_actor::pointer, shard_manager_script_ptr script) {
  return {
    [script](atom::update, int64_t incarnation, const ownerships_ptr& xs) {
      script->incarnation = incarnation;
      script->owned.clear();
      for (const auto& x : *xs)
        script->owned[x.branch_id] = x.epoch;
      ++script->updates;
    },
    [script](atom::close, const strings_ptr& ids) {
      ++script->closes;
      script->largest_batch = std::max(script->largest_batch, ids->size());
      for (const auto& id : *ids)
        script->owned.erase(id);
      return true;
    },
    [script](atom::drain) {
      script->owned.clear();
      script->drained = true;
      return true;
    },
  };
}

struct fixture : tests::actor_fixture {
  using mood = test::model_ownership_store::mood;

  struct member {
    shard_manager_script_ptr script = std::make_shared<shard_manager_script>();
    std::shared_ptr<mood> how = std::make_shared<mood>();
    lease_ptr lease;
    snapshot_holder_ptr<broker_state> broker
      = std::make_shared<snapshot_holder<broker_state>>();
    snapshot_holder_ptr<shard_load> load
      = std::make_shared<snapshot_holder<shard_load>>();
    ownership_view_ptr view = std::make_shared<ownership_view>();
    branch_control_actor shards;
    ownership_actor actor;
  };

  ~fixture() {
    end_all();
  }

  void end_all() {
    for (auto& [name, x] : members) {
      end(x.actor);
      if (x.shards)
        end(x.shards);
    }
    members.clear();
  }

  std::chrono::nanoseconds now() {
    return sched.clock().now().time_since_epoch();
  }

  void start(const std::string& name, const char* roles = "shards") {
    auto& x = members[name];
    x = member{};
    x.lease = std::make_shared<lease>(
      [this] { return lease::time_point{now() + 1h}; });
    ownership_options options;
    options.who.name = name;
    options.who.process = ids.v4();
    options.who.roles = roles;
    options.open_store
      = [this, how = x.how]() -> caf::expected<storage::ownership_store_ptr> {
      if (how->down)
        return caf::make_error(errc::unavailable, "told to be down");
      return storage::ownership_store_ptr{
        std::make_unique<test::model_ownership_store>(tables, how)};
    };
    if (std::string{roles} == "shards") {
      x.shards = sys.spawn(fake_shards, x.script);
      options.shards = x.shards;
      options.broker = x.broker;
    }
    options.own_lease = x.lease;
    options.view = x.view;
    options.load = x.load;
    options.seed = ids.v4().bytes[0];
    x.actor = sys.spawn(ownership_manager, std::move(options));
    tell_branches(name);
    caf::anon_send(x.actor, atom::open_v, std::string{"here:1"});
    settle();
    // Its first heartbeat is a message that is due at once.
    advance(1ms);
  }

  void tell_branches(const std::string& name) {
    caf::anon_send(members[name].actor, atom::update_v,
                   std::make_shared<const std::vector<std::string>>(branches));
  }

  void kill(const std::string& name) {
    auto& x = members[name];
    caf::anon_send_exit(x.actor, caf::exit_reason::kill);
    caf::anon_send_exit(x.shards, caf::exit_reason::kill);
    settle();
    members.erase(name);
  }

  void make_branches(size_t count) {
    branches.clear();
    for (size_t i = 0; i < count; ++i)
      branches.push_back("branch-" + std::to_string(1000 + i));
  }

  size_t load(const std::string& name) {
    return members.at(name).script->owned.size();
  }

  /// What may never be: two nodes that speak for one branch.
  void check() {
    std::map<std::string, std::string> speakers;
    for (auto& [name, x] : members)
      if (x.lease->holds(x.script->incarnation))
        for (const auto& [id, epoch] : x.script->owned) {
          auto [i, is_new] = speakers.emplace(id, name);
          BOOST_REQUIRE_MESSAGE(is_new, id << ": " << i->second << " and "
                                           << name << " after "
                                           << now().count());
          BOOST_REQUIRE(tables->owners[id].said.epoch == epoch);
        }
  }

  /// What the nodes' STREAM CONSUMERS do.
  void publish_brokers() {
    for (auto& [name, x] : members)
      x.broker->set(std::make_shared<const broker_state>(
        broker_state{x.script->broker, "", sched.clock().now()}));
  }

  void run(caf::timespan by, caf::timespan step = 50ms) {
    for (auto done = caf::timespan{0}; done < by; done += step) {
      publish_brokers();
      advance(step);
      check();
    }
  }

  /// Every branch has a speaker, and nobody too many.
  bool is_settled(size_t nodes) {
    size_t owned = 0;
    for (auto& [name, x] : members) {
      if (!x.lease->holds(x.script->incarnation))
        continue;
      owned += x.script->owned.size();
      if (x.script->owned.size() > placement_cap(nodes, branches.size()))
        return false;
    }
    return owned == branches.size();
  }

  uuid_source ids{7};
  std::vector<std::string> branches;
  test::ownership_tables_ptr tables
    = std::make_shared<test::ownership_tables>([this] {
        return std::chrono::duration_cast<std::chrono::milliseconds>(now());
      });
  std::map<std::string, member> members;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(ownership_suite, fixture)

BOOST_AUTO_TEST_CASE(a_single_node_owns_everything_at_once) {
  make_branches(3000);
  start("a");
  BOOST_TEST(load("a") == 3000u);
  BOOST_TEST(members["a"].lease->holds());
  BOOST_TEST((*ask<readiness>(members["a"].actor, atom::ready_v))->ready);
  BOOST_TEST(members["a"].view->get()->at("branch-1000") == "a");
}

BOOST_AUTO_TEST_CASE(a_heartbeat_is_one_call_and_announces_nothing_new) {
  make_branches(100);
  start("a");
  auto updates = members["a"].script->updates;
  auto heartbeats = members["a"].how->heartbeats;
  run(30s);
  BOOST_TEST(members["a"].script->updates == updates);
  BOOST_TEST(members["a"].how->heartbeats - heartbeats >= 28u);
  BOOST_TEST(members["a"].how->heartbeats - heartbeats <= 31u);
}

BOOST_AUTO_TEST_CASE(a_newcomer_gets_its_share_and_no_more_moves) {
  make_branches(90);
  start("a");
  start("b");
  run(10s);
  BOOST_TEST(load("a") == 45u);
  BOOST_TEST(load("b") == 45u);
  auto before = tables->changes;
  start("c");
  run(10s);
  BOOST_TEST(load("c") == 30u);
  BOOST_TEST(tables->changes - before == 30u);
  run(60s);
  BOOST_TEST(tables->changes - before == 30u);
}

BOOST_AUTO_TEST_CASE(branches_move_in_batches) {
  make_branches(1000);
  start("a");
  start("b");
  run(15s);
  BOOST_TEST(load("b") == 500u);
  BOOST_TEST(members["a"].script->largest_batch == limits::handover_lot_max);
  BOOST_TEST(members["a"].script->closes == 8u);
}

BOOST_AUTO_TEST_CASE(who_leaves_hands_over_in_order_and_within_a_second) {
  make_branches(60);
  start("a");
  start("b");
  start("c");
  run(10s);
  auto done = post<bool>(members["a"].actor, atom::drain_v);
  auto longest = 0ms;
  std::map<std::string, std::chrono::milliseconds> since;
  for (int i = 0; i < 200 && done->count == 0; ++i) {
    run(10ms, 10ms);
    auto t = std::chrono::duration_cast<std::chrono::milliseconds>(now());
    for (const auto& [id, x] : tables->owners) {
      if (!x.said.node.empty())
        since.erase(id);
      else
        longest = std::max(longest, t - since.emplace(id, t).first->second);
    }
  }
  BOOST_REQUIRE(done->count == 1u);
  BOOST_TEST(**done->value);
  BOOST_TEST(members["a"].script->drained);
  BOOST_TEST(load("b") + load("c") == 60u);
  BOOST_TEST(longest.count() <= 200);
  BOOST_TEST(!tables->nodes["a"].said.alive);
}

BOOST_AUTO_TEST_CASE(the_last_to_leave_waits_for_nobody) {
  make_branches(60);
  start("a");
  auto done = ask<bool>(members["a"].actor, atom::drain_v);
  advance(1ms);
  BOOST_TEST(tables->owners["branch-1000"].said.node == "");
}

BOOST_AUTO_TEST_CASE(what_a_dead_node_had_is_at_work_again_within_ten_seconds) {
  make_branches(30);
  start("a");
  start("b");
  run(10s);
  kill("a");
  auto begin = now();
  while (load("b") < 30u && now() - begin < 20s)
    run(50ms);
  BOOST_TEST((now() - begin < 8s));
  BOOST_TEST((now() - begin > 3s));
}

BOOST_AUTO_TEST_CASE(a_node_that_lost_the_database_loses_its_lease_first) {
  make_branches(30);
  start("a");
  start("b");
  run(10s);
  members["a"].how->down = true;
  // `check` sees to it that nobody speaks for a branch of a's meanwhile.
  run(10s);
  BOOST_TEST(!members["a"].lease->holds());
  BOOST_TEST(load("b") == 30u);
  auto told = members["a"].script->incarnation;
  members["a"].how->down = false;
  run(15s);
  BOOST_TEST(members["a"].script->incarnation > told);
  BOOST_TEST(load("a") == 15u);
}

BOOST_AUTO_TEST_CASE(a_database_that_is_slow_for_all_moves_nothing) {
  make_branches(30);
  start("a");
  start("b");
  run(10s);
  auto before = tables->changes;
  for (int i = 0; i < 3; ++i) {
    members["a"].how->down = members["b"].how->down = true;
    run(20s);
    // Back for both, but one of them is the first to see it.
    members[i % 2 == 0 ? "a" : "b"].how->down = false;
    run(300ms);
    members["a"].how->down = members["b"].how->down = false;
    run(20s);
    BOOST_TEST(tables->changes == before);
    BOOST_TEST(load("a") == 15u);
  }
}

BOOST_AUTO_TEST_CASE(without_the_broker_a_node_releases_its_branches) {
  make_branches(30);
  start("a");
  start("b");
  run(10s);
  members["a"].script->broker = false;
  run(4s);
  BOOST_TEST(load("a") == 15u);
  run(10s);
  BOOST_TEST(load("a") == 0u);
  BOOST_TEST(load("b") == 30u);
  members["a"].script->broker = true;
  run(10s);
  BOOST_TEST(load("a") == 15u);
}

BOOST_AUTO_TEST_CASE(a_stream_consumer_that_hangs_counts_as_a_broker_away) {
  make_branches(30);
  start("a");
  start("b");
  run(10s);
  // What it published last was good; it publishes nothing any more.
  auto last = members["a"].broker;
  members["a"].broker = std::make_shared<snapshot_holder<broker_state>>();
  run(4s);
  BOOST_TEST(load("a") == 15u);
  run(10s);
  BOOST_TEST(load("a") == 0u);
}

BOOST_AUTO_TEST_CASE(a_heartbeat_carries_the_lag_that_is_published) {
  make_branches(3);
  start("a");
  members["a"].load->set(std::make_shared<const shard_load>(shard_load{170}));
  run(2s);
  BOOST_TEST(members["a"].how->lag_ms == 170);
}

BOOST_AUTO_TEST_CASE(without_the_broker_for_all_nothing_moves) {
  make_branches(30);
  start("a");
  start("b");
  run(10s);
  auto before = tables->changes;
  members["a"].script->broker = false;
  run(1s);
  members["b"].script->broker = false;
  run(60s);
  members["b"].script->broker = true;
  run(500ms);
  members["a"].script->broker = true;
  run(20s);
  BOOST_TEST(tables->changes == before);
}

BOOST_AUTO_TEST_CASE(a_drained_node_is_emptied_and_filled_again) {
  make_branches(30);
  start("a");
  start("b");
  run(10s);
  tables->nodes["a"].said.draining = true;
  run(5s);
  BOOST_TEST(load("a") == 0u);
  tables->nodes["a"].said.draining = false;
  run(10s);
  BOOST_TEST(load("a") == 15u);
}

BOOST_AUTO_TEST_CASE(a_node_without_the_role_owns_nothing_and_knows_all) {
  make_branches(30);
  start("a");
  start("q", "query");
  run(10s);
  BOOST_TEST(members["q"].view->get()->size() == 30u);
  BOOST_TEST(load("a") == 30u);
  auto done = ask<bool>(members["q"].actor, atom::drain_v);
  run(1s);
  BOOST_TEST(!tables->nodes["q"].said.alive);
}

BOOST_AUTO_TEST_CASE(a_chain_that_grows_has_its_new_branches_taken) {
  make_branches(30);
  start("a");
  start("b");
  run(10s);
  make_branches(40);
  tell_branches("a");
  tell_branches("b");
  run(3s);
  BOOST_TEST(load("a") + load("b") == 40u);
}

BOOST_AUTO_TEST_CASE(another_process_of_our_name_ends_us) {
  make_branches(3);
  start("a");
  self->monitor(members["a"].actor);
  storage::node_identity other;
  other.name = "a";
  other.process = ids.v4();
  BOOST_REQUIRE(tables->join(other, 60s, true));
  run(3s);
  auto reason = down_reason();
  BOOST_REQUIRE(reason.has_value());
  BOOST_TEST((*reason == errc::not_owner));
}

// Goal: never two speakers for a branch, and in the end all is well. Method:
// from seeds, nodes join, leave, die, lose the database or the broker, calls
// end in doubt, actors run in random order; `check` after every step.
BOOST_AUTO_TEST_CASE(whatever_happens_a_branch_has_at_most_one_speaker) {
  auto first = std::random_device{}();
  BOOST_TEST_MESSAGE("first seed " << first);
  tests::quiet_log quiet;
  for (unsigned round = 0; round < 40; ++round) {
    std::mt19937 chance{first + round};
    BOOST_TEST_CONTEXT("seed " << first + round) {
      end_all();
      tables->nodes.clear();
      tables->owners.clear();
      make_branches(3 + chance() % 60);
      start("n0");
      for (int step = 0; step < 120; ++step) {
        auto pick = [&]() -> std::string {
          auto i = members.begin();
          std::advance(i, chance() % members.size());
          return i->first;
        };
        switch (chance() % 12) {
          case 0:
            if (members.size() < 5) {
              auto name = "n" + std::to_string(chance() % 8);
              if (members.count(name) == 0)
                start(name);
            }
            break;
          case 1:
            if (members.size() > 1)
              kill(pick());
            break;
          case 2: {
            auto& how = *members[pick()].how;
            how.down = !how.down;
            break;
          }
          case 3:
            members[pick()].how->doubtful = 1 + static_cast<int>(chance() % 2);
            break;
          case 4: {
            auto& script = *members[pick()].script;
            script.broker = !script.broker;
            break;
          }
          case 5:
            if (members.size() > 1) {
              auto name = pick();
              post<bool>(members[name].actor, atom::drain_v);
              for (int i = 0; i < 60; ++i)
                run(50ms);
              kill(name);
            }
            break;
          default:
            break;
        }
        auto steps = 1 + chance() % 40;
        for (size_t i = 0; i < steps; ++i) {
          publish_brokers();
          sched.advance_time(50ms);
          settle_in_random_order(chance);
          check();
        }
      }
      for (auto& [name, x] : members) {
        x.how->down = false;
        x.how->doubtful = 0;
        x.script->broker = true;
      }
      run(40s);
      BOOST_TEST(is_settled(members.size()));
      auto before = tables->changes;
      run(20s);
      BOOST_TEST(tables->changes == before);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

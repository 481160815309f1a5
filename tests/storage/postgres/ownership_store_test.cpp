#include "storage/ports/ownership_store.hpp"

#include "messages/core/error.hpp"
#include "storage/postgres/stores.hpp"
#include "tests/support/must.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <pqxx/pqxx>

#include <fmt/format.h>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;
using test::must;

namespace {

const std::vector<std::string> all{"branch-1", "branch-2", "branch-3"};

struct fixture {
  storage::ownership_store_ptr open() {
    return must(storage::open_ownership_store(dsn));
  }

  static storage::node_identity
  identity(const std::string& name, uint64_t process = 1) {
    storage::node_identity result;
    result.name = name;
    result.process = uuid_source{process}.v7(from_ms(1'700'000'000'000));
    result.roles = "intake,shards,query";
    result.version = "1.2.3";
    result.http = "127.0.0.1:8080";
    return result;
  }

  int64_t join(const std::string& name, std::chrono::milliseconds lease = 60s,
               bool first = true) {
    return must(store->join(identity(name), lease, first));
  }

  /// Ends a lease without anybody noticing yet.
  void let_lapse(const std::string& name) {
    pqxx::connection db{dsn};
    pqxx::work work{db};
    work.exec("UPDATE nodes SET expires_at = clock_timestamp() - interval "
              "'1 s' WHERE name = "
              + work.quote(name));
    work.commit();
  }

  std::map<std::string, branch_owner> owners() {
    std::map<std::string, branch_owner> result;
    for (const auto& x : must(store->owners()))
      result[x.branch_id] = x;
    return result;
  }

  std::vector<std::string> acquire(const std::string& name, int64_t incarnation,
                                   const std::vector<std::string>& ids) {
    std::vector<std::string> result;
    for (const auto& x : must(store->acquire(name, incarnation, ids)))
      result.push_back(x.branch_id);
    std::sort(result.begin(), result.end());
    return result;
  }

  storage::heartbeat_outcome
  heartbeat(const std::string& name, int64_t incarnation,
            bool eligible = true) {
    return must(store->heartbeat({name, incarnation, eligible, 17}, 60s));
  }

  std::string dsn = test::fresh_database("analytics");
  storage::ownership_store_ptr store = open();
};

/// What the nodes of a race believe, and what it must look like together.
class beliefs {
public:
  using clock = std::chrono::steady_clock;

  void renew(const std::string& node, clock::time_point until) {
    std::lock_guard guard{mutex_};
    until_[node] = until;
  }

  void forget(const std::string& node) {
    std::lock_guard guard{mutex_};
    for (auto& [id, nodes] : believers_)
      nodes.erase(node);
  }

  void release(const std::string& node, const std::string& id) {
    std::lock_guard guard{mutex_};
    believers_[id].erase(node);
  }

  /// Whoever else believes to own the branch must have no lease any more.
  void claim(const std::string& node, const std::string& id) {
    std::lock_guard guard{mutex_};
    auto now = clock::now();
    for (const auto& other : believers_[id])
      if (other != node && until_[other] > now)
        broken_.push_back(id + ": " + other + " and " + node);
    believers_[id].insert(node);
  }

  std::vector<std::string> broken() const {
    std::lock_guard guard{mutex_};
    return broken_;
  }

private:
  mutable std::mutex mutex_;
  std::map<std::string, clock::time_point> until_;
  std::map<std::string, std::set<std::string>> believers_;
  std::vector<std::string> broken_;
};

/// A node of a race: sends heartbeats, acquires, releases, declares others
/// dead, is paused, and writes as an apply does.
class racer {
public:
  racer(const std::string& dsn, std::string name, unsigned seed,
        beliefs& everybody)
    : name_(std::move(name)),
      chance_(seed),
      all_(everybody),
      db_(dsn) {
    store_ = std::move(*storage::open_ownership_store(dsn));
  }

  void run(std::chrono::steady_clock::time_point until) {
    while (std::chrono::steady_clock::now() < until) {
      if (incarnation_ == 0)
        join();
      else
        act();
    }
  }

  size_t acquisitions = 0;
  size_t refused = 0;
  size_t deaths = 0;
  size_t errors = 0;

private:
  static constexpr auto lease = 150ms;

  void join() {
    auto x = store_->join(fixture::identity(name_, name_.back()), lease, false);
    if (x)
      incarnation_ = *x;
    else
      ++errors;
  }

  void die() {
    ++deaths;
    incarnation_ = 0;
    // What it believed lives on in `epochs_`: its writes must be refused.
    all_.forget(name_);
  }

  void act() {
    switch (chance_() % 10) {
      case 0:
        // As SIGSTOP would: beyond the lease, now and then.
        std::this_thread::sleep_for(std::chrono::milliseconds(chance_() % 300));
        break;
      case 1:
        declare_others_dead();
        break;
      case 2:
        release_one();
        break;
      case 3:
      case 4:
        acquire();
        break;
      case 5:
      case 6:
        heartbeat();
        break;
      default:
        write();
        break;
    }
  }

  void heartbeat() {
    auto sent = std::chrono::steady_clock::now();
    auto x = store_->heartbeat({name_, incarnation_, true, 0}, lease);
    if (!x)
      ++errors;
    else if (!x->kept)
      die();
    else
      all_.renew(name_, sent + lease);
  }

  void declare_others_dead() {
    auto nodes = store_->nodes();
    if (!nodes)
      return;
    for (const auto& x : *nodes)
      if (x.alive && !x.holds && x.name != name_)
        static_cast<void>(store_->declare_dead(x.name, x.incarnation));
  }

  std::string pick() {
    return "branch-" + std::to_string(chance_() % 8);
  }

  void acquire() {
    auto x = store_->acquire(name_, incarnation_, {pick(), pick(), pick()});
    if (!x) {
      ++errors;
      return;
    }
    for (const auto& branch : *x) {
      ++acquisitions;
      epochs_[branch.branch_id] = branch.epoch;
      all_.claim(name_, branch.branch_id);
    }
  }

  void release_one() {
    auto id = pick();
    all_.release(name_, id);
    if (!store_->release(name_, incarnation_, {{id, ""}}))
      ++errors;
  }

  /// The way of the apply: the ownership row FOR SHARE, then the write.
  void write() {
    auto id = pick();
    auto mine = epochs_.find(id);
    if (mine == epochs_.end())
      return;
    pqxx::work work{db_};
    auto rows
      = work.exec("SELECT epoch FROM shard_ownership WHERE branch_id = '" + id
                  + "' FOR SHARE");
    if (rows.empty() || rows[0][0].as<int64_t>() != mine->second) {
      ++refused;
      epochs_.erase(mine);
      return;
    }
    work.exec("INSERT INTO writes (branch_id, epoch, node) VALUES ('" + id
              + "', " + std::to_string(mine->second) + ", '" + name_ + "')");
    work.commit();
  }

  std::string name_;
  std::mt19937 chance_;
  beliefs& all_;
  pqxx::connection db_;
  storage::ownership_store_ptr store_;
  int64_t incarnation_ = 0;
  std::map<std::string, int64_t> epochs_;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(ownership_store_suite, fixture)

BOOST_AUTO_TEST_CASE(a_node_that_joined_is_seen_by_all_with_what_it_reported) {
  auto first = join("a");
  auto second = join("b");
  BOOST_TEST(second > first);
  auto seen = heartbeat("a", first, false);
  BOOST_TEST(seen.kept);
  BOOST_REQUIRE(seen.nodes.size() == 2u);
  BOOST_TEST(seen.nodes[0].name == "a");
  BOOST_TEST(!seen.nodes[0].eligible);
  auto nodes = must(store->nodes());
  BOOST_REQUIRE(nodes.size() == 2u);
  BOOST_TEST(nodes[0].lag_ms == 17);
  BOOST_TEST(!nodes[0].eligible);
  BOOST_TEST(nodes[1].eligible);
  BOOST_TEST(nodes[1].alive);
  BOOST_TEST(nodes[1].holds);
  BOOST_TEST(nodes[1].version == "1.2.3");
  BOOST_TEST(nodes[1].http == "127.0.0.1:8080");
  BOOST_TEST(nodes[1].has_role("shards"));
  BOOST_TEST(!nodes[1].has_role("shard"));
}

BOOST_AUTO_TEST_CASE(only_free_branches_are_acquired_each_with_a_new_epoch) {
  auto a = join("a");
  auto b = join("b");
  BOOST_TEST(acquire("a", a, {"branch-1", "branch-2"}).size() == 2u);
  BOOST_TEST(acquire("b", b, all) == std::vector<std::string>{"branch-3"},
             boost::test_tools::per_element());
  must(store->release("a", a, {{"branch-2", "b"}}));
  BOOST_TEST(owners()["branch-2"].node == "");
  BOOST_TEST(owners()["branch-2"].next == "b");
  auto taken = must(store->acquire("b", b, all));
  BOOST_REQUIRE(taken.size() == 1u);
  BOOST_TEST(taken[0].epoch == 2);
  BOOST_TEST(taken[0].unowned_ms >= 0);
  BOOST_TEST(owners()["branch-1"].epoch == 1);
  BOOST_TEST(owners()["branch-2"].next == "");
}

BOOST_AUTO_TEST_CASE(nobody_releases_what_it_does_not_own) {
  auto a = join("a");
  auto b = join("b");
  acquire("a", a, all);
  must(store->release("b", b, {{"branch-1", ""}}));
  must(store->release("a", a + 100, {{"branch-1", ""}}));
  BOOST_TEST(owners()["branch-1"].node == "a");
}

BOOST_AUTO_TEST_CASE(a_lease_that_ran_out_means_nothing_until_it_is_declared) {
  auto a = join("a");
  auto b = join("b");
  acquire("a", a, all);
  let_lapse("a");
  BOOST_TEST(!heartbeat("b", b).nodes[0].holds);
  BOOST_TEST(acquire("b", b, all).empty());
  // Nobody acted on it, so it is renewed as if nothing had happened.
  BOOST_TEST(heartbeat("a", a).kept);
  BOOST_TEST(!must(store->declare_dead("a", a)));
  let_lapse("a");
  BOOST_TEST(must(store->declare_dead("a", a)));
  BOOST_TEST(!heartbeat("a", a).kept);
  BOOST_TEST(acquire("b", b, all).size() == 3u);
}

BOOST_AUTO_TEST_CASE(who_comes_back_owns_nothing_and_is_a_healthy_node) {
  auto a = join("a");
  acquire("a", a, all);
  let_lapse("a");
  BOOST_TEST(must(store->declare_dead("a", a)));
  auto again = join("a", 60s, false);
  BOOST_TEST(again > a);
  BOOST_TEST(heartbeat("a", again).kept);
  // Its own branches of before are as free as anybody's.
  BOOST_TEST(acquire("a", again, all).size() == 3u);
  BOOST_TEST(owners()["branch-1"].epoch == 2);
}

BOOST_AUTO_TEST_CASE(the_dead_acquire_nothing) {
  auto a = join("a");
  let_lapse("a");
  must(store->declare_dead("a", a));
  BOOST_TEST(acquire("a", a, all).empty());
  BOOST_TEST(acquire("nobody", 1, all).empty());
}

BOOST_AUTO_TEST_CASE(a_second_process_of_the_same_name_ends_the_first) {
  auto old = must(store->join(identity("a", 1), 60s, true));
  auto fresh = must(store->join(identity("a", 2), 60s, true));
  BOOST_TEST(!heartbeat("a", old).kept);
  auto refused = store->join(identity("a", 1), 60s, false);
  BOOST_TEST((refused.error() == errc::not_owner));
  BOOST_TEST(heartbeat("a", fresh).kept);
  // One that died leaves its name to the other.
  let_lapse("a");
  BOOST_TEST(static_cast<bool>(store->join(identity("a", 1), 60s, false)));
}

BOOST_AUTO_TEST_CASE(leaving_frees_all_branches_at_once) {
  auto a = join("a");
  auto b = join("b");
  acquire("a", a, all);
  must(store->leave("a", a));
  BOOST_TEST(!heartbeat("a", a).kept);
  BOOST_TEST(acquire("b", b, all).size() == 3u);
}

BOOST_AUTO_TEST_CASE(every_change_of_hands_changes_the_digest) {
  auto a = join("a");
  std::vector<ownership_digest> seen{heartbeat("a", a).digest};
  auto check = [&] {
    auto next = heartbeat("a", a).digest;
    BOOST_TEST((std::find(seen.begin(), seen.end(), next) == seen.end()));
    seen.push_back(next);
  };
  acquire("a", a, {"branch-1"});
  check();
  acquire("a", a, {"branch-2"});
  check();
  must(store->release("a", a, {{"branch-1", ""}}));
  check();
  acquire("a", a, {"branch-1"});
  check();
  BOOST_TEST((heartbeat("a", a).digest == seen.back()));
}

BOOST_AUTO_TEST_CASE(
  draining_is_reported_and_survives_a_pause_but_not_a_start) {
  auto a = join("a");
  must(store->set_draining("a", true));
  BOOST_TEST(heartbeat("a", a).nodes[0].draining);
  join("a", 60s, false);
  BOOST_TEST(must(store->nodes())[0].draining);
  join("a", 60s, true);
  BOOST_TEST(!must(store->nodes())[0].draining);
  BOOST_TEST((store->set_draining("x", true).error() == errc::not_found));
}

BOOST_AUTO_TEST_CASE(acquiring_leaves_out_what_an_apply_has_locked) {
  auto a = join("a");
  auto b = join("b");
  acquire("a", a, all);
  must(store->leave("a", a));
  pqxx::connection db{dsn};
  pqxx::work apply{db};
  apply.exec("SELECT 1 FROM shard_ownership WHERE branch_id = 'branch-2' "
             "FOR SHARE");
  BOOST_TEST(acquire("b", b, all).size() == 2u);
  apply.commit();
  BOOST_TEST(acquire("b", b, all).size() == 1u);
}

BOOST_AUTO_TEST_CASE(three_thousand_branches_are_acquired_in_one_call) {
  std::vector<std::string> ids;
  for (int i = 0; i < 3000; ++i)
    ids.push_back(fmt::format("b-{:05}", i));
  auto a = join("a");
  BOOST_TEST(acquire("a", a, ids).size() == 3000u);
  BOOST_TEST(heartbeat("a", a).digest.owned == 3000);
  BOOST_TEST(must(store->owners()).size() == 3000u);
}

// Goal: no epoch of a branch is written under by two nodes, no write comes
// after one of a later epoch, and nobody takes a branch whose owner's lease
// holds by its own clock. Method: from seeds, against a real PostgreSQL, nodes
// as threads that also stand still for longer than their lease.
BOOST_AUTO_TEST_CASE(races_from_seeds_leave_no_branch_to_two) {
  auto first = std::random_device{}();
  BOOST_TEST_MESSAGE("first seed " << first);
  pqxx::connection db{dsn};
  {
    pqxx::work work{db};
    work.exec(
      "CREATE TABLE writes (no bigserial, branch_id text, epoch bigint, "
      "node text)");
    work.commit();
  }
  beliefs all_beliefs;
  std::vector<std::unique_ptr<racer>> racers;
  std::vector<std::thread> threads;
  auto until = std::chrono::steady_clock::now() + 8s;
  for (unsigned i = 0; i < 4; ++i)
    racers.push_back(std::make_unique<racer>(dsn, "racer-" + std::to_string(i),
                                             first + i, all_beliefs));
  for (auto& x : racers)
    threads.emplace_back([&x, until] { x->run(until); });
  for (auto& x : threads)
    x.join();
  size_t acquisitions = 0;
  size_t refused = 0;
  size_t deaths = 0;
  for (const auto& x : racers) {
    acquisitions += x->acquisitions;
    refused += x->refused;
    deaths += x->deaths;
    BOOST_TEST(x->errors == 0u);
  }
  BOOST_TEST_MESSAGE(acquisitions << " acquisitions, " << refused
                                  << " writes refused, " << deaths
                                  << " deaths");
  // Else it was no race.
  BOOST_TEST(acquisitions > 20u);
  BOOST_TEST(refused > 0u);
  BOOST_TEST(deaths > 0u);
  for (const auto& x : all_beliefs.broken())
    BOOST_TEST(x == "", "seed " << first << ": two leases for " << x);
  pqxx::work work{db};
  BOOST_TEST(work.exec("SELECT count(*) FROM writes")[0][0].as<int>() > 50);
  auto shared = work.exec("SELECT branch_id, epoch FROM writes GROUP BY 1, 2 "
                          "HAVING count(DISTINCT node) > 1");
  BOOST_TEST(shared.empty(), "seed " << first);
  auto late
    = work.exec("SELECT FROM (SELECT epoch, max(epoch) OVER (PARTITION BY "
                "branch_id ORDER BY no) AS latest FROM writes) w "
                "WHERE epoch < latest");
  BOOST_TEST(late.empty(), "seed " << first);
}

BOOST_AUTO_TEST_SUITE_END()

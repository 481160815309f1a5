#include <boost/test/unit_test.hpp>

#include "tests/support/tcp_gate.hpp"
#include "tests/system/ledger.hpp"
#include "tests/system/running_program.hpp"

#include <pqxx/pqxx>

#include <fmt/format.h>

#include <signal.h>

#include <fstream>
#include <map>
#include <set>
#include <thread>

/// Several nodes on the same servers: who owns what, and what becomes of it
/// when they come, go, die and stand still while tills sell.

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

/// Branches without a living owner: for how long at most.
class unowned_watch {
public:
  explicit unowned_watch(const std::string& analytics_dsn)
    : thread_([this, analytics_dsn] { run(analytics_dsn); }) {
    // nop
  }

  ~unowned_watch() {
    stop();
  }

  /// @returns the longest time that a branch was seen without owner.
  std::chrono::milliseconds stop() {
    stopping_ = true;
    if (thread_.joinable())
      thread_.join();
    return longest_;
  }

private:
  void run(const std::string& dsn) {
    using clock = std::chrono::steady_clock;
    pqxx::connection session{dsn};
    std::map<std::string, clock::time_point> since;
    while (!stopping_) {
      pqxx::work work{session};
      auto rows = work.exec(
        "SELECT branch_id FROM shard_ownership o WHERE NOT EXISTS (SELECT FROM "
        "nodes n WHERE n.name = o.node AND n.incarnation = o.incarnation AND "
        "n.alive)");
      std::set<std::string> now;
      for (auto row : rows)
        now.insert(row[0].as<std::string>());
      std::erase_if(since,
                    [&](const auto& x) { return now.count(x.first) == 0; });
      for (const auto& id : now) {
        auto begin = since.emplace(id, clock::now()).first->second;
        longest_ = std::max(
          longest_, std::chrono::duration_cast<std::chrono::milliseconds>(
                      clock::now() - begin));
      }
      std::this_thread::sleep_for(10ms);
    }
  }

  std::atomic<bool> stopping_{false};
  std::chrono::milliseconds longest_{0};
  std::thread thread_;
};

constexpr int branch_count = 12;

std::string write_chain(const std::string& dir) {
  auto path = dir + "/chain.json";
  std::ofstream out{path};
  out << R"({"name":"Chain","currency":"USD","branches":[)";
  for (int i = 1; i <= branch_count; ++i)
    out << (i > 1 ? "," : "")
        << fmt::format(R"({{"id":"branch-{0}","name":"B{0}",)"
                       R"("time_zone":"America/New_York",)"
                       R"("day_start":"00:00"}})",
                       i);
  out << "]}";
  return path;
}

struct world {
  explicit world(const std::vector<std::string>& roles = {})
    : seed(std::random_device{}()),
      dir(directory.path() + "/data") {
    BOOST_TEST_MESSAGE("seed " << seed);
    std::vector<std::string> more{"--chain", write_chain(directory.path())};
    more.insert(more.end(), roles.begin(), roles.end());
    program = running_program::up(dir, more);
    doors.push_back(program->where());
  }

  /// A second node in one line.
  running_program&
  join(const std::string& name, std::vector<std::string> more = {}) {
    std::vector<std::string> words{"serve", "--data-dir",  dir, "--port",
                                   "0",     "--node-name", name};
    words.insert(words.end(), more.begin(), more.end());
    auto next = std::make_unique<running_program>(words, dir);
    std::lock_guard guard{mutex};
    doors.push_back(next->where());
    return *(nodes[name] = std::move(next));
  }

  /// A node of those that tills may talk to, any.
  commands::endpoints where() {
    std::lock_guard guard{mutex};
    return doors[chance() % doors.size()];
  }

  void close_door(const std::string& name) {
    std::lock_guard guard{mutex};
    auto url = nodes.at(name)->where().http;
    std::erase_if(doors, [&](const auto& x) { return x.http == url; });
  }

  /// Branches by owner, out of `tillstream nodes`.
  std::map<std::string, int> shares() {
    auto told = run_command({"nodes", "--data-dir", dir, "--json"});
    std::map<std::string, int> result;
    answer x;
    x.body = told.output;
    for (int i = 0;; ++i) {
      auto at = [&](const char* what) {
        return x.at(fmt::format("nodes.{}.{}", i, what));
      };
      if (at("node") == "(none)")
        break;
      if (at("state") != "gone")
        result[at("node")] = std::stoi(at("branches"));
    }
    return result;
  }

  bool settles(const std::map<std::string, int>& wanted,
               std::chrono::seconds timeout = 30s) {
    return eventually([&] { return shares() == wanted; }, timeout);
  }

  void sells_on(size_t more) {
    auto before = book.accepted();
    BOOST_TEST(
      eventually([&] { return book.accepted() >= before + more; }, 60s));
  }

  std::set<std::string> branches_of(const std::string& node) {
    pqxx::connection session{program->where().analytics_dsn};
    pqxx::work work{session};
    std::set<std::string> result;
    for (auto row : work.exec("SELECT branch_id FROM shard_ownership WHERE "
                              "node = "
                              + work.quote(node)))
      result.insert(row[0].as<std::string>());
    return result;
  }

  /// Whether an event is in the event log.
  bool is_applied(const std::string& event_id) {
    pqxx::connection session{program->where().analytics_dsn};
    pqxx::work work{session};
    return !work
              .exec("SELECT FROM analytics_event_log WHERE event_id = "
                    + work.quote(event_id))
              .empty();
  }

  void check() {
    check_ledger(book, program->where().oltp_dsn);
    auto verified
      = run_command({"verify", "--data-dir", dir, "--wait", "60s"}, 120s);
    BOOST_TEST(verified.code == 0, verified.output << verified.errors);
  }

  unsigned seed;
  std::mt19937 chance{seed};
  temporary_directory directory;
  std::string dir;
  std::mutex mutex;
  std::vector<commands::endpoints> doors;
  std::unique_ptr<running_program> program;
  std::map<std::string, std::unique_ptr<running_program>> nodes;
  ledger book;
};

} // namespace

BOOST_AUTO_TEST_SUITE(nodes_suite)

BOOST_AUTO_TEST_CASE(a_second_node_joins_in_one_line_and_gets_its_share) {
  world w;
  BOOST_TEST(w.settles({{"up", 12}}));
  auto& second = w.join("b");
  BOOST_TEST(w.settles({{"b", 6}, {"up", 6}}));
  BOOST_TEST(eventually(
    [&] { return second.request("GET", "/readyz", {}).status == 200; }));
  // Idempotency holds across nodes.
  auto body = sale{}.body();
  auto first = w.program->post("branch-1", body);
  auto again = second.post("branch-1", body);
  BOOST_TEST(first.status == 201);
  BOOST_TEST(again.status == 201);
  BOOST_TEST(again.body == first.body);
  BOOST_TEST(again.header("idempotent-replayed") == "true");
  auto table = run_command({"nodes", "--data-dir", w.dir});
  BOOST_TEST(table.code == 0);
  BOOST_TEST(table.output.find("intake,shards,query") != std::string::npos);
  BOOST_TEST(second.stop().value_or(-1) == 0);
  BOOST_TEST(w.settles({{"up", 12}}, 5s));
}

BOOST_AUTO_TEST_CASE(nodes_with_one_role_each_work_together) {
  world w{{"--roles", "intake"}};
  auto& shards = w.join("shards", {"--roles", "shards"});
  auto& query = w.join("query", {"--roles", "query"});
  BOOST_TEST(w.settles({{"query", 0}, {"shards", 12}, {"up", 0}}));
  auto sold = w.program->post("branch-1", sale{}.body());
  BOOST_TEST(sold.status == 201);
  BOOST_TEST(eventually([&] { return w.is_applied(sold.at("event_id")); }));
  BOOST_TEST(eventually([&] {
    auto seen = query.ask("/analytics/summary?after=" + sold.at("event_id"));
    return seen.status == 200 && seen.at("total.purchases") == "1"
           && seen.header("applied-after") == "true";
  }));
  // Each says that others do what it does not.
  auto refused = shards.post("branch-1", sale{}.body());
  BOOST_TEST(refused.status == 503);
  BOOST_TEST(refused.header("retry-after") != "");
  BOOST_TEST(w.program->ask("/analytics/summary").status == 503);
}

// Decision 16: 'owned and applying again within 10 s by default settings'.
BOOST_AUTO_TEST_CASE(what_a_killed_node_owned_is_applied_again_within_10_s) {
  world w;
  w.join("b");
  w.join("c");
  BOOST_TEST(w.settles({{"b", 4}, {"c", 4}, {"up", 4}}));
  selling_tills tills{w.book, [&] { return w.where(); }, 4, w.seed};
  w.sells_on(100);
  auto orphans = w.branches_of("b");
  BOOST_TEST(orphans.size() == 4u);
  auto begin = std::chrono::steady_clock::now();
  w.nodes["b"]->signal(SIGKILL);
  w.close_door("b");
  // A sale of each of its branches, made after its death.
  std::set<std::string> waiting;
  for (const auto& id : orphans) {
    sale x;
    x.branch_id = id;
    auto body = x.body();
    w.book.attempt(x.idempotency_key);
    auto sold = w.program->post(id, body);
    w.book.settle(x.idempotency_key, sold.status);
    waiting.insert(sold.at("event_id"));
  }
  auto all_applied = [&] {
    std::erase_if(waiting, [&](const auto& id) { return w.is_applied(id); });
    return waiting.empty();
  };
  BOOST_TEST(eventually(all_applied, 20s));
  auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
    std::chrono::steady_clock::now() - begin);
  BOOST_TEST_MESSAGE("applied again after " << took.count() << " ms");
  BOOST_TEST(took.count() < 10'000);
  BOOST_TEST(w.settles({{"c", 6}, {"up", 6}}));
  BOOST_TEST(metric(*w.program, "tillstream_nodes_declared_dead_total")
               + metric(*w.nodes["c"], "tillstream_nodes_declared_dead_total")
             > 0);
  tills.stop();
  w.check();
}

// Two owners at once: the one that was stopped does not know that it lost.
BOOST_AUTO_TEST_CASE(a_paused_owner_writes_nothing_and_comes_back_healthy) {
  world w;
  auto& b = w.join("b", {"--node-lease-ms", "1000"});
  BOOST_TEST(w.settles({{"b", 6}, {"up", 6}}));
  // Tills talk to the other node only: nobody waits for the one that stands.
  w.close_door("b");
  selling_tills tills{w.book, [&] { return w.where(); }, 6, w.seed};
  w.sells_on(50);
  double refused = 0;
  int pauses = 0;
  // Whether it is in the middle of an apply is chance.
  while (pauses < 20 && (pauses < 2 || refused == 0)) {
    ++pauses;
    b.signal(SIGSTOP);
    BOOST_TEST(w.settles({{"up", 12}}));
    w.sells_on(30);
    b.signal(SIGCONT);
    BOOST_TEST(w.settles({{"b", 6}, {"up", 6}}));
    refused = metric(b, "tillstream_stale_epochs_refused_total");
  }
  BOOST_TEST_MESSAGE(pauses << " pauses, " << refused << " batches refused");
  BOOST_TEST(refused > 0);
  BOOST_TEST(metric(b, "tillstream_leases_lapsed_total") >= pauses);
  BOOST_TEST(metric(b, "tillstream_lease_holds") == 1);
  BOOST_TEST(b.request("GET", "/readyz", {}).status == 200);
  w.sells_on(50);
  tills.stop();
  w.check();
}

BOOST_AUTO_TEST_CASE(nodes_come_and_go_in_order_and_no_branch_waits_a_second) {
  world w;
  w.join("b");
  BOOST_TEST(w.settles({{"b", 6}, {"up", 6}}));
  selling_tills tills{w.book, [&] { return w.where(); }, 6, w.seed};
  w.sells_on(100);
  unowned_watch watch{w.program->where().analytics_dsn};
  auto& c = w.join("c");
  BOOST_TEST(w.settles({{"b", 4}, {"c", 4}, {"up", 4}}));
  w.sells_on(50);
  // Moved by a join: what balance needs, and no more.
  BOOST_TEST(metric(c, "tillstream_ownership_changes_total") == 4);
  w.close_door("b");
  BOOST_TEST(w.nodes["b"]->stop().value_or(-1) == 0);
  BOOST_TEST(w.settles({{"c", 6}, {"up", 6}}, 5s));
  w.sells_on(50);
  auto drained = run_command({"drain", "c", "--data-dir", w.dir});
  BOOST_TEST(drained.code == 0, drained.output << drained.errors);
  BOOST_TEST(w.settles({{"c", 0}, {"up", 12}}, 5s));
  w.sells_on(50);
  auto undone = run_command({"drain", "c", "--undo", "--data-dir", w.dir});
  BOOST_TEST(undone.code == 0, undone.errors);
  BOOST_TEST(w.settles({{"c", 6}, {"up", 6}}));
  auto longest = watch.stop();
  BOOST_TEST_MESSAGE("without owner for at most " << longest.count() << " ms");
  BOOST_TEST(longest.count() < 1000);
  BOOST_TEST(metric(c, "tillstream_handover_seconds_count") > 0);
  BOOST_TEST(metric(c, "tillstream_leases_lapsed_total") == 0);
  auto alone = run_command({"drain", "nobody", "--data-dir", w.dir});
  BOOST_TEST(alone.code == 1);
  tills.stop();
  w.check();
}

BOOST_AUTO_TEST_CASE(
  a_node_that_cannot_reach_the_broker_gives_its_shards_away) {
  world w;
  auto url = w.program->where().nats_url;
  auto port = static_cast<uint16_t>(std::stoul(url.substr(url.rfind(':') + 1)));
  tcp_gate gate{port};
  auto own_url
    = url.substr(0, url.rfind(':') + 1) + std::to_string(gate.port());
  auto& b = w.join("b", {"--nats-url", own_url});
  BOOST_TEST(w.settles({{"b", 6}, {"up", 6}}));
  selling_tills tills{w.book, [&] { return w.where(); }, 4, w.seed};
  w.sells_on(50);
  unowned_watch watch{w.program->where().analytics_dsn};
  gate.shut();
  BOOST_TEST(w.settles({{"b", 0}, {"up", 12}}, 30s));
  w.sells_on(50);
  gate.open();
  BOOST_TEST(w.settles({{"b", 6}, {"up", 6}}, 30s));
  BOOST_TEST(watch.stop().count() < 1000);
  BOOST_TEST(metric(b, "tillstream_leases_lapsed_total") == 0);
  tills.stop();
  w.check();
}

BOOST_AUTO_TEST_CASE(a_slow_database_makes_nobody_take_anything) {
  world w;
  w.join("b");
  BOOST_TEST(w.settles({{"b", 6}, {"up", 6}}));
  pqxx::connection session{w.program->where().analytics_dsn};
  auto epochs = [&] {
    pqxx::work work{session};
    return work.exec("SELECT sum(epoch) FROM shard_ownership")[0][0].as<int>();
  };
  auto before = epochs();
  for (int i = 0; i < 2; ++i) {
    pqxx::work work{session};
    work.exec("LOCK TABLE nodes IN ACCESS EXCLUSIVE MODE");
    // Longer than a lease: all of them run out.
    BOOST_TEST(eventually(
      [&] {
        return metric(*w.program, "tillstream_heartbeats_failed_total") > 2 * i
               && metric(*w.program, "tillstream_lease_holds") == 0;
      },
      30s));
    work.commit();
    BOOST_TEST(eventually([&] {
      return metric(*w.program, "tillstream_lease_holds") == 1
             && metric(*w.nodes["b"], "tillstream_lease_holds") == 1;
    }));
  }
  BOOST_TEST(epochs() == before);
  BOOST_TEST(metric(*w.program, "tillstream_leases_lapsed_total") == 0);
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include "tests/system/ledger.hpp"
#include "tests/system/running_program.hpp"

#include "storage/ports/event_stream.hpp"

#include <pqxx/pqxx>

#include <signal.h>

#include <filesystem>
#include <fstream>

/// Things die while tills sell; afterwards the ledger and `verify` must hold.

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

/// The servers of `dir`: children of `up` whose program has this name.
std::vector<pid_t> servers_of(pid_t parent, const std::string& program) {
  std::vector<pid_t> result;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream in{entry.path() / "stat"};
    pid_t pid = 0;
    std::string name;
    char state = 0;
    pid_t its_parent = 0;
    if (in >> pid >> name >> state >> its_parent && its_parent == parent
        && name == "(" + program + ")")
      result.push_back(pid);
  }
  return result;
}

struct world {
  world()
    : seed(std::random_device{}()),
      dir(directory.path() + "/data"),
      program(running_program::up(dir)) {
    BOOST_TEST_MESSAGE("seed " << seed);
  }

  commands::endpoints where() {
    std::lock_guard guard{mutex};
    return program->where();
  }

  void kill_server(const char* name, int number) {
    for (auto pid : servers_of(program->pid(), name))
      ::kill(pid, number);
  }

  void sells_on(size_t more) {
    auto before = book.accepted();
    BOOST_TEST(
      eventually([&] { return book.accepted() >= before + more; }, 60s));
  }

  void check() {
    check_ledger(book, program->where().oltp_dsn);
    auto verified
      = run_command({"verify", "--data-dir", dir, "--wait", "60s"}, 120s);
    BOOST_TEST(verified.code == 0, verified.output << verified.errors);
  }

  unsigned seed;
  temporary_directory directory;
  std::string dir;
  std::mutex mutex;
  std::unique_ptr<running_program> program;
  ledger book;
};

} // namespace

BOOST_AUTO_TEST_SUITE(fault_suite)

BOOST_AUTO_TEST_CASE(the_broker_dies_and_tills_never_notice) {
  world w;
  selling_tills tills{w.book, [&] { return w.where(); }, 6, w.seed};
  w.sells_on(100);
  for (int i = 0; i < 3; ++i) {
    w.kill_server("nats-server", SIGKILL);
    w.sells_on(100);
  }
  // Paused, so that nobody starts another: tills go on, the outbox grows.
  w.kill_server("nats-server", SIGSTOP);
  w.sells_on(200);
  w.kill_server("nats-server", SIGCONT);
  w.sells_on(50);
  tills.stop();
  w.check();
}

BOOST_AUTO_TEST_CASE(the_database_dies_and_nothing_acknowledged_is_lost) {
  world w;
  selling_tills tills{w.book, [&] { return w.where(); }, 6, w.seed};
  w.sells_on(100);
  for (int i = 0; i < 3; ++i) {
    w.kill_server("postgres", SIGKILL);
    w.sells_on(100);
  }
  tills.stop();
  BOOST_TEST(eventually(
    [&] { return w.program->request("GET", "/readyz", {}).status == 200; }));
  w.check();
}

BOOST_AUTO_TEST_CASE(sessions_are_cut_again_and_again) {
  world w;
  selling_tills tills{w.book, [&] { return w.where(); }, 6, w.seed};
  w.sells_on(50);
  for (int i = 0; i < 20; ++i) {
    for (const auto& dsn :
         {w.program->where().oltp_dsn, w.program->where().analytics_dsn}) {
      pqxx::connection session{dsn};
      pqxx::work work{session};
      work.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = "
                "current_database()");
      work.commit();
    }
    w.sells_on(20);
  }
  tills.stop();
  w.check();
}

BOOST_AUTO_TEST_CASE(the_node_dies_at_any_time_and_a_second_up_goes_on) {
  world w;
  selling_tills tills{w.book, [&] { return w.where(); }, 6, w.seed};
  for (int i = 0; i < 3; ++i) {
    w.sells_on(150);
    w.program->signal(SIGKILL);
    w.program->wait();
    auto next = running_program::up(w.dir);
    std::lock_guard guard{w.mutex};
    w.program = std::move(next);
  }
  w.sells_on(50);
  tills.stop();
  w.check();
}

// Goal: every actor's main handler may throw; nothing is lost, whoever waits
// is answered. Method: the program's own test hooks, armed at its start.
BOOST_AUTO_TEST_CASE(actors_that_throw_lose_nothing) {
  for (const char* point :
       {"transaction-writer.batch=throw:3", "outbox-relay.committed=throw:3",
        "stream-consumer.fetch=throw:3", "aggregate-shard.deliver=throw:3",
        "aggregate-writer.batch=throw:3", "transaction-writer.submit=throw:3",
        "query.ask=throw:3"}) {
    BOOST_TEST_CONTEXT(point) {
      temporary_directory directory;
      auto dir = directory.path() + "/data";
      auto program = running_program::up(dir, {"--fault-points", point});
      ledger book;
      auto where = program->where();
      {
        selling_tills tills{book, [&] { return where; }, 4, 1};
        BOOST_TEST(eventually([&] { return book.accepted() >= 60; }, 60s));
        for (int i = 0; i < 10; ++i)
          program->ask("/analytics/summary");
        tills.stop();
      }
      check_ledger(book, where.oltp_dsn);
      // Counted once a replacement stands, a pause after the fall.
      BOOST_TEST(eventually([&] {
        return metric(*program, "tillstream_actor_restarts_total") > 0;
      }));
      auto verified = run_command({"verify", "--data-dir", dir}, 120s);
      BOOST_TEST(verified.code == 0, verified.output << verified.errors);
      BOOST_TEST(program->stop().value_or(-1) == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(an_actor_that_always_throws_ends_the_node_with_code_1) {
  temporary_directory directory;
  auto program = running_program::up(
    directory.path() + "/data",
    {"--fault-points", "outbox-relay.committed=throw:1000"});
  auto keep_selling = [&] {
    program->post("branch-1", sale{}.body());
    return program->wait(0s).has_value();
  };
  BOOST_TEST(eventually(keep_selling, 60s));
  BOOST_TEST(program->wait(10s).value_or(-1) == 1);
  BOOST_TEST(program->output().find("giving up") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(hostile_messages_on_the_subject_stop_nobody) {
  // What the relay publishes is ours; what an intruder with the broker's
  // password publishes goes to the quarantine.
  world w;
  auto sold = w.program->post("branch-1", sale{}.body());
  storage::nats_settings broker;
  broker.url = w.program->where().nats_url;
  auto publisher
    = storage::connect_publisher(broker, [](std::vector<publish_ack>) {});
  BOOST_REQUIRE(publisher);
  uint64_t token = 0;
  for (const char* payload :
       {"", "{", "null", "[]", "{\"specversion\":\"1.0\"}", "\xff\xfe not text",
        "{\"id\":\"not-a-uuid\"}"}) {
    ++token;
    BOOST_TEST(bool((*publisher)
                      ->publish(token, "purchases.created.branch-1",
                                "hostile-" + std::to_string(token), payload)));
  }
  auto next = w.program->post("branch-1", sale{}.body());
  auto seen = w.program->ask("/analytics/summary?branch_id=branch-1&after="
                             + next.at("event_id"));
  BOOST_TEST(seen.header("applied-after") == "true");
  BOOST_TEST(seen.at("total.purchases") == "2");
  pqxx::connection session{w.program->where().analytics_dsn};
  pqxx::work work{session};
  auto rows = work
                .exec("SELECT count(*) FROM quarantined_events "
                      "WHERE reason <> ''")[0][0]
                .as<int>();
  BOOST_TEST(rows == 7);
  auto verified = run_command({"verify", "--data-dir", w.dir}, 120s);
  BOOST_TEST(verified.code == 0, verified.output << verified.errors);
}

BOOST_AUTO_TEST_SUITE_END()

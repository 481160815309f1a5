#include <boost/test/unit_test.hpp>

#include "storage/servers/child_process.hpp"
#include "storage/servers/private_servers.hpp"
#include "storage/servers/server_directory.hpp"
#include "tests/support/must.hpp"
#include "tests/system/fleet.hpp"
#include "tests/system/running_program.hpp"

#include <pqxx/pqxx>

#include <fmt/format.h>

#include <csignal>
#include <filesystem>
#include <optional>

#include <sys/stat.h>
#include <unistd.h>

/// A streaming replica of the aggregates, as PostgreSQL makes it: pieces of
/// history come from there when it is where the owner's memory is, and never a
/// number that is old.

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

/// A hot standby that `pg_basebackup` made.
class standby {
public:
  standby(const std::string& primary_dsn, pid_t primary)
    : programs_(
      std::filesystem::read_symlink(fmt::format("/proc/{}/exe", primary))
        .parent_path()) {
    auto files = std::filesystem::path{fmt::format("/proc/{}", primary)};
    struct stat owner = {};
    BOOST_REQUIRE(stat(files.c_str(), &owner) == 0);
    if (geteuid() == 0)
      user_ = storage::user_of(owner.st_uid, owner.st_gid);
    data_ = directory_.file("standby");
    auto slash = primary_dsn.rfind('/');
    back_up(primary_dsn.substr(0, slash) + "/postgres");
    for (port_ = 23'700; !storage::port_is_free(port_); ++port_)
      ; // nop
    dsn_ = fmt::format("{}{}{}", primary_dsn.substr(0, primary_dsn.rfind(':')),
                       fmt::format(":{}", port_), primary_dsn.substr(slash));
    start();
  }

  ~standby() {
    stop();
  }

  const std::string& dsn() const {
    return dsn_;
  }

  void stop() {
    process_.stop({{SIGINT, 10s}, {SIGKILL, 5s}});
  }

  std::string ask(const std::string& sql) const {
    return query(dsn_, sql);
  }

  static std::string query(const std::string& dsn, const std::string& sql) {
    pqxx::connection session{dsn};
    pqxx::nontransaction work{session};
    auto rows = work.exec(sql);
    return rows.empty() || rows[0][0].is_null() ? "" : rows[0][0].c_str();
  }

private:
  void back_up(const std::string& dsn) {
    std::filesystem::create_directory(data_);
    std::filesystem::permissions(data_, std::filesystem::perms::owner_all);
    if (user_)
      BOOST_REQUIRE(chown(data_.c_str(), user_->uid, user_->gid) == 0);
    storage::spawn_request request;
    request.argv = {programs_ + "/pg_basebackup", "--dbname=" + dsn,
                    "--pgdata=" + data_,          "--checkpoint=fast",
                    "--wal-method=stream",        "--write-recovery-conf"};
    request.user = user_;
    auto done = must(storage::run_program(std::move(request), 60s));
    BOOST_REQUIRE_MESSAGE(done.ok, done.output);
  }

  void start() {
    storage::spawn_request request;
    request.argv = {programs_ + "/postgres", "-D", data_};
    // The limits must not be below the primary's.
    for (const auto& setting :
         {fmt::format("port={}", port_), std::string{"hot_standby=on"},
          std::string{"listen_addresses=127.0.0.1"},
          std::string{"unix_socket_directories="},
          std::string{"max_connections=200"},
          std::string{"max_locks_per_transaction=512"}})
      request.argv.insert(request.argv.end(), {"-c", setting});
    request.user = user_;
    process_ = must(storage::child_process::spawn(request));
    auto is_up = [&] {
      try {
        return ask("SELECT pg_is_in_recovery()") == "t";
      } catch (const pqxx::failure&) {
        return false;
      }
    };
    BOOST_REQUIRE(eventually(is_up));
  }

  temporary_directory directory_;
  std::string programs_;
  std::optional<storage::server_user> user_;
  std::string data_;
  std::string dsn_;
  uint16_t port_ = 0;
  storage::child_process process_;
};

struct fixture {
  fixture() {
    storage::private_server_options options;
    options.data_dir = directory.file("data");
    servers = must(storage::private_servers::start(options));
    nodes.emplace(servers->oltp_dsn(), servers->analytics_dsn(),
                  servers->nats_url());
    branch = nodes->where().till_keys.begin()->first;
    replica.emplace(servers->analytics_dsn(), servers->postgres_pid());
    node = nodes->serve({"--analytics-replica-dsn", replica->dsn()});
  }

  /// Sells one piece for 1.00 and waits until the node's memory has it.
  void sell(const std::string& day) {
    sale x;
    x.branch_id = branch;
    x.occurred_at = day + "T12:00:00Z";
    x.items = {{"p1", "1.00", "Product"}};
    auto got = node->post(branch, x.body());
    BOOST_REQUIRE_MESSAGE(got.status == 201, got.body);
    auto target = fmt::format("/analytics/summary?branch_id={}&after={}",
                              branch, got.at("event_id"));
    BOOST_REQUIRE(eventually(
      [&] { return node->ask(target).header("applied-after") == "true"; }));
  }

  /// Asks for a day's products, a piece of its own. What was asked for once
  /// is in the node's memory.
  void check_day(const std::string& day, const std::string& quantity) {
    auto got = node->ask(fmt::format(
      "/analytics/top-products?branch_id={}&period=day&date={}", branch, day));
    BOOST_REQUIRE_MESSAGE(got.status == 200, got.body);
    BOOST_TEST(got.at("total.products.0.quantity") == quantity, got.body);
  }

  void wait_for_replica() {
    auto sql = fmt::format("SELECT apply_no FROM branch_cursors WHERE "
                           "branch_id = '{}'",
                           branch);
    BOOST_REQUIRE(eventually([&] {
      return replica->ask(sql) == standby::query(servers->analytics_dsn(), sql);
    }));
  }

  double reads() {
    return metric(*node, "tillstream_replica_reads_total");
  }

  double behind() {
    return metric(*node, "tillstream_replica_behind_total");
  }

  temporary_directory directory;
  std::unique_ptr<storage::private_servers> servers;
  std::optional<fleet> nodes;
  std::optional<standby> replica;
  std::unique_ptr<running_program> node;
  std::string branch;
};

} // namespace

BOOST_AUTO_TEST_SUITE(replica_suite)

BOOST_FIXTURE_TEST_CASE(history_comes_from_a_replica_and_is_never_old,
                        fixture) {
  for (const auto* day : {"2026-03-01", "2026-03-04", "2026-03-07"})
    sell(day);
  wait_for_replica();
  auto before = reads();
  check_day("2026-03-01", "1");
  BOOST_TEST(reads() > before);

  // It stands still: the primary tells.
  replica->ask("SELECT pg_wal_replay_pause()");
  BOOST_REQUIRE(eventually([&] {
    return replica->ask("SELECT pg_get_wal_replay_pause_state()") == "paused";
  }));
  sell("2026-03-04");
  before = reads();
  auto behind_before = behind();
  check_day("2026-03-04", "2");
  BOOST_TEST(reads() == before);
  BOOST_TEST(behind() > behind_before);

  // It goes on.
  replica->ask("SELECT pg_wal_replay_resume()");
  wait_for_replica();
  check_day("2026-03-07", "1");
  BOOST_TEST(reads() > before);

  // It is gone.
  replica->stop();
  sell("2026-03-10");
  check_day("2026-03-10", "1");
  auto ended = node->stop();
  BOOST_REQUIRE(ended);
  BOOST_TEST(*ended == 0);
}

BOOST_AUTO_TEST_SUITE_END()

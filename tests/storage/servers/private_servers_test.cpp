#include "storage/servers/private_servers.hpp"

#include "messages/core/error.hpp"
#include "tests/support/temporary_directory.hpp"

#include <boost/test/unit_test.hpp>

#include <pqxx/pqxx>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace tillstream;
using namespace std::chrono_literals;
using storage::private_server_options;
using storage::private_servers;

namespace {

using servers_ptr = std::unique_ptr<private_servers>;

private_server_options options_for(const std::string& data_dir) {
  private_server_options result;
  result.data_dir = data_dir;
  result.postgres_settings = {"shared_buffers = 32MB"};
  return result;
}

template <class T>
std::string why(const caf::expected<T>& x) {
  return x ? "" : describe(x.error());
}

servers_ptr must_start(private_server_options options) {
  auto result = private_servers::start(std::move(options));
  BOOST_REQUIRE_MESSAGE(result, why(result));
  return std::move(*result);
}

std::string ask(const std::string& dsn, const std::string& sql) {
  pqxx::connection session{dsn};
  pqxx::work tx{session};
  auto result = tx.exec(sql);
  tx.commit();
  return result.empty() ? std::string{} : result[0][0].c_str();
}

bool eventually(const std::function<bool()>& condition) {
  auto deadline = std::chrono::steady_clock::now() + 30s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

/// Whether a process lives; one that nobody reaped yet does not.
bool lives(pid_t pid) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/stat"};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  auto end = text.rfind(") ");
  return end != std::string::npos && text[end + 2] != 'Z';
}

uid_t owner_of(const std::string& path) {
  struct stat info {};
  BOOST_REQUIRE_EQUAL(stat(path.c_str(), &info), 0);
  return info.st_uid;
}

/// A process that owns servers, as another `tillstream up` would.
struct other_owner {
  pid_t pid = 0;
  pid_t postgres_pid = 0;
  pid_t nats_pid = 0;

  explicit other_owner(const private_server_options& options) {
    int ends[2];
    BOOST_REQUIRE_EQUAL(pipe(ends), 0);
    pid = fork();
    BOOST_REQUIRE(pid >= 0);
    if (pid == 0)
      own_servers(options, ends[1]);
    close(ends[1]);
    pid_t pids[2] = {0, 0};
    auto count = read(ends[0], pids, sizeof(pids));
    close(ends[0]);
    BOOST_REQUIRE_EQUAL(count, static_cast<ssize_t>(sizeof(pids)));
    postgres_pid = pids[0];
    nats_pid = pids[1];
  }

  [[noreturn]] static void
  own_servers(const private_server_options& options, int out) {
    auto started = private_servers::start(options);
    if (!started)
      _exit(1);
    auto& servers = *started;
    ask(servers->oltp_dsn(), "CREATE TABLE kept AS SELECT 42 AS x");
    pid_t pids[] = {servers->postgres_pid(), servers->nats_pid()};
    if (write(out, pids, sizeof(pids)) < 0)
      _exit(1);
    for (;;)
      pause();
  }

  void kill_hard() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(private_servers_suite)

BOOST_AUTO_TEST_CASE(data_ports_and_password_survive_a_restart) {
  test::temporary_directory dir;
  auto data_dir = dir.file("not/yet/there");
  auto servers = must_start(options_for(data_dir));
  auto dsn = servers->oltp_dsn();
  auto nats_url = servers->nats_url();
  BOOST_CHECK_EQUAL(servers->check(), "");
  ask(dsn, "CREATE TABLE kept AS SELECT 42 AS x");
  ask(servers->analytics_dsn(), "SELECT 1");
  servers->stop();
  servers = nullptr;
  auto begin = std::chrono::steady_clock::now();
  servers = must_start(options_for(data_dir));
  auto took = std::chrono::steady_clock::now() - begin;
  BOOST_TEST_MESSAGE(
    "warm start: "
    << std::chrono::duration_cast<std::chrono::milliseconds>(took).count()
    << " ms");
  BOOST_CHECK_EQUAL(servers->oltp_dsn(), dsn);
  BOOST_CHECK_EQUAL(servers->nats_url(), nats_url);
  BOOST_CHECK_EQUAL(ask(dsn, "SELECT x FROM kept"), "42");
}

BOOST_AUTO_TEST_CASE(commits_are_durable_by_the_servers_settings) {
  test::temporary_directory dir;
  auto options = options_for(dir.file("data"));
  options.with_nats = false;
  auto servers = must_start(options);
  for (const char* name :
       {"fsync", "full_page_writes", "synchronous_commit", "data_checksums"})
    BOOST_CHECK_EQUAL(ask(servers->oltp_dsn(), std::string{"SHOW "} + name),
                      "on");
  BOOST_CHECK_EQUAL(ask(servers->oltp_dsn(), "SHOW shared_buffers"), "32MB");
  BOOST_CHECK_EQUAL(ask(servers->oltp_dsn(), "SHOW max_connections"), "200");
  BOOST_CHECK_EQUAL(ask(servers->oltp_dsn(), "SHOW listen_addresses"),
                    "127.0.0.1");
}

BOOST_AUTO_TEST_CASE(a_wrong_password_is_refused) {
  test::temporary_directory dir;
  auto options = options_for(dir.file("data"));
  options.with_nats = false;
  auto servers = must_start(options);
  auto dsn = servers->oltp_dsn();
  auto at = dsn.find('@');
  dsn.replace(at - 1, 1, dsn[at - 1] == '0' ? "1" : "0");
  BOOST_CHECK_THROW(ask(dsn, "SELECT 1"), pqxx::broken_connection);
}

BOOST_AUTO_TEST_CASE(a_database_may_be_a_copy_of_another) {
  test::temporary_directory dir;
  auto options = options_for(dir.file("data"));
  options.with_nats = false;
  auto servers = must_start(options);
  auto first = servers->database("first");
  BOOST_REQUIRE_MESSAGE(first, why(first));
  ask(*first, "CREATE TABLE kept AS SELECT 42 AS x");
  auto second = servers->copy_database("second", "first");
  BOOST_REQUIRE_MESSAGE(second, why(second));
  BOOST_CHECK_EQUAL(ask(*second, "SELECT x FROM kept"), "42");
  BOOST_CHECK(servers->database("first"));
  auto bad = servers->database("x; DROP DATABASE first");
  BOOST_CHECK(!bad && bad.error() == errc::invalid);
}

BOOST_AUTO_TEST_CASE(a_directory_has_one_living_owner) {
  test::temporary_directory dir;
  auto options = options_for(dir.file("data"));
  options.with_postgres = false;
  auto servers = must_start(options);
  auto second = private_servers::start(options);
  BOOST_REQUIRE(!second);
  BOOST_CHECK(second.error() == errc::invalid);
  auto reason = describe(second.error());
  BOOST_CHECK_MESSAGE(reason.find(std::to_string(getpid())) != reason.npos,
                      reason);
  servers = nullptr;
  must_start(options);
}

BOOST_AUTO_TEST_CASE(servers_of_a_killed_owner_end_and_are_replaced) {
  test::temporary_directory dir;
  auto options = options_for(dir.file("data"));
  other_owner other{options};
  other.kill_hard();
  BOOST_CHECK(eventually([&] { return !lives(other.nats_pid); }));
  BOOST_CHECK(eventually([&] { return !lives(other.postgres_pid); }));
  auto servers = must_start(options);
  BOOST_CHECK_EQUAL(ask(servers->oltp_dsn(), "SELECT x FROM kept"), "42");
}

BOOST_AUTO_TEST_CASE(leftovers_that_hang_are_stopped_before_the_start) {
  test::temporary_directory dir;
  auto options = options_for(dir.file("data"));
  other_owner other{options};
  // Frozen servers cannot follow the signal that the owner's end sends.
  kill(other.postgres_pid, SIGSTOP);
  kill(other.nats_pid, SIGSTOP);
  other.kill_hard();
  BOOST_REQUIRE(lives(other.postgres_pid));
  auto servers = must_start(options);
  BOOST_CHECK(!lives(other.postgres_pid));
  BOOST_CHECK(!lives(other.nats_pid));
  BOOST_CHECK_EQUAL(ask(servers->oltp_dsn(), "SELECT x FROM kept"), "42");
}

BOOST_AUTO_TEST_CASE(orphaned_sessions_of_a_killed_postgres_are_stopped) {
  test::temporary_directory dir;
  auto options = options_for(dir.file("data"));
  options.with_nats = false;
  auto servers = must_start(options);
  pqxx::connection session{servers->oltp_dsn()};
  auto backend = session.backendpid();
  // Frozen, so that it does not notice that its server is gone.
  kill(backend, SIGSTOP);
  kill(servers->postgres_pid(), SIGKILL);
  BOOST_CHECK(eventually([&] { return !servers->check().empty(); }));
  BOOST_REQUIRE(lives(backend));
  servers = nullptr;
  servers = must_start(options);
  BOOST_CHECK(!lives(backend));
  BOOST_CHECK_EQUAL(ask(servers->oltp_dsn(), "SELECT 1"), "1");
}

BOOST_AUTO_TEST_CASE(a_half_made_cluster_is_made_again) {
  test::temporary_directory dir;
  auto options = options_for(dir.file("data"));
  options.with_nats = false;
  std::filesystem::create_directories(dir.file("data/servers/postgres.new"));
  std::ofstream{dir.file("data/servers/postgres.new/PG_VERSION")} << "15\n";
  for (const char* path : {"data", "data/servers"})
    chmod(dir.file(path).c_str(), 0711);
  auto servers = must_start(options);
  BOOST_CHECK_EQUAL(ask(servers->oltp_dsn(), "SELECT 1"), "1");
}

BOOST_AUTO_TEST_CASE(each_server_restarts_where_it_was) {
  test::temporary_directory dir;
  auto servers = must_start(options_for(dir.file("data")));
  auto dsn = servers->oltp_dsn();
  ask(dsn, "CREATE TABLE kept AS SELECT 42 AS x");
  for (bool hard : {false, true}) {
    BOOST_REQUIRE(servers->stop_postgres(hard));
    BOOST_CHECK_EQUAL(servers->postgres_pid(), 0);
    BOOST_CHECK_THROW(ask(dsn, "SELECT 1"), pqxx::broken_connection);
    auto again = servers->start_postgres();
    BOOST_REQUIRE_MESSAGE(again, why(again));
    BOOST_CHECK_EQUAL(ask(dsn, "SELECT x FROM kept"), "42");
    BOOST_REQUIRE(servers->stop_nats(hard));
    BOOST_CHECK_EQUAL(servers->nats_pid(), 0);
    again = servers->start_nats();
    BOOST_REQUIRE_MESSAGE(again, why(again));
    BOOST_CHECK(servers->nats_pid() != 0);
  }
  BOOST_CHECK_EQUAL(servers->check(), "");
}

BOOST_AUTO_TEST_CASE(a_server_that_died_is_named_once) {
  test::temporary_directory dir;
  auto options = options_for(dir.file("data"));
  options.with_postgres = false;
  auto servers = must_start(options);
  kill(servers->nats_pid(), SIGKILL);
  std::string report;
  BOOST_CHECK(eventually([&] {
    report = servers->check();
    return !report.empty();
  }));
  BOOST_CHECK_MESSAGE(report.find("nats-server") != report.npos
                        && report.find("signal 9") != report.npos,
                      report);
  BOOST_CHECK_EQUAL(servers->check(), "");
}

BOOST_AUTO_TEST_CASE(a_server_that_cannot_start_says_why) {
  test::temporary_directory dir;
  auto options = options_for(dir.file("data"));
  options.with_nats = false;
  options.postgres_settings = {"no_such_setting = 1"};
  auto servers = private_servers::start(options);
  BOOST_REQUIRE(!servers);
  BOOST_CHECK(servers.error() == errc::unavailable);
  auto reason = describe(servers.error());
  BOOST_CHECK_MESSAGE(reason.find("no_such_setting") != reason.npos, reason);
}

BOOST_AUTO_TEST_CASE(secrets_are_ours_alone) {
  test::temporary_directory dir;
  auto servers = must_start(options_for(dir.file("data")));
  for (const char* name : {"password", "nats.conf", "postgresql.conf",
                           "postgres.log", "nats.log"}) {
    struct stat info {};
    auto path = dir.file("data/servers/") + name;
    BOOST_REQUIRE_MESSAGE(stat(path.c_str(), &info) == 0, path);
    BOOST_CHECK_MESSAGE((info.st_mode & 0077) == 0, path);
  }
  BOOST_CHECK(
    !std::filesystem::exists(dir.file("data/servers/initdb.password")));
  if (geteuid() == 0) {
    BOOST_CHECK_EQUAL(owner_of(dir.file("data/servers/password")), 0U);
    BOOST_CHECK_NE(owner_of(dir.file("data/servers/postgres")), 0U);
    BOOST_CHECK_NE(owner_of(dir.file("data/servers/nats")), 0U);
  }
}

BOOST_AUTO_TEST_CASE(a_directory_that_only_root_can_reach_works) {
  if (geteuid() != 0) {
    BOOST_TEST_MESSAGE("skipped: not root");
    return;
  }
  test::temporary_directory dir{0700};
  auto options = options_for(dir.file("data"));
  auto servers = must_start(options);
  ask(servers->oltp_dsn(), "CREATE TABLE kept AS SELECT 42 AS x");
  auto link = dir.file("data/servers");
  BOOST_CHECK(std::filesystem::is_symlink(link));
  auto instance = std::filesystem::read_symlink(link);
  servers = nullptr;
  servers = must_start(options);
  BOOST_CHECK_EQUAL(ask(servers->oltp_dsn(), "SELECT x FROM kept"), "42");
  servers = nullptr;
  std::filesystem::remove_all(instance);
}

BOOST_AUTO_TEST_SUITE_END()

#include "storage/servers/postgres_server.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace tillstream::storage {

namespace {

using namespace std::chrono_literals;

constexpr int oldest_major = 15;

constexpr const char* role = "tillstream";
constexpr const char* data = "postgres";
/// Where a cluster grows until it is whole.
constexpr const char* unfinished_data = "postgres.new";
constexpr const char* lock_file = "postgres/postmaster.pid";
constexpr const char* config_file = "postgresql.conf";
constexpr const char* log_file = "postgres.log";

constexpr auto initdb_timeout = 180s;
constexpr auto psql_timeout = 60s;

/// An eighth of the machine's memory, 128 MB to 1 GB. Most keys are random, so
/// each sale needs any page of a dozen indexes. Once they do not fit, sessions
/// write and read pages while sales wait for them: at 700,000 purchases 256 MB
/// made a sale ten times as slow as 1 GB (benchmarks/LOG.md).
std::string shared_buffers() {
  constexpr long mb = 1 << 20;
  auto memory_mb = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / mb;
  return fmt::format("{}MB", std::clamp(memory_mb / 8, 128L, 1024L));
}

/// For a small machine, and durable: nothing here trades safety for speed.
constexpr const char* tuning = R"(
# Every COMMIT that we answered survives a power cut.
fsync = on
full_page_writes = on
synchronous_commit = on
wal_compression = lz4

# Pools of a few dozen sessions a node, and people with psql.
max_connections = 200
# A transaction over many branches touches many partitions and takes two
# advisory locks a purchase (500 purchases a batch).
max_locks_per_transaction = 512

effective_cache_size = 1GB
work_mem = 16MB
maintenance_work_mem = 128MB
wal_buffers = 16MB
# Fewer checkpoints write fewer full pages: after each one sales wait twice as
# long for a while. The price is the replay after a crash, of as much WAL.
max_wal_size = 4GB
# A new WAL file would be filled with zeros first, 16 MB, and nobody commits
# for those 30 to 80 ms; so it is not, and costs its first commits a little
# more each. Once made, files are used again for as long as there is WAL: a
# quiet night must not make the next morning pay again.
wal_init_zero = off
min_wal_size = 4GB
checkpoint_timeout = 10min
checkpoint_completion_target = 0.9
# What is written goes to the disk bit by bit: else the kernel writes all of half
# a minute at once, and nobody commits meanwhile (seen: 1.2 s).
backend_flush_after = 256kB
bgwriter_flush_after = 256kB
bgwriter_delay = 50ms
bgwriter_lru_maxpages = 1000
bgwriter_lru_multiplier = 4
random_page_cost = 1.1
# Short statements: compiling one costs more than running it.
jit = off

# Aggregates and outbox rows are updated all the time: clean up early. Not
# statistics: each table's take a core for a while, whatever the table's size,
# and our plans hardly depend on them. So less often, when a table has doubled,
# and from a smaller sample: 3,000 rows.
autovacuum_naptime = 30s
autovacuum_vacuum_scale_factor = 0.1
autovacuum_analyze_scale_factor = 1
# Sales are written once and found by their keys. What vacuum brings to such
# rows, the visibility map and freezing, can wait until a table has doubled: it
# visits each page once in any case.
autovacuum_vacuum_insert_scale_factor = 1
default_statistics_target = 10
# A burst of it is a queue of sales; half a second of a core in each five.
autovacuum_vacuum_cost_limit = 300

# A client that vanished must not hold a transaction open.
tcp_keepalives_idle = 30
tcp_keepalives_interval = 10
tcp_keepalives_count = 3

timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %d '
log_min_duration_statement = 2s
log_lock_waits = on
)";

/// Quotes a value for postgresql.conf.
std::string in_quotes(const std::string& text) {
  std::string result = "'";
  for (char c : text) {
    if (c == '\'' || c == '\\')
      result += c;
    result += c;
  }
  return result + "'";
}

int number_at_start(std::string_view text) {
  int result = 0;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

bool has_programs(const std::string& dir) {
  auto runs = [&](const char* name) {
    return access(fmt::format("{}/{}", dir, name).c_str(), X_OK) == 0;
  };
  return runs("postgres") && runs("initdb") && runs("psql");
}

int major_version(const std::string& dir) {
  spawn_request request;
  request.argv = {dir + "/postgres", "--version"};
  auto result = run_program(std::move(request), 10s);
  auto start
    = result && result->ok ? result->output.find(") ") : std::string::npos;
  if (start == std::string::npos)
    return 0;
  return number_at_start(std::string_view{result->output}.substr(start + 2));
}

/// Directories where distributions keep the programs, newest version first,
/// then PATH.
std::vector<std::string> usual_places() {
  std::vector<std::pair<int, std::string>> versions;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator{"/usr/lib/postgresql", ec})
    versions.emplace_back(number_at_start(entry.path().filename().string()),
                          entry.path().string() + "/bin");
  std::sort(versions.rbegin(), versions.rend());
  std::vector<std::string> result;
  for (auto& [version, path] : versions)
    result.push_back(std::move(path));
  const char* path = std::getenv("PATH");
  std::istringstream in{path != nullptr ? path : ""};
  for (std::string dir; std::getline(in, dir, ':');)
    if (dir.starts_with('/'))
      result.push_back(dir);
  return result;
}

caf::error no_programs(int wanted) {
  if (wanted != 0)
    return caf::make_error(
      errc::invalid,
      fmt::format("the data was written by PostgreSQL {0}, whose programs are "
                  "not here; install postgresql-{0} or set TILLSTREAM_PG_BIN",
                  wanted));
  return caf::make_error(errc::invalid,
                         fmt::format("PostgreSQL {} or newer was not found; "
                                     "install it (deploy/install-deps.sh) or "
                                     "set TILLSTREAM_PG_BIN",
                                     oldest_major));
}

bool is_plain_name(const std::string& name) {
  auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && name.size() < 64 && (name[0] < '0' || name[0] > '9')
         && std::all_of(name.begin(), name.end(), plain);
}

} // namespace

postgres_server::postgres_server(const server_directory& dir, settings options)
  : private_server(dir, "PostgreSQL", data),
    options_(std::move(options)) {
  // nop
}

caf::expected<std::string>
postgres_server::find_programs(const server_directory& dir) {
  auto text = dir.read(fmt::format("{}/PG_VERSION", data));
  auto wanted = text ? number_at_start(*text) : 0;
  auto places = usual_places();
  if (const char* chosen = std::getenv("TILLSTREAM_PG_BIN"))
    places = {chosen};
  for (const auto& place : places) {
    if (!has_programs(place))
      continue;
    auto major = major_version(place);
    if (wanted == 0 ? major >= oldest_major : major == wanted)
      return place;
  }
  return no_programs(wanted);
}

bool postgres_server::initialised() const {
  return access(dir_.file(data).c_str(), F_OK) == 0;
}

caf::expected<void>
postgres_server::initialise(const std::vector<std::string>& databases) {
  std::error_code ec;
  fs::remove_all(dir_.file(unfinished_data), ec);
  if (auto made = dir_.make_server_dir(unfinished_data); !made)
    return made;
  if (auto done = run_initdb(); !done)
    return done;
  if (auto done = create_first_databases(databases); !done)
    return done;
  fs::rename(dir_.file(unfinished_data), dir_.file(data), ec);
  if (ec)
    return caf::make_error(
      errc::unavailable, fmt::format("cannot rename {}: {}",
                                     dir_.file(unfinished_data), ec.message()));
  return {};
}

caf::expected<void> postgres_server::run_logged(spawn_request request,
                                                const std::string& what) const {
  auto log = dir_.open_log(log_file);
  if (!log)
    return log.error();
  request.user = dir_.user();
  request.output = *log;
  auto process = child_process::spawn(request);
  close(*log);
  if (!process)
    return process.error();
  if (!process->wait(initdb_timeout))
    process->stop({{SIGINT, 5000ms}, {SIGKILL, 5000ms}});
  if (process->succeeded())
    return {};
  return caf::make_error(errc::unavailable,
                         fmt::format("{} failed ({}); {}", what,
                                     process->fate(), dir_.log_tail(log_file)));
}

caf::expected<void> postgres_server::run_initdb() const {
  constexpr const char* secret = "initdb.password";
  if (auto done = dir_.write(secret, options_.password + "\n", true); !done)
    return done;
  spawn_request request;
  request.argv
    = {program("initdb"), "-D", dir_.file(unfinished_data),
       fmt::format("--username={}", role), "--pwfile=" + dir_.file(secret),
       "--auth=scram-sha-256", "--encoding=UTF8",
       // Bytewise order: the same on every machine, and fast.
       "--locale=C", "--data-checksums", "--no-instructions"};
  auto result = run_logged(std::move(request), "initdb");
  unlink(dir_.file(secret).c_str());
  return result;
}

caf::expected<void> postgres_server::create_first_databases(
  const std::vector<std::string>& databases) const {
  constexpr const char* script = "initdb.sql";
  std::string statements;
  for (const auto& name : databases)
    statements += fmt::format("CREATE DATABASE {};\n", name);
  if (auto done = dir_.write(script, statements, false); !done)
    return done;
  auto path = dir_.file(script);
  auto input = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  spawn_request request;
  request.argv = {program("postgres"), "--single", "-D",
                  dir_.file(unfinished_data), "postgres"};
  request.input = input;
  auto result = run_logged(std::move(request), "creating the databases");
  if (input >= 0)
    close(input);
  unlink(path.c_str());
  return result;
}

void postgres_server::remove_stale_lock() const {
  auto text = dir_.read(lock_file);
  auto pid = text ? number_at_start(*text) : 0;
  if (pid > 0 && kill(pid, 0) == 0)
    unlink(dir_.file(lock_file).c_str());
}

std::string postgres_server::dsn(const std::string& database) const {
  return fmt::format("postgresql://{}:{}@127.0.0.1:{}/{}", role,
                     options_.password, port(), database);
}

std::string postgres_server::tables_dir() const {
  return dir_.file(data) + "/base";
}

caf::expected<void>
postgres_server::create_database(const std::string& name,
                                 const std::string& from) const {
  if (!is_plain_name(name) || !is_plain_name(from))
    return caf::make_error(
      errc::invalid,
      fmt::format("not a plain database name: {} or {}", name, from));
  spawn_request request;
  request.argv
    = {program("psql"),
       "--no-psqlrc",
       "--no-password",
       "--quiet",
       "--host=127.0.0.1",
       fmt::format("--port={}", port()),
       fmt::format("--username={}", role),
       "--dbname=postgres",
       fmt::format("--command=CREATE DATABASE {} TEMPLATE {}", name, from)};
  // Not in the arguments, which everybody can read.
  request.environment = {"PGPASSWORD=" + options_.password};
  auto result = run_program(std::move(request), psql_timeout);
  if (!result)
    return result.error();
  if (result->ok || result->output.find("already exists") != std::string::npos)
    return {};
  return caf::make_error(
    errc::unavailable,
    fmt::format("cannot create database {}: {}", name, result->output));
}

caf::expected<void> postgres_server::configure() {
  // initdb's own file first: it holds what initdb found out about the system.
  auto text
    = fmt::format("# Written at each start. Settings of your own: ALTER "
                  "SYSTEM SET …\ninclude {}\n"
                  "listen_addresses = '127.0.0.1'\nport = {}\n"
                  "unix_socket_directories = ''\n"
                  "cluster_name = {}\n"
                  "shared_buffers = {}\n{}",
                  in_quotes(dir_.file(data) + "/postgresql.conf"), port(),
                  in_quotes(options_.cluster_name), shared_buffers(), tuning);
  for (const auto& line : options_.extra)
    text += line + "\n";
  return dir_.write(config_file, text, true);
}

std::vector<std::string> postgres_server::command() const {
  return {program("postgres"), "-D", dir_.file(data), "-c",
          "config_file=" + dir_.file(config_file)};
}

int postgres_server::death_signal() const {
  // A fast shutdown: the next start need not replay anything.
  return SIGINT;
}

std::vector<stop_step> postgres_server::stop_steps(bool hard) const {
  if (hard)
    return {{SIGQUIT, 10'000ms}, {SIGKILL, 5000ms}};
  return {{SIGINT, 20'000ms}, {SIGQUIT, 10'000ms}, {SIGKILL, 5000ms}};
}

bool postgres_server::ready(pid_t pid) const {
  // What pg_ctl looks at: line 1 is the process, line 8 its state.
  std::istringstream in{dir_.read(lock_file).value_or("")};
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (number == 1 && number_at_start(line) != pid)
      return false;
    if (number == 8)
      return line.starts_with("ready");
  }
  return false;
}

std::string postgres_server::program(const std::string& name) const {
  return options_.programs + "/" + name;
}

} // namespace tillstream::storage

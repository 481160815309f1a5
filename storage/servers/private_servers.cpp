#include "storage/servers/private_servers.hpp"

#include "messages/core/error.hpp"
#include "storage/servers/nats_server.hpp"
#include "storage/servers/postgres_server.hpp"
#include "storage/servers/server_directory.hpp"
#include "storage/servers/write_back.hpp"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <thread>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr const char* oltp_name = "tillstream_oltp";
constexpr const char* analytics_name = "tillstream_analytics";

/// How long leftovers have to follow each signal.
constexpr auto leftover_timeout = 10s;
constexpr auto leftover_poll = 10ms;

/// What a killed predecessor may have left: servers that are still ending, and
/// backends of a PostgreSQL that was killed itself.
std::vector<pid_t>
find_leftovers(const server_directory& dir, const std::string& cluster) {
  auto result
    = find_processes({"postgres", "initdb", "nats-server"}, dir.path());
  auto backends = find_titled(fmt::format("postgres: {}: ", cluster));
  result.insert(result.end(), backends.begin(), backends.end());
  return result;
}

caf::expected<void>
stop_leftovers(const server_directory& dir, const std::string& cluster) {
  for (int signal : {SIGINT, SIGQUIT, SIGKILL}) {
    auto deadline = steady_clock::now() + leftover_timeout;
    auto leftovers = find_leftovers(dir, cluster);
    for (auto pid : leftovers) {
      kill(pid, signal);
      // A frozen process sees no signal but this one.
      kill(pid, SIGCONT);
    }
    while (!leftovers.empty() && steady_clock::now() < deadline) {
      std::this_thread::sleep_for(leftover_poll);
      leftovers = find_leftovers(dir, cluster);
    }
    if (leftovers.empty())
      return {};
  }
  return caf::make_error(errc::unavailable,
                         fmt::format("servers that an earlier process left on "
                                     "{} do not end",
                                     dir.path()));
}

class private_servers_impl : public private_servers {
public:
  private_servers_impl(server_directory dir, private_server_options options)
    : dir_(std::move(dir)),
      options_(std::move(options)) {
    // nop
  }

  ~private_servers_impl() override {
    private_servers_impl::stop();
  }

  caf::expected<void> run() {
    auto password = dir_.keep_random("password", 24);
    if (!password)
      return password.error();
    auto id = dir_.keep_random("name", 4);
    if (!id)
      return id.error();
    auto name = "tillstream-" + *id;
    if (auto done = stop_leftovers(dir_, name); !done)
      return done;
    if (auto done = prepare_postgres(*password, name); !done)
      return done;
    if (auto done = prepare_nats(*password, name); !done)
      return done;
    if (auto done = launch_both(); !done)
      return done;
    begin_write_back();
    return {};
  }

  std::string oltp_dsn() const override {
    return postgres_ ? postgres_->dsn(oltp_name) : std::string{};
  }

  std::string analytics_dsn() const override {
    return postgres_ ? postgres_->dsn(analytics_name) : std::string{};
  }

  caf::expected<std::string> database(const std::string& name) override {
    return copy_database(name, "template1");
  }

  caf::expected<std::string>
  copy_database(const std::string& name, const std::string& from) override {
    if (!postgres_)
      return caf::make_error(errc::invalid, "there is no PostgreSQL here");
    if (auto done = postgres_->create_database(name, from); !done)
      return done.error();
    return postgres_->dsn(name);
  }

  std::string nats_url() const override {
    return nats_ ? nats_->url() : std::string{};
  }

  pid_t postgres_pid() const override {
    return postgres_ ? postgres_->pid() : 0;
  }

  pid_t nats_pid() const override {
    return nats_ ? nats_->pid() : 0;
  }

  caf::expected<void> stop_postgres(bool hard) override {
    if (postgres_)
      postgres_->stop(hard);
    return {};
  }

  caf::expected<void> start_postgres() override {
    return restart(postgres_.get());
  }

  caf::expected<void> stop_nats(bool hard) override {
    if (nats_)
      nats_->stop(hard);
    return {};
  }

  caf::expected<void> start_nats() override {
    return restart(nats_.get());
  }

  std::string check() override {
    std::string result;
    if (postgres_)
      result = postgres_->check();
    if (result.empty() && nats_)
      result = nats_->check();
    return result;
  }

  void stop() override {
    write_back_.reset();
    // Events wait in PostgreSQL for a broker, never the other way round.
    if (nats_ && nats_->pid() != 0) {
      say("Stopping nats-server");
      nats_->stop(false);
    }
    if (postgres_ && postgres_->pid() != 0) {
      say("Stopping PostgreSQL");
      postgres_->stop(false);
    }
  }

private:
  void say(const std::string& sentence) const {
    if (options_.progress)
      options_.progress(sentence);
  }

  static caf::expected<void> restart(private_server* server) {
    if (server == nullptr)
      return caf::make_error(errc::invalid, "there is no such server here");
    return server->restart();
  }

  caf::expected<void>
  prepare_postgres(const std::string& password, const std::string& name) {
    if (!options_.with_postgres)
      return {};
    auto programs = postgres_server::find_programs(dir_);
    if (!programs)
      return programs.error();
    postgres_ = std::make_unique<postgres_server>(
      dir_, postgres_server::settings{std::move(*programs), password, name,
                                      options_.postgres_settings});
    if (postgres_->initialised()) {
      postgres_->remove_stale_lock();
      return {};
    }
    say("Creating the PostgreSQL databases");
    return postgres_->initialise({oltp_name, analytics_name});
  }

  caf::expected<void>
  prepare_nats(const std::string& password, const std::string& name) {
    if (!options_.with_nats)
      return {};
    auto program = nats_server::find_program(dir_);
    if (!program)
      return program.error();
    nats_ = std::make_unique<nats_server>(
      dir_, nats_server::settings{std::move(*program), password, name});
    return {};
  }

  /// One after the other they would take the sum of their times.
  caf::expected<void> launch_both() {
    if (postgres_) {
      say("Starting PostgreSQL");
      if (auto done = postgres_->launch(); !done)
        return done;
    }
    if (nats_) {
      say("Starting nats-server");
      if (auto done = nats_->launch(); !done)
        return done;
    }
    if (postgres_)
      if (auto done = postgres_->await_ready(); !done)
        return done;
    if (nats_)
      if (auto done = nats_->await_ready(); !done)
        return done;
    return {};
  }

  void begin_write_back() {
    std::vector<std::string> dirs;
    if (postgres_)
      dirs.push_back(postgres_->tables_dir());
    if (nats_)
      dirs.push_back(nats_->store_dir());
    write_back_.emplace(std::move(dirs));
  }

  server_directory dir_;
  private_server_options options_;
  std::unique_ptr<postgres_server> postgres_;
  std::unique_ptr<nats_server> nats_;
  std::optional<write_back> write_back_;
};

} // namespace

caf::expected<std::unique_ptr<private_servers>>
private_servers::start(private_server_options options) {
  auto dir = server_directory::open(options.data_dir);
  if (!dir)
    return dir.error();
  auto result = std::make_unique<private_servers_impl>(std::move(*dir),
                                                       std::move(options));
  if (auto done = result->run(); !done)
    return done.error();
  return std::unique_ptr<private_servers>{std::move(result)};
}

} // namespace tillstream::storage

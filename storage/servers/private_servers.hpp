#pragma once

#include <caf/expected.hpp>

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

/// @file storage/servers/private_servers.hpp
/// A private PostgreSQL and a private nats-server under one directory, for
/// `tillstream up`, the tests and the benchmarks. Both listen on loopback
/// only, on ports of their own, with passwords.

namespace tillstream::storage {

struct private_server_options {
  /// Holds everything; created when missing.
  std::string data_dir;
  /// Says what is going on, one short sentence at a time. May be empty.
  std::function<void(const std::string&)> progress;
  /// More lines for postgresql.conf, e.g. of a test.
  std::vector<std::string> postgres_settings;
  bool with_postgres = true;
  bool with_nats = true;
};

/// Both servers, while this object lives. Not thread-safe. Must be made and
/// destroyed on the process's main thread: the servers ask the kernel to stop
/// them when the thread that forked them is gone.
class private_servers {
public:
  /// Starts both, at once. As root they run as `TILLSTREAM_SERVER_USER`, else
  /// `postgres`, else `nobody`. Whatever an earlier process left running on
  /// this directory is stopped first; a second *living* owner of the directory
  /// is `errc::invalid`.
  static caf::expected<std::unique_ptr<private_servers>>
  start(private_server_options options);

  virtual ~private_servers() = default;

  /// `postgresql://tillstream:…@127.0.0.1:PORT/tillstream_oltp`
  virtual std::string oltp_dsn() const = 0;
  /// `…/tillstream_analytics`
  virtual std::string analytics_dsn() const = 0;
  /// Any other database on the same server; created when missing.
  virtual caf::expected<std::string> database(const std::string& name) = 0;
  /// The same as a copy of the database `from`, to which nobody may be
  /// connected meanwhile: much faster than migrating again.
  virtual caf::expected<std::string>
  copy_database(const std::string& name, const std::string& from) = 0;
  /// `nats://tillstream:…@127.0.0.1:PORT`
  virtual std::string nats_url() const = 0;

  virtual pid_t postgres_pid() const = 0;
  virtual pid_t nats_pid() const = 0;

  /// For tests and supervision: stop and start one server on the same port
  /// with the same data. `hard` is SIGKILL (PostgreSQL: immediate shutdown).
  virtual caf::expected<void> stop_postgres(bool hard) = 0;
  virtual caf::expected<void> start_postgres() = 0;
  virtual caf::expected<void> stop_nats(bool hard) = 0;
  virtual caf::expected<void> start_nats() = 0;

  /// Reaps children that died. @returns a sentence naming the server that is
  /// gone though it should run, or an empty string.
  virtual std::string check() = 0;

  /// Stops both in order, nats-server first: PostgreSQL by a fast shutdown.
  virtual void stop() = 0;
};

} // namespace tillstream::storage

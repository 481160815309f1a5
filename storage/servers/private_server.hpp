#pragma once

#include "storage/servers/child_process.hpp"
#include "storage/servers/server_directory.hpp"

#include <caf/expected.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace tillstream::storage {

/// One server of `private_servers`: a child process on a loopback port.
///
/// ```
///   down ──launch──> starting ──await_ready──> up ──stop──> down
///                       │ ended: another port, at most 3 attempts
/// ```
class private_server {
public:
  /// @param name For people, e.g. `PostgreSQL`.
  /// @param stem Of the files `<stem>.port` and `<stem>.log`.
  private_server(const server_directory& dir, std::string name,
                 std::string stem)
    : dir_(dir),
      name_(std::move(name)),
      stem_(std::move(stem)) {
    // nop
  }

  private_server(const private_server&) = delete;
  private_server& operator=(const private_server&) = delete;
  virtual ~private_server() = default;

  /// Starts the process, first on the port used before if it is free.
  caf::expected<void> launch();

  /// Waits until the launched server answers.
  caf::expected<void> await_ready();

  /// Starts the server again where it was: same port, same data.
  caf::expected<void> restart();

  /// @param hard Without any goodbye.
  void stop(bool hard);

  /// @returns a sentence if the server is gone though nobody stopped it.
  std::string check();

  pid_t pid() const {
    return process_.pid();
  }

  uint16_t port() const {
    return port_;
  }

protected:
  /// Writes the configuration for `port()`.
  virtual caf::expected<void> configure() = 0;
  virtual std::vector<std::string> command() const = 0;

  /// Besides what every child gets, see `spawn_request`.
  virtual std::vector<std::string> environment() const {
    return {};
  }
  virtual int death_signal() const = 0;
  virtual std::vector<stop_step> stop_steps(bool hard) const = 0;
  /// Whether the process `pid` answers.
  virtual bool ready(pid_t pid) const = 0;

  const server_directory& dir_;

private:
  std::string log_name() const {
    return stem_ + ".log";
  }
  caf::expected<void> spawn();

  std::string name_;
  std::string stem_;
  uint16_t port_ = 0;
  child_process process_;
  /// Whether the process should be there.
  bool wanted_ = false;
};

} // namespace tillstream::storage

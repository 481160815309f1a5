#pragma once

#include "storage/servers/private_server.hpp"

namespace tillstream::storage {

/// A nats-server with JetStream of our own, with a password, over loopback TCP
/// only.
class nats_server : public private_server {
public:
  struct settings {
    /// Path of `nats-server`.
    std::string program;
    std::string password;
    std::string server_name;
  };

  nats_server(const server_directory& dir, settings options);

  /// Finds the program: `TILLSTREAM_NATS_SERVER`, the directories where
  /// deploy/install-deps.sh puts a newer one than the distribution's, PATH.
  static caf::expected<std::string> find_program(const server_directory& dir);

  std::string url() const;

  /// Where streams lie.
  std::string store_dir() const;

protected:
  caf::expected<void> configure() override;
  std::vector<std::string> command() const override;
  std::vector<std::string> environment() const override;
  int death_signal() const override;
  std::vector<stop_step> stop_steps(bool hard) const override;
  bool ready(pid_t pid) const override;

private:
  settings options_;
};

} // namespace tillstream::storage

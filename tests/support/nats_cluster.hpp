#pragma once

#include "storage/servers/child_process.hpp"
#include "tests/support/temporary_directory.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tillstream::test {

/// Real nats-servers that form a JetStream cluster on loopback, named `n1`,
/// `n2`, …, each with the tag `place:<name>`. Must be made on the main thread:
/// the servers end with it.
class nats_cluster {
public:
  static constexpr const char* name = "tillstream-test";

  explicit nats_cluster(size_t servers = 3);
  nats_cluster(const nats_cluster&) = delete;
  nats_cluster& operator=(const nats_cluster&) = delete;
  ~nats_cluster();

  /// All servers, with commas.
  std::string url() const;

  /// One of them. @pre below the number of servers
  std::string url(size_t index) const;

  /// SIGKILL.
  void kill(size_t index);

  /// Starts it again, on its old data.
  void start(size_t index);

  /// The place of a server by its name.
  size_t index_of(const std::string& server_name) const;

private:
  struct server {
    uint16_t port = 0;
    uint16_t route_port = 0;
    std::string config;
    storage::child_process process;
  };

  temporary_directory dir_;
  std::string program_;
  std::vector<server> servers_;
};

} // namespace tillstream::test

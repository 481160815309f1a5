#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

/// @file tests/support/cutting_proxy.hpp
/// A network that fails at the worst moment.

namespace tillstream::test {

/// Forwards one connection to a PostgreSQL server, until the client sends a
/// packet that contains `trigger`; then it cuts the connection.
///
/// - Thread: one of its own, from the constructor to the destructor.
class cutting_proxy {
public:
  enum class moment {
    /// The packet never reaches the server.
    before,
    /// The server has answered the packet; the answer never reaches the
    /// client.
    after,
  };

  /// @param dsn A URL with host and port.
  cutting_proxy(const std::string& dsn, std::string trigger, moment when);

  cutting_proxy(const cutting_proxy&) = delete;
  cutting_proxy& operator=(const cutting_proxy&) = delete;
  ~cutting_proxy();

  /// The same database, by way of the proxy.
  const std::string& dsn() const {
    return dsn_;
  }

  bool has_cut() const {
    return has_cut_;
  }

private:
  void run();
  void forward(int client, int server);

  std::string dsn_;
  std::string trigger_;
  moment when_;
  uint16_t server_port_ = 0;
  int listener_ = -1;
  std::atomic<bool> has_cut_ = false;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

} // namespace tillstream::test

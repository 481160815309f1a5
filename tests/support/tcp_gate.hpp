#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <thread>

namespace tillstream::test {

/// Stands between one client and a server on this machine, and can be shut: all
/// connections are cut then, and new ones are refused until it is opened. Or it
/// is frozen: what is sent is acknowledged and goes nowhere until it thaws.
///
/// - Thread: one of its own, from the constructor to the destructor.
class tcp_gate {
public:
  explicit tcp_gate(uint16_t server_port);
  ~tcp_gate();

  tcp_gate(const tcp_gate&) = delete;
  tcp_gate& operator=(const tcp_gate&) = delete;

  /// Where clients connect to.
  uint16_t port() const {
    return port_;
  }

  void shut() {
    open_ = false;
  }

  void open() {
    open_ = true;
  }

  void freeze() {
    frozen_ = true;
  }

  void thaw() {
    frozen_ = false;
  }

private:
  void run();
  void let_in();
  void pass_on(int from);
  void cut(int one);
  void cut_all();

  uint16_t server_port_;
  uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> open_ = true;
  std::atomic<bool> frozen_ = false;
  std::atomic<bool> stopping_ = false;
  /// Both directions.
  std::map<int, int> peers_;
  std::thread thread_;
};

} // namespace tillstream::test

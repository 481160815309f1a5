#include "tests/support/cutting_proxy.hpp"

#include <array>
#include <cerrno>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tillstream::test {

namespace {

/// How often the thread looks whether it should end.
constexpr int poll_ms = 20;

sockaddr_in loopback(uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  result.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return result;
}

int check(int result) {
  if (result < 0)
    throw std::system_error{errno, std::generic_category()};
  return result;
}

void send_all(int to, std::string_view bytes) {
  while (!bytes.empty()) {
    auto sent = send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0)
      return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string_view receive(int from, std::array<char, 65536>& buffer) {
  auto got = recv(from, buffer.data(), buffer.size(), 0);
  return {buffer.data(), got > 0 ? static_cast<size_t>(got) : 0};
}

} // namespace

cutting_proxy::cutting_proxy(const std::string& dsn, std::string trigger,
                             moment when)
  : trigger_(std::move(trigger)),
    when_(when) {
  auto colon = dsn.rfind(':');
  auto slash = dsn.find('/', colon);
  if (slash == std::string::npos)
    throw std::invalid_argument{"no port in the DSN"};
  server_port_
    = static_cast<uint16_t>(std::stoi(dsn.substr(colon + 1, slash - colon)));
  listener_ = check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = loopback(0);
  check(
    bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  check(listen(listener_, 1));
  socklen_t size = sizeof(address);
  check(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size));
  dsn_ = dsn.substr(0, colon + 1) + std::to_string(ntohs(address.sin_port))
         + dsn.substr(slash);
  thread_ = std::thread{[this] { run(); }};
}

cutting_proxy::~cutting_proxy() {
  stopping_ = true;
  thread_.join();
  close(listener_);
}

void cutting_proxy::run() {
  pollfd ready{listener_, POLLIN, 0};
  while (!stopping_ && poll(&ready, 1, poll_ms) == 0)
    ;
  if (stopping_)
    return;
  auto client = accept(listener_, nullptr, nullptr);
  auto server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = loopback(server_port_);
  if (connect(server, reinterpret_cast<sockaddr*>(&address), sizeof(address))
      == 0)
    forward(client, server);
  close(client);
  close(server);
}

void cutting_proxy::forward(int client, int server) {
  std::array<char, 65536> buffer;
  while (!stopping_) {
    std::array<pollfd, 2> ready{{{client, POLLIN, 0}, {server, POLLIN, 0}}};
    if (poll(ready.data(), ready.size(), poll_ms) == 0)
      continue;
    if (ready[1].revents != 0) {
      auto bytes = receive(server, buffer);
      if (bytes.empty())
        return;
      send_all(client, bytes);
    }
    if (ready[0].revents == 0)
      continue;
    auto bytes = receive(client, buffer);
    if (bytes.empty())
      return;
    auto cut = bytes.find(trigger_) != std::string_view::npos;
    if (!cut || when_ == moment::after)
      send_all(server, bytes);
    if (!cut)
      continue;
    if (when_ == moment::after)
      receive(server, buffer);
    has_cut_ = true;
    return;
  }
}

} // namespace tillstream::test

#include "tests/support/tcp_gate.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <stdexcept>
#include <vector>

namespace tillstream::test {

namespace {

/// How soon it notices that it was shut, milliseconds.
constexpr int look_ms = 20;

sockaddr_in local(uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  result.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return result;
}

} // namespace

tcp_gate::tcp_gate(uint16_t server_port) : server_port_(server_port) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = local(0);
  socklen_t size = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (listener_ < 0 || ::bind(listener_, raw, size) != 0
      || ::listen(listener_, 16) != 0
      || ::getsockname(listener_, raw, &size) != 0)
    throw std::runtime_error("cannot listen");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread{[this] { run(); }};
}

tcp_gate::~tcp_gate() {
  stopping_ = true;
  thread_.join();
  cut_all();
  ::close(listener_);
}

void tcp_gate::run() {
  while (!stopping_) {
    if (frozen_) {
      std::this_thread::sleep_for(std::chrono::milliseconds{look_ms});
      continue;
    }
    if (!open_)
      cut_all();
    std::vector<pollfd> waiting{{listener_, POLLIN, 0}};
    for (const auto& [one, other] : peers_)
      waiting.push_back({one, POLLIN, 0});
    if (::poll(waiting.data(), waiting.size(), look_ms) <= 0)
      continue;
    if (waiting[0].revents != 0)
      let_in();
    for (size_t i = 1; i < waiting.size() && !frozen_; ++i)
      if (waiting[i].revents != 0)
        pass_on(waiting[i].fd);
  }
}

void tcp_gate::let_in() {
  int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0)
    return;
  int server = open_ ? ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
  auto address = local(server_port_);
  if (server < 0
      || ::connect(server, reinterpret_cast<sockaddr*>(&address),
                   sizeof(address))
           != 0) {
    ::close(client);
    if (server >= 0)
      ::close(server);
    return;
  }
  peers_[client] = server;
  peers_[server] = client;
}

void tcp_gate::pass_on(int from) {
  auto peer = peers_.find(from);
  if (peer == peers_.end())
    return;
  std::array<char, 65'536> buffer;
  auto count = ::recv(from, buffer.data(), buffer.size(), 0);
  for (ssize_t sent = 0; sent < count;) {
    auto part = ::send(peer->second, buffer.data() + sent,
                       static_cast<size_t>(count - sent), MSG_NOSIGNAL);
    if (part <= 0) {
      cut(from);
      return;
    }
    sent += part;
  }
  if (count <= 0)
    cut(from);
}

void tcp_gate::cut(int one) {
  auto i = peers_.find(one);
  if (i == peers_.end())
    return;
  auto other = i->second;
  peers_.erase(i);
  peers_.erase(other);
  ::close(one);
  ::close(other);
}

void tcp_gate::cut_all() {
  while (!peers_.empty())
    cut(peers_.begin()->first);
}

} // namespace tillstream::test

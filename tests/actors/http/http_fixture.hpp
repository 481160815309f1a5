#pragma once

#include "actors/http/server.hpp"
#include "messages/model/http.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

/// @file tests/actors/http/http_fixture.hpp
/// A server, and a client that sends exactly the bytes of a test.

namespace tillstream::test {

/// How long a test waits for what must come.
constexpr auto reply_timeout = std::chrono::seconds{10};

struct wire_reply {
  int status = 0;
  /// Status line and fields as received.
  std::string head;
  std::string body;

  bool has(std::string_view line) const {
    return head.find(line) != std::string::npos;
  }
};

/// A bare socket: what it sends is exactly what the server gets.
class wire {
public:
  explicit wire(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto address = reinterpret_cast<sockaddr*>(&to);
    BOOST_REQUIRE(::connect(fd_, address, sizeof(to)) == 0);
  }

  ~wire() {
    ::close(fd_);
  }

  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;

  wire& send(std::string_view bytes) {
    while (!bytes.empty()) {
      auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0)
        break;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return *this;
  }

  void half_close() {
    ::shutdown(fd_, SHUT_WR);
  }

  /// Reads one answer; status 0 when the connection ends before it is whole.
  wire_reply receive(bool with_body = true) {
    wire_reply result;
    size_t end;
    while ((end = unread_.find("\r\n\r\n")) == std::string::npos)
      if (!fill())
        return result;
    result.head = unread_.substr(0, end + 4);
    unread_.erase(0, end + 4);
    auto size = with_body ? content_length(result.head) : 0;
    while (unread_.size() < size)
      if (!fill())
        return result;
    result.body = unread_.substr(0, size);
    unread_.erase(0, size);
    result.status = std::stoi(result.head.substr(9, 3));
    return result;
  }

  /// Reads so many bytes, fewer when the connection ends.
  std::string take(size_t n) {
    while (unread_.size() < n && fill())
      ; // nop
    auto result = unread_.substr(0, n);
    unread_.erase(0, n);
    return result;
  }

  /// Whether the server ends the connection without another byte.
  bool closed() {
    return unread_.empty() && !fill();
  }

private:
  static size_t content_length(const std::string& head) {
    auto at = head.find("Content-Length: ");
    return at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
  }

  bool fill() {
    pollfd waits{fd_, POLLIN, 0};
    auto ms = std::chrono::milliseconds{reply_timeout}.count();
    if (::poll(&waits, 1, static_cast<int>(ms)) != 1) {
      BOOST_ERROR("nothing came");
      return false;
    }
    std::array<char, 65536> chunk;
    auto n = ::recv(fd_, chunk.data(), chunk.size(), 0);
    if (n <= 0)
      return false;
    unread_.append(chunk.data(), static_cast<size_t>(n));
    return true;
  }

  int fd_;
  std::string unread_;
};

/// What a request looked like to the handler.
inline std::string echo_of(const http_request& x) {
  auto result = x.method + " " + x.path;
  for (const auto& [name, value] : x.query)
    result += " " + name + "=" + value;
  if (x.body_too_large)
    result += " (too large)";
  return result + "|" + x.body;
}

/// A server whose handler echoes, or keeps exchanges until the test answers.
struct http_fixture {
  http_fixture() {
    options.on_request = [this](http_exchange_ptr x) { take(std::move(x)); };
  }

  ~http_fixture() {
    held.clear();
  }

  uint16_t start() {
    auto started = http_server::start(options);
    BOOST_REQUIRE(started);
    server = std::move(*started);
    return server->port();
  }

  void take(http_exchange_ptr x) {
    ++taken;
    if (!hold)
      return x->reply({200, "text/plain", {}, echo_of(x->request)});
    std::lock_guard guard{mutex};
    held.push_back(std::move(x));
    arrived.notify_all();
  }

  /// Waits until `n` exchanges are held.
  void wait_held(size_t n) {
    std::unique_lock guard{mutex};
    BOOST_REQUIRE(
      arrived.wait_for(guard, reply_timeout, [&] { return held.size() >= n; }));
  }

  /// Sends raw bytes on a new connection; what comes back must be a problem of
  /// this status and name, and the end of the connection.
  void
  check_refused(std::string_view bytes, int status, std::string_view name) {
    BOOST_TEST_CONTEXT("request: " << bytes.substr(0, 200)) {
      wire peer{server->port()};
      auto reply = peer.send(bytes).receive();
      BOOST_TEST(reply.status == status);
      BOOST_TEST(reply.has("Content-Type: application/problem+json"));
      BOOST_TEST(reply.has("Connection: close"));
      BOOST_TEST(reply.has("traceparent: 00-"));
      auto type = "\"/problems/" + std::string{name} + "\"";
      BOOST_TEST((reply.body.find(type) != std::string::npos), reply.body);
      BOOST_TEST(peer.closed());
    }
  }

  http_server_options options;
  std::unique_ptr<http_server> server;
  std::atomic<int> taken{0};
  std::atomic<bool> hold{false};
  std::mutex mutex;
  std::condition_variable arrived;
  std::vector<http_exchange_ptr> held;
};

constexpr auto simple = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

} // namespace tillstream::test

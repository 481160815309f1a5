#pragma once

#include "actors/http/server_options.hpp"

#include <caf/expected.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace tillstream {

struct server_core;

/// The HTTP/1.1 edge: frames requests strictly, hands them over, writes the
/// answers back.
///
/// - Thread: one of its own carries all connections. `reply` of an exchange may
///   come from any thread, also after the server is gone.
/// - Limits: open connections, live replies among them, one request at
///   a time on each (pipelined ones wait unread), bytes of header and body, one
///   absolute deadline for reading a request, one for its answer, one for
///   writing it.
/// - Failure: what cannot be framed without doubt is refused and the connection
///   closed (ARCHITECTURE, 18).
class http_server {
public:
  /// Binds and starts to accept. @returns `errc::invalid` for a bad address,
  /// `errc::unavailable` when the port cannot be had.
  static caf::expected<std::unique_ptr<http_server>>
  start(http_server_options options);

  /// Binds only: connections wait in the kernel until `serve`.
  static caf::expected<std::unique_ptr<http_server>>
  bind(http_server_options options);

  /// Starts to accept. Once, and only after `bind`.
  void serve(std::function<void(http_exchange_ptr)> on_request);

  /// Stops without grace.
  ~http_server();

  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;

  /// Whether `address` is one that only this machine can connect to.
  static bool is_loopback(const std::string& address);

  uint16_t port() const {
    return port_;
  }

  /// Whether only this machine can connect.
  bool loopback_only() const {
    return loopback_only_;
  }

  /// Stops accepting, closes idle connections, lets the requests under way be
  /// answered for as long as `grace`, then closes what is left. Blocks until
  /// that is done; later calls return at once. Owner's thread only.
  void stop(std::chrono::milliseconds grace);

private:
  class listener;

  explicit http_server(std::unique_ptr<listener> x);

  std::unique_ptr<listener> listener_;
  std::thread thread_;
  uint16_t port_ = 0;
  bool loopback_only_ = false;
};

} // namespace tillstream

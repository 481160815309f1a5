#pragma once

#include "messages/core/limits.hpp"
#include "messages/model/http.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace tillstream {

/// Tuning of an HTTP server. The defaults are the limits of the system.
struct http_server_options {
  /// An IPv4 or IPv6 address, e.g. `0.0.0.0` or `::`.
  std::string address = "127.0.0.1";

  /// 0: any free port.
  uint16_t port = 0;

  /// Takes each request, on the I/O thread: must not block. Keeps the exchange
  /// until it answers; dropping it answers 500.
  std::function<void(http_exchange_ptr)> on_request = nullptr;

  size_t connections_max = limits::connections_max;
  size_t streams_max = limits::streams_max;
  std::chrono::milliseconds request_deadline{limits::request_deadline};
  std::chrono::milliseconds keep_alive_max{limits::keep_alive_max};
  std::chrono::milliseconds answer_max{limits::exchange_answer_max};
  std::chrono::milliseconds write_max{limits::reply_write_max};
  std::chrono::milliseconds linger_max{limits::linger_max};
};

} // namespace tillstream

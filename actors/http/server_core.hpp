#pragma once

#include "actors/http/server_options.hpp"

#include <boost/asio/io_context.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

/// @file actors/http/server_core.hpp
/// INTERNAL to actors/http: what a server shares with its connections.

namespace tillstream {

/// The I/O thread's context. Exchanges and live replies keep it alive, so that
/// a late reply finds an `io_context` to be posted to, if only to be dropped
/// there.
struct server_core : std::enable_shared_from_this<server_core> {
  explicit server_core(http_server_options x) : options(std::move(x)), io(1) {
    // nop
  }

  /// `Date` of now; rendered once a second. I/O thread only.
  const std::string& date();

  http_server_options options;

  /// Live replies. Counted up from any thread.
  /// Declared before `io`, whose handlers may still count down.
  std::atomic<size_t> live_replies{0};

  /// The server stops; no connection may begin another request.
  /// I/O thread only.
  bool draining = false;

  boost::asio::io_context io;

private:
  std::string date_;
  std::chrono::system_clock::time_point date_second_;
};

using server_core_ptr = std::shared_ptr<server_core>;

} // namespace tillstream

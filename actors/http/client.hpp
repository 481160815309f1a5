#pragma once

#include "messages/model/http.hpp"

#include <caf/expected.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace tillstream {

/// Tuning of an HTTP client.
struct http_client_options {
  std::chrono::milliseconds connect_max{2000};
  /// From the first byte sent to the last byte received.
  std::chrono::milliseconds answer_max{15'000};
  /// Bytes of an answer's body.
  size_t body_bytes_max = 64 * 1024 * 1024;
};

/// What the server answered.
struct http_response {
  int status = 0;
  /// Names in lower case, in order.
  header_list headers;
  std::string body;
  /// The request was sent a second time: the server had closed the kept-alive
  /// connection, and nothing of an answer came back. The first attempt may have
  /// been carried out all the same.
  bool resent = false;

  /// @returns the first header of that name (in lower case).
  std::optional<std::string_view> header(std::string_view name) const;
};

/// A blocking HTTP/1.1 client with one kept-alive connection: a till of the
/// simulator, a test, a benchmark. One thread, one client.
class http_client {
public:
  /// Does not connect yet.
  /// @param host A name or an address.
  http_client(std::string host, uint16_t port,
              http_client_options options = {});
  ~http_client();
  http_client(http_client&&) noexcept;
  http_client& operator=(http_client&&) noexcept;

  /// Sends one request and waits for its answer. `Host`, `Content-Length` and
  /// `Connection` are added.
  /// @param target Origin form, encoded; see `percent_encode`.
  /// @returns `errc::unavailable`: there was no connection, so nothing was
  ///          sent. `errc::timeout` and `errc::in_doubt` (the connection ended
  ///          early): whether it was carried out is unknown.
  caf::expected<http_response>
  request(std::string_view method, std::string_view target,
          const header_list& headers = {}, std::string_view body = {});

  /// Drops the connection, if any; the next request opens another one.
  void disconnect();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace tillstream

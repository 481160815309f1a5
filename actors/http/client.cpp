#include "actors/http/client.hpp"

#include "actors/http/header_values.hpp"
#include "messages/core/error.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <optional>
#include <utility>

namespace tillstream {

namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = net::ip::tcp;
using request_message = http::request<http::string_body>;
using response_parser = http::response_parser<http::string_body>;

http_response take_response(response_parser& in) {
  http_response result;
  auto message = in.release();
  result.status = static_cast<int>(message.result_int());
  for (const auto& field : message)
    result.headers.emplace_back(lower_case(field.name_string()),
                                std::string{field.value()});
  result.body = std::move(message.body());
  return result;
}

} // namespace

std::optional<std::string_view>
http_response::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name)
      return value;
  return std::nullopt;
}

struct http_client::impl {
  impl(std::string h, uint16_t p, http_client_options x)
    : host(std::move(h)),
      port(p),
      options(x) {
    // nop
  }

  /// Runs the one operation that was started, to its end or its deadline.
  void run() {
    io.restart();
    io.run();
  }

  caf::error connect() {
    beast::error_code ec;
    tcp::resolver resolver{io};
    auto where = resolver.resolve(host, std::to_string(port), ec);
    if (!ec) {
      stream.emplace(io);
      stream->expires_after(options.connect_max);
      stream->async_connect(where,
                            [&](beast::error_code e, const auto&) { ec = e; });
      run();
    }
    if (ec) {
      stream.reset();
      return caf::make_error(errc::unavailable,
                             "cannot connect to " + host + " port "
                               + std::to_string(port) + ": " + ec.message());
    }
    stream->socket().set_option(tcp::no_delay{true}, ec);
    buffer.clear();
    return caf::none;
  }

  request_message
  make_message(std::string_view method, std::string_view target,
               const header_list& headers, std::string_view body) const {
    request_message result;
    result.version(11);
    result.method_string({method.data(), method.size()});
    result.target({target.data(), target.size()});
    result.set(http::field::host, host + ":" + std::to_string(port));
    for (const auto& [name, value] : headers)
      result.insert(name, value);
    if (!body.empty() || method == "POST" || method == "PUT")
      result.content_length(body.size());
    result.body() = body;
    return result;
  }

  /// Writes the request and reads the answer under one deadline.
  beast::error_code exchange(request_message& out, response_parser& in) {
    beast::error_code ec;
    in.body_limit(options.body_bytes_max);
    in.skip(out.method() == http::verb::head);
    stream->expires_after(options.answer_max);
    http::async_write(*stream, out,
                      [&](beast::error_code e, size_t) { ec = e; });
    run();
    // A server may answer and close before it has read all: look for that.
    auto write_error = ec;
    if (ec == beast::error::timeout)
      return ec;
    http::async_read(*stream, buffer, in,
                     [&](beast::error_code e, size_t) { ec = e; });
    run();
    return ec && write_error ? write_error : ec;
  }

  std::string host;
  uint16_t port;
  http_client_options options;
  net::io_context io{1};
  std::optional<beast::tcp_stream> stream;
  beast::flat_buffer buffer;
};

http_client::http_client(std::string host, uint16_t port,
                         http_client_options options)
  : impl_(std::make_unique<impl>(std::move(host), port, options)) {
  // nop
}

http_client::~http_client() = default;
http_client::http_client(http_client&&) noexcept = default;
http_client& http_client::operator=(http_client&&) noexcept = default;

void http_client::disconnect() {
  impl_->stream.reset();
}

caf::expected<http_response>
http_client::request(std::string_view method, std::string_view target,
                     const header_list& headers, std::string_view body) {
  auto message = impl_->make_message(method, target, headers, body);
  for (bool resent = false; true; resent = true) {
    auto reused = impl_->stream.has_value();
    if (!reused)
      if (auto err = impl_->connect())
        return resent ? caf::make_error(errc::in_doubt, describe(err)) : err;
    response_parser in;
    auto ec = impl_->exchange(message, in);
    if (!ec) {
      if (!in.get().keep_alive())
        disconnect();
      auto result = take_response(in);
      result.resent = resent;
      return result;
    }
    disconnect();
    if (ec == beast::error::timeout)
      return caf::make_error(errc::timeout, "no answer in time");
    // Only a connection that was idle may have been closed before it saw the
    // request; and only once, since the next one is new.
    if (!reused || in.got_some())
      return caf::make_error(errc::in_doubt,
                             "the connection ended early: " + ec.message());
  }
}

} // namespace tillstream

#include "actors/http/server.hpp"

#include "actors/http/connection.hpp"
#include "actors/http/server_core.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fmt/format.h>

#include <cassert>
#include <unordered_set>
#include <utility>
#include <vector>

namespace tillstream {

namespace {

namespace net = boost::asio;
using tcp = net::ip::tcp;

constexpr auto as_value = net::as_tuple(net::use_awaitable);

/// After a failed accept, e.g. without file descriptors, others get time to
/// end.
constexpr auto accept_pause = std::chrono::milliseconds{50};

constexpr auto connections_metric = "tillstream_http_connections";
constexpr auto connections_help = "Open HTTP connections.";
constexpr auto turned_away_metric = "tillstream_http_turned_away_total";
constexpr auto turned_away_help
  = "Connections beyond the limit, refused or closed.";

caf::error listen(tcp::acceptor& acceptor, const http_server_options& options) {
  boost::system::error_code ec;
  auto address = net::ip::make_address(options.address, ec);
  if (ec)
    return caf::make_error(errc::invalid,
                           "not an address to listen on: " + options.address);
  tcp::endpoint where{address, options.port};
  acceptor.open(where.protocol(), ec);
  if (!ec)
    acceptor.set_option(tcp::acceptor::reuse_address{true}, ec);
  if (!ec)
    acceptor.bind(where, ec);
  if (!ec)
    acceptor.listen(net::socket_base::max_listen_connections, ec);
  if (ec)
    return caf::make_error(errc::unavailable,
                           fmt::format("cannot listen on {} port {}: {}",
                                       options.address, options.port,
                                       ec.message()));
  return caf::none;
}

} // namespace

/// Accepts connections and keeps them. Lives on the I/O thread.
class http_server::listener {
public:
  explicit listener(http_server_options options)
    : core(std::make_shared<server_core>(std::move(options))),
      acceptor(core->io),
      pause_(core->io),
      work_(core->io.get_executor()) {
    // nop
  }

  /// Accepts until the acceptor is closed.
  net::awaitable<void> accept() {
    while (acceptor.is_open()) {
      auto [ec, socket] = co_await acceptor.async_accept(as_value);
      if (core->draining)
        co_return;
      if (!ec) {
        admit(std::move(socket));
        continue;
      }
      log::warning("http.accept_failed", {{"reason", ec.message()}});
      pause_.expires_after(accept_pause);
      co_await pause_.async_wait(as_value);
    }
  }

  /// Stops accepting; see `http_server::stop`.
  void drain(std::chrono::milliseconds grace) {
    core->draining = true;
    boost::system::error_code ec;
    acceptor.close(ec);
    if (connections_.empty())
      return finish();
    // Copies: a connection that closes leaves the set.
    for (auto& connection :
         std::vector(connections_.begin(), connections_.end()))
      connection->drain();
    pause_.expires_after(grace);
    pause_.async_wait([this](boost::system::error_code cancelled) {
      if (cancelled)
        return;
      for (auto& connection :
           std::vector(connections_.begin(), connections_.end()))
        connection->abort();
    });
  }

  server_core_ptr core;
  tcp::acceptor acceptor;

private:
  /// Takes a new socket in: serves, refuses or closes it.
  void admit(tcp::socket socket) {
    const auto& options = core->options;
    auto over_limit = connections_.size() >= options.connections_max;
    if (over_limit) {
      metrics().get_counter(turned_away_metric, turned_away_help).add();
      // Destroying the socket closes it.
      if (connections_.size() >= options.connections_max + limits::refusals_max)
        return;
    }
    auto added = std::make_shared<http_connection>(*core, std::move(socket));
    connections_.insert(added);
    metrics().get_gauge(connections_metric, connections_help).add(1);
    added->start(over_limit,
                 [this](const http_connection_ptr& x) { remove(x); });
  }

  /// A connection ended.
  void remove(const http_connection_ptr& gone) {
    if (connections_.erase(gone) == 0)
      return;
    metrics().get_gauge(connections_metric, connections_help).add(-1);
    if (core->draining && connections_.empty())
      finish();
  }

  /// Lets the I/O thread end.
  void finish() {
    pause_.cancel();
    work_.reset();
  }

  net::steady_timer pause_;
  net::executor_work_guard<net::io_context::executor_type> work_;
  std::unordered_set<http_connection_ptr> connections_;
};

// -- the owner's side ---------------------------------------------------------

caf::expected<std::unique_ptr<http_server>>
http_server::start(http_server_options options) {
  auto on_request = std::move(options.on_request);
  auto result = bind(std::move(options));
  if (result)
    (*result)->serve(std::move(on_request));
  return result;
}

caf::expected<std::unique_ptr<http_server>>
http_server::bind(http_server_options options) {
  auto added = std::make_unique<listener>(std::move(options));
  if (auto err = listen(added->acceptor, added->core->options))
    return err;
  return std::unique_ptr<http_server>{new http_server(std::move(added))};
}

http_server::http_server(std::unique_ptr<listener> x)
  : listener_(std::move(x)) {
  auto where = listener_->acceptor.local_endpoint();
  port_ = where.port();
  loopback_only_ = where.address().is_loopback();
}

void http_server::serve(std::function<void(http_exchange_ptr)> on_request) {
  assert(on_request != nullptr && !thread_.joinable());
  listener_->core->options.on_request = std::move(on_request);
  auto& io = listener_->core->io;
  net::co_spawn(io, listener_->accept(), net::detached);
  thread_ = std::thread{[&io] { io.run(); }};
}

bool http_server::is_loopback(const std::string& address) {
  boost::system::error_code ec;
  auto parsed = net::ip::make_address(address, ec);
  return !ec && parsed.is_loopback();
}

http_server::~http_server() {
  stop(std::chrono::milliseconds{0});
}

void http_server::stop(std::chrono::milliseconds grace) {
  if (!thread_.joinable())
    return;
  net::post(listener_->core->io, [this, grace] { listener_->drain(grace); });
  thread_.join();
  // The owner's actors must not be kept alive by an exchange that is late.
  listener_->core->options.on_request = nullptr;
}

} // namespace tillstream

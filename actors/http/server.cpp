#include "actors/http/server.hpp"

#include "actors/http/connection.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fmt/format.h>

#include <cassert>
#include <ctime>
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

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7), whatever the locale.
std::string http_date(std::time_t t) {
  constexpr const char* days[]
    = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm x{};
  gmtime_r(&t, &x);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[x.tm_wday],
                     x.tm_mday, months[x.tm_mon], x.tm_year + 1900, x.tm_hour,
                     x.tm_min, x.tm_sec);
}

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

// -- what lives on the I/O thread ---------------------------------------------

http_core::http_core(http_server_options x)
  : options(std::move(x)),
    io(1),
    acceptor(io),
    pause(io),
    work(io.get_executor()) {
  // nop
}

net::awaitable<void> http_core::accept() {
  while (acceptor.is_open()) {
    auto [ec, socket] = co_await acceptor.async_accept(as_value);
    if (draining)
      co_return;
    if (!ec) {
      admit(std::move(socket));
      continue;
    }
    log::warning("http.accept_failed", {{"reason", ec.message()}});
    pause.expires_after(accept_pause);
    co_await pause.async_wait(as_value);
  }
}

void http_core::admit(tcp::socket socket) {
  auto over_limit = connections.size() >= options.connections_max;
  if (over_limit) {
    metrics().get_counter(turned_away_metric, turned_away_help).add();
    // Destroying the socket closes it.
    if (connections.size() >= options.connections_max + limits::refusals_max)
      return;
  }
  auto added = std::make_shared<http_connection>(*this, std::move(socket));
  connections.insert(added);
  metrics().get_gauge(connections_metric, connections_help).add(1);
  added->start(over_limit);
}

void http_core::forget(const http_connection_ptr& gone) {
  if (connections.erase(gone) == 0)
    return;
  metrics().get_gauge(connections_metric, connections_help).add(-1);
  if (draining && connections.empty()) {
    pause.cancel();
    work.reset();
  }
}

void http_core::drain(std::chrono::milliseconds grace) {
  draining = true;
  boost::system::error_code ec;
  acceptor.close(ec);
  if (connections.empty()) {
    pause.cancel();
    work.reset();
    return;
  }
  // Copies: a connection that closes leaves the set.
  std::vector<http_connection_ptr> open{connections.begin(), connections.end()};
  for (auto& connection : open)
    connection->drain();
  pause.expires_after(grace);
  pause.async_wait([this](boost::system::error_code cancelled) {
    if (cancelled)
      return;
    std::vector<http_connection_ptr> left{connections.begin(),
                                          connections.end()};
    for (auto& connection : left)
      connection->abort();
  });
}

const std::string& http_core::date() {
  using std::chrono::seconds;
  auto now = std::chrono::floor<seconds>(std::chrono::system_clock::now());
  if (date_.empty() || now != date_second_) {
    date_ = http_date(std::chrono::system_clock::to_time_t(now));
    date_second_ = now;
  }
  return date_;
}

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
  auto core = std::make_shared<http_core>(std::move(options));
  if (auto err = listen(core->acceptor, core->options))
    return err;
  return std::unique_ptr<http_server>{new http_server(std::move(core))};
}

http_server::http_server(std::shared_ptr<http_core> core)
  : core_(std::move(core)) {
  auto where = core_->acceptor.local_endpoint();
  port_ = where.port();
  loopback_only_ = where.address().is_loopback();
}

void http_server::serve(std::function<void(http_exchange_ptr)> on_request) {
  assert(on_request != nullptr && !thread_.joinable());
  core_->options.on_request = std::move(on_request);
  net::co_spawn(core_->io, core_->accept(), net::detached);
  thread_ = std::thread{[core = core_.get()] { core->io.run(); }};
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
  net::post(core_->io, [core = core_.get(), grace] { core->drain(grace); });
  thread_.join();
  // The owner's actors must not be kept alive by an exchange that is late.
  core_->options.on_request = nullptr;
}

} // namespace tillstream

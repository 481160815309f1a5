#include "actors/http/connection.hpp"

#include "actors/http/header_values.hpp"
#include "actors/http/target.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <exception>
#include <utility>

namespace tillstream {

namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = net::ip::tcp;

/// Errors come back as values: a peer that goes away is no exception.
constexpr auto as_value = net::as_tuple(net::use_awaitable);

/// Bytes asked from the socket at a time while a header section is read.
constexpr size_t read_chunk = 4096;

/// What a kept-alive connection may keep between requests.
constexpr size_t idle_buffer_max = 16 * 1024;

constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";

constexpr auto refused_metric = "tillstream_http_refused_total";
constexpr auto refused_help
  = "Requests refused by the edge before they reached the gateway.";

std::string_view view_of(const beast::flat_buffer& buffer) {
  auto bytes = buffer.cdata();
  return {static_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_loopback(const tcp::socket& socket) {
  beast::error_code ec;
  auto address = socket.remote_endpoint(ec).address();
  if (ec)
    return false;
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return net::ip::make_address_v4(net::ip::v4_mapped, address.to_v6())
      .is_loopback();
  return address.is_loopback();
}

/// The peer's address; of an IPv6 one the network, since whoever has one
/// address of it has them all.
std::string peer_of(const tcp::socket& socket) {
  beast::error_code ec;
  auto address = socket.remote_endpoint(ec).address();
  if (ec)
    return {};
  if (!address.is_v6())
    return address.to_string();
  auto wide = address.to_v6();
  if (wide.is_v4_mapped())
    return net::ip::make_address_v4(net::ip::v4_mapped, wide).to_string();
  auto bytes = wide.to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), static_cast<unsigned char>(0));
  return net::ip::make_address_v6(bytes).to_string();
}

/// Our own replies never hold such bytes; should one slip in, it must not
/// split the answer in two.
void append_header(std::string& out, std::string_view name,
                   std::string_view value) {
  auto breaks = [](char c) { return c == '\r' || c == '\n' || c == '\0'; };
  assert(std::none_of(value.begin(), value.end(), breaks));
  out += name;
  out += ": ";
  for (char c : value)
    out += breaks(c) ? ' ' : c;
  out += "\r\n";
}

http_reply render_traced(const problem& why, const trace_context& trace) {
  auto result = render_problem(why, trace.trace_id);
  result.headers.emplace_back("traceparent", trace.traceparent);
  return result;
}

/// The owner's end of a stream.
class edge_stream : public http_stream {
public:
  edge_stream(std::shared_ptr<http_core> core, http_connection_ptr to,
              stream_status_ptr status)
    : core_(std::move(core)),
      to_(std::move(to)),
      status_(std::move(status)) {
    // nop
  }

  ~edge_stream() override {
    if (!status_->closed.exchange(true))
      post({});
  }

  bool send(std::string bytes) override {
    if (bytes.empty() || status_->closed)
      return true;
    if (status_->busy.exchange(true))
      return false;
    post(std::move(bytes));
    return true;
  }

  bool closed() const override {
    return status_->closed;
  }

private:
  void post(std::string bytes) {
    auto to = to_.lock();
    if (to == nullptr)
      return;
    net::post(core_->io, [to = std::move(to), status = status_,
                          bytes = std::move(bytes)]() mutable {
      to->feed(status, std::move(bytes));
    });
  }

  // In this order, as in `edge_exchange`.
  std::shared_ptr<http_core> core_;
  std::weak_ptr<http_connection> to_;
  stream_status_ptr status_;
};

/// The exchange of a connection. Answers 500 when it dies unanswered.
class edge_exchange : public http_exchange {
public:
  edge_exchange(std::shared_ptr<http_core> core, http_connection_ptr to,
                uint64_t turn, http_request x)
    : http_exchange(std::move(x)),
      core_(std::move(core)),
      to_(std::move(to)),
      turn_(turn) {
    // nop
  }

  ~edge_exchange() override {
    if (answered_)
      return;
    reply(render_traced({500,
                         "internal-error",
                         "The request was dropped by a part of the server that "
                         "failed.",
                         {},
                         {}},
                        take_trace(request)));
  }

  void reply(http_reply x) override {
    if (answered_.exchange(true))
      return;
    // Gone already: nobody is there to be told.
    auto to = to_.lock();
    if (to == nullptr)
      return;
    net::post(core_->io,
              [to = std::move(to), turn = turn_, x = std::move(x)]() mutable {
                to->deliver(turn, std::move(x));
              });
  }

  http_stream_ptr stream(http_reply head) override {
    auto to = to_.lock();
    if (answered_ || to == nullptr || !take_stream())
      return nullptr;
    answered_ = true;
    auto status = std::make_shared<stream_status>();
    auto result = std::make_shared<edge_stream>(core_, to, status);
    net::post(core_->io, [to = std::move(to), turn = turn_,
                          head = std::move(head), status]() mutable {
      to->deliver_stream(turn, std::move(head), std::move(status));
    });
    return result;
  }

private:
  /// @returns whether there was room for one more.
  bool take_stream() {
    if (core_->streams.fetch_add(1) < core_->options.streams_max)
      return true;
    core_->streams.fetch_sub(1);
    return false;
  }

  // In this order: the connection's socket needs the core's `io_context`.
  std::shared_ptr<http_core> core_;
  std::weak_ptr<http_connection> to_;
  uint64_t turn_;
  std::atomic<bool> answered_{false};
};

} // namespace

http_connection::http_connection(http_core& core, tcp::socket socket)
  : core_(core),
    stream_(std::move(socket)),
    buffer_(limits::header_bytes_max + limits::body_bytes_max + read_chunk),
    answered_(core.io),
    peer_(peer_of(stream_.socket())),
    from_loopback_(is_loopback(stream_.socket())) {
  // An answer is one write: waiting for more to send would only delay it.
  beast::error_code ec;
  stream_.socket().set_option(tcp::no_delay{true}, ec);
}

void http_connection::start(bool over_limit) {
  auto self = shared_from_this();
  net::co_spawn(core_.io, run(over_limit), [self](std::exception_ptr error) {
    try {
      if (error)
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
      log::error("http.connection_failed", {{"reason", e.what()}});
    }
    self->core_.forget(self);
  });
}

void http_connection::drain() {
  if (idle_)
    abort();
  else if (feed_)
    answered_.cancel(); // A stream would go on for ever.
}

void http_connection::abort() {
  aborted_ = true;
  answered_.cancel();
  stream_.close();
}

void http_connection::deliver(uint64_t turn, http_reply reply) {
  if (turn != turn_ || reply_)
    return;
  reply_ = std::move(reply);
  answered_.cancel();
}

void http_connection::deliver_stream(uint64_t turn, http_reply head,
                                     stream_status_ptr status) {
  if (turn != turn_ || reply_ || aborted_) {
    status->closed = true;
    core_.streams.fetch_sub(1);
    return;
  }
  feed_ = std::move(status);
  reply_ = std::move(head);
  answered_.cancel();
}

void http_connection::feed(const stream_status_ptr& status, std::string bytes) {
  if (status != feed_)
    return;
  chunk_ = std::move(bytes);
  answered_.cancel();
}

// -- the life of a connection -------------------------------------------------

net::awaitable<void> http_connection::run(bool over_limit) {
  if (over_limit) {
    idle_ = false;
    unread_ = true;
    refuse(503, "overloaded", "This node has too many connections.");
    refusal_->headers.emplace_back("Retry-After", "1");
    auto busy = render_refusal(http_request{});
    co_await write(std::move(busy), true);
  } else {
    auto more = true;
    while (more)
      more = co_await serve_one();
  }
  co_await finish();
}

net::awaitable<bool> http_connection::serve_one() {
  if (!co_await wait_idle())
    co_return false;
  stream_.expires_after(core_.options.request_deadline);
  http_request request;
  auto read = co_await read_request(request);
  if (read == outcome::gone)
    co_return false;
  auto with_body = request.method != "HEAD";
  http_reply reply;
  if (read == outcome::refused) {
    // Whatever follows cannot be told from a request any more.
    keep_ = false;
    unread_ = true;
    reply = render_refusal(request);
  } else {
    if (request.body_too_large) {
      keep_ = false;
      unread_ = true;
    }
    auto answer = co_await ask(std::move(request));
    if (!answer)
      co_return false;
    reply = std::move(*answer);
    if (feed_) {
      co_await write_stream(std::move(reply), with_body);
      co_return false;
    }
  }
  if (core_.draining)
    keep_ = false;
  auto written = co_await write(std::move(reply), with_body);
  co_return written&& keep_;
}

net::awaitable<bool> http_connection::wait_idle() {
  if (core_.draining)
    co_return false;
  if (buffer_.size() == 0) {
    if (buffer_.capacity() > idle_buffer_max)
      buffer_.shrink_to_fit();
    idle_ = true;
    stream_.expires_after(core_.options.keep_alive_max);
    auto arrived = co_await read_some();
    if (!arrived)
      co_return false;
  }
  idle_ = false;
  co_return true;
}

net::awaitable<bool> http_connection::read_some() {
  auto space = buffer_.prepare(read_chunk);
  auto [ec, n] = co_await stream_.async_read_some(space, as_value);
  if (ec)
    co_return false;
  buffer_.commit(n);
  co_return true;
}

// -- reading ------------------------------------------------------------------

net::awaitable<http_connection::outcome>
http_connection::read_request(http_request& out) {
  request_framing framing;
  auto state = co_await read_head(framing);
  if (state != outcome::ready)
    co_return state;
  parser in;
  state = parse_head(in, framing);
  if (state == outcome::ready)
    state = fill(out, in);
  if (state != outcome::ready)
    co_return state;
  if (framing.body_bytes > limits::body_bytes_max) {
    out.body_too_large = true;
    co_return outcome::ready;
  }
  state = co_await read_body(in, framing);
  out.body = std::move(in.get().body());
  co_return state;
}

net::awaitable<http_connection::outcome>
http_connection::read_head(request_framing& framing) {
  // An empty line in front of a request is no offence (RFC 9112, 2.2).
  for (int empty_lines = 1; true;) {
    if (empty_lines > 0 && view_of(buffer_).starts_with("\r\n")) {
      buffer_.consume(2);
      --empty_lines;
    }
    framing = scan_request(view_of(buffer_));
    if (framing.outcome != request_framing::verdict::incomplete)
      break;
    if (buffer_.size() > limits::header_bytes_max)
      co_return refuse(431, "header-too-large",
                       "The header section is longer than 8 KiB.");
    auto more = co_await read_some();
    if (!more)
      co_return outcome::gone;
  }
  if (framing.outcome == request_framing::verdict::malformed)
    co_return refuse(400, "malformed-request", framing.reason);
  if (framing.header_bytes > limits::header_bytes_max)
    co_return refuse(431, "header-too-large",
                     "The header section is longer than 8 KiB.");
  if (framing.outcome == request_framing::verdict::transfer_encoding)
    co_return refuse(411, "length-required",
                     "Transfer-Encoding is not accepted: send the body with a "
                     "Content-Length.");
  co_return outcome::ready;
}

http_connection::outcome
http_connection::parse_head(parser& in, const request_framing& framing) {
  in.header_limit(static_cast<uint32_t>(limits::header_bytes_max + 1));
  // The length is checked by us, so that the gateway can answer first.
  in.body_limit(boost::none);
  beast::error_code ec;
  auto head = view_of(buffer_).substr(0, framing.header_bytes);
  auto parsed = in.put(net::buffer(head.data(), head.size()), ec);
  if (ec || !in.is_header_done())
    return refuse(400, "malformed-request",
                  "The request is not HTTP/1.1: " + ec.message());
  if (parsed != framing.header_bytes || in.chunked()
      || in.content_length().value_or(0) != framing.body_bytes)
    return refuse(400, "malformed-request",
                  "The request's framing is ambiguous.");
  buffer_.consume(parsed);
  return outcome::ready;
}

http_connection::outcome
http_connection::fill(http_request& out, const parser& in) {
  const auto& head = in.get();
  keep_ = head.keep_alive();
  http10_ = head.version() < 11;
  out.method = std::string{head.method_string()};
  out.from_loopback = from_loopback_;
  out.peer = peer_;
  for (const auto& field : head)
    out.headers.emplace_back(lower_case(field.name_string()),
                             std::string{field.value()});
  if (!http10_ && head.count(http::field::host) == 0)
    return refuse(400, "malformed-request", "There is no Host.");
  auto target = parse_target(head.target());
  if (!target)
    return refuse(400, "malformed-request",
                  "The request target is not a well-formed path and query.");
  out.path = std::move(target->path);
  out.query = std::move(target->query);
  out.garbled_parameter = std::move(target->garbled_parameter);
  return outcome::ready;
}

net::awaitable<http_connection::outcome>
http_connection::read_body(parser& in, const request_framing& framing) {
  if (in.is_done())
    co_return outcome::ready;
  auto expect = in.get()[http::field::expect];
  if (!expect.empty() && !http10_) {
    if (!beast::iequals(expect, "100-continue"))
      co_return refuse(417, "expectation-failed",
                       "Only 100-continue can be expected.");
    if (buffer_.size() < framing.body_bytes) {
      auto [ec, n] = co_await net::async_write(
        stream_, net::buffer(continue_line), as_value);
      if (ec)
        co_return outcome::gone;
    }
  }
  auto [ec, n] = co_await http::async_read(stream_, buffer_, in, as_value);
  co_return ec ? outcome::gone : outcome::ready;
}

http_connection::outcome
http_connection::refuse(int status, const char* name, std::string_view detail) {
  metrics()
    .get_counter(refused_metric, refused_help, metric_label("reason", name))
    .add();
  refusal_ = problem{status, name, std::string{detail}, {}, {}};
  return outcome::refused;
}

http_reply http_connection::render_refusal(const http_request& request) const {
  return render_traced(*refusal_, take_trace(request));
}

// -- answering ----------------------------------------------------------------

net::awaitable<std::optional<http_reply>>
http_connection::ask(http_request request) {
  stream_.expires_never();
  reply_.reset();
  ++turn_;
  auto trace = take_trace(request);
  answered_.expires_after(core_.options.answer_max);
  hand_over(std::move(request));
  // Ends with the answer, with an abort, or with the time.
  co_await answered_.async_wait(as_value);
  if (aborted_) {
    end_stream();
    co_return std::nullopt;
  }
  if (!reply_) {
    // Nobody waits for ever, whatever happened to the exchange.
    ++turn_;
    reply_ = render_traced({503,
                            "outcome-unknown",
                            "The answer took too long; what was asked for may "
                            "have been done.",
                            {},
                            {{"Retry-After", "1"}}},
                           trace);
  }
  auto result = std::move(reply_);
  reply_.reset();
  co_return result;
}

void http_connection::hand_over(http_request request) {
  auto exchange = std::make_shared<edge_exchange>(
    core_.shared_from_this(), shared_from_this(), turn_, std::move(request));
  try {
    core_.options.on_request(std::move(exchange));
  } catch (const std::exception& failure) {
    // The exchange is dropped, and answers 500.
    log::error("http.handler_failed", {{"reason", failure.what()}});
  }
}

std::string http_connection::render_fields(const http_reply& reply) {
  auto status = static_cast<http::status>(reply.status);
  auto result = fmt::format("HTTP/1.1 {} {}\r\n", reply.status,
                            std::string_view{http::obsolete_reason(status)});
  append_header(result, "Date", core_.date());
  auto bodyless = reply.status == 204 || reply.status == 304;
  if (!bodyless && !reply.content_type.empty())
    append_header(result, "Content-Type", reply.content_type);
  for (const auto& [name, value] : reply.headers)
    append_header(result, name, value);
  return result;
}

std::string http_connection::render_head(const http_reply& reply) {
  auto result = render_fields(reply);
  if (reply.status != 204 && reply.status != 304)
    append_header(result, "Content-Length", std::to_string(reply.body.size()));
  if (!keep_)
    append_header(result, "Connection", "close");
  else if (http10_)
    append_header(result, "Connection", "keep-alive");
  result += "\r\n";
  return result;
}

net::awaitable<bool> http_connection::write(http_reply reply, bool with_body) {
  auto head = render_head(reply);
  if (!with_body || reply.status == 204 || reply.status == 304)
    reply.body.clear();
  stream_.expires_after(core_.options.write_max);
  std::array<net::const_buffer, 2> parts{net::buffer(head),
                                         net::buffer(reply.body)};
  auto [ec, n] = co_await net::async_write(stream_, parts, as_value);
  co_return !ec;
}

// -- streams ------------------------------------------------------------------

net::awaitable<bool> http_connection::write_text(const std::string& text) {
  stream_.expires_after(core_.options.write_max);
  auto [ec, n]
    = co_await net::async_write(stream_, net::buffer(text), as_value);
  co_return !ec;
}

bool http_connection::stream_goes_on() const {
  return !peer_gone_ && !aborted_ && !core_.draining && !feed_->closed;
}

net::awaitable<void>
http_connection::write_stream(http_reply head, bool with_body) {
  keep_ = false;
  auto text = render_fields(head);
  if (!http10_)
    append_header(text, "Transfer-Encoding", "chunked");
  append_header(text, "Connection", "close");
  text += "\r\n";
  auto frame = [this](const std::string& bytes) {
    return http10_ ? bytes : fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
  };
  if (with_body && !head.body.empty())
    text += frame(head.body);
  auto good = co_await write_text(text);
  stream_.expires_never();
  if (good && with_body)
    net::co_spawn(core_.io, watch_peer(),
                  [self = shared_from_this()](std::exception_ptr) {});
  answered_.expires_at(std::chrono::steady_clock::time_point::max());
  while (good && with_body && stream_goes_on()) {
    if (chunk_.empty()) {
      co_await answered_.async_wait(as_value);
      continue;
    }
    auto bytes = std::exchange(chunk_, {});
    good = co_await write_text(frame(bytes));
    feed_->busy = false;
  }
  if (good && with_body && !http10_ && !peer_gone_ && !aborted_)
    co_await write_text("0\r\n\r\n");
  end_stream();
}

void http_connection::end_stream() {
  if (!feed_)
    return;
  feed_->closed = true;
  feed_.reset();
  core_.streams.fetch_sub(1);
}

net::awaitable<void> http_connection::watch_peer() {
  co_await read_some();
  peer_gone_ = true;
  answered_.cancel();
}

net::awaitable<void> http_connection::finish() {
  beast::error_code ec;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ec);
  // Closing with unread bytes would reset the connection, and the reset could
  // overtake the answer (RFC 9112, 9.6).
  if (!ec && unread_ && !aborted_) {
    stream_.expires_after(core_.options.linger_max);
    for (size_t dropped = 0; dropped < limits::linger_bytes_max;) {
      dropped += buffer_.size();
      buffer_.consume(buffer_.size());
      auto more = co_await read_some();
      if (!more)
        break;
    }
  }
  stream_.close();
}

} // namespace tillstream

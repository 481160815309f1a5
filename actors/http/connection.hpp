#pragma once

#include "actors/http/event_stream_writer.hpp"
#include "actors/http/framing.hpp"
#include "actors/http/server_core.hpp"
#include "messages/codec/problem.hpp"
#include "messages/model/http.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

/// @file actors/http/connection.hpp
/// INTERNAL to actors/http: one connection of a client.

namespace tillstream {

class http_connection;

using http_connection_ptr = std::shared_ptr<http_connection>;

/// One connection: a coroutine that reads a request, hands it over, waits for
/// the answer, writes it, and begins again:
///
/// ```
///   idle ──> reading ──────────> waiting ──────────> writing ──> idle
///    │        │   │                 │ answer,           ^ │
///    │        │   └──── refused ────│─ timeout ─────────┘ │
///    │        │                     │                     │
///    │        │                     └─> streaming         │
///    │ time   │ peer gone       live reply │              │ last answer
///    v        v                            v              v
///   closing ──────────────────────────────────────────────> closed
///   any of them ────────────────── abort ─────────────────> closed
/// ```
///
/// A live reply is the last answer of its connection: an `event_stream_writer`
/// writes it, and a second coroutine sees the peer go. All members run on the
/// I/O thread.
class http_connection : public std::enable_shared_from_this<http_connection> {
public:
  http_connection(server_core& core, boost::asio::ip::tcp::socket socket);

  /// @param over_limit Only answer that there are too many.
  /// @param on_end Called once, when the connection is closed.
  void start(bool over_limit,
             std::function<void(const http_connection_ptr&)> on_end);

  /// Closes now when idle, else after the answer.
  void drain();

  /// Closes now.
  void abort();

  /// Brings the answer to the request number `turn`; too late ones are
  /// dropped.
  void deliver(uint64_t turn, http_reply reply);

  /// Brings the head of a live reply, as the answer to the request `turn`.
  void
  deliver_stream(uint64_t turn, http_reply head, event_stream_writer_ptr body);

private:
  template <class T>
  using awaitable = boost::asio::awaitable<T>;
  using parser
    = boost::beast::http::request_parser<boost::beast::http::string_body>;

  enum class state : uint8_t {
    /// Between two requests.
    idle,
    reading,
    /// The request is handed over.
    waiting,
    writing,
    /// Writes a live reply.
    streaming,
    /// Nothing more is answered.
    closing,
    closed,
  };

  enum class outcome : uint8_t {
    /// The request is whole.
    ready,
    /// `refusal_` says what to answer before closing.
    refused,
    /// The peer is gone, or was too slow.
    gone,
  };

  /// What follows an answer.
  enum class next_step : uint8_t {
    next_request,
    close,
    /// The peer may still be sending bytes that will not be read.
    discard_and_close,
  };

  /// `closed` is final.
  void enter(state next);

  awaitable<void> run(bool over_limit);

  /// @returns whether another request may follow.
  awaitable<bool> serve_one();

  /// Waits for a request's first byte.
  awaitable<bool> wait_idle();

  awaitable<outcome> read_request(http_request& out);

  /// Reads until the header section is whole.
  awaitable<outcome> read_head(request_framing& framing);

  awaitable<outcome> read_body(parser& in, const request_framing& framing);

  /// @returns false at the end of the stream, a reset or the deadline.
  awaitable<bool> read_some();

  /// Hands the request over and waits, bounded, for its answer.
  awaitable<std::optional<http_reply>> request_answer(http_request request);

  void hand_over(http_request request);

  awaitable<bool> write(http_reply reply, bool with_body);

  /// Writes the head, then the body until either side ends it.
  awaitable<void> write_stream(http_reply head, bool with_body);

  /// Waits until the peer ends the connection, or sends something, which no
  /// client does during a live reply.
  awaitable<void> watch_peer();

  /// Ends the connection so that the peer receives the last answer.
  awaitable<void> finish();

  /// Parses the header section and compares the two readings of it.
  outcome parse_head(parser& in, const request_framing& framing);

  outcome fill(http_request& out, const parser& in);

  outcome refuse(int status, const char* name, std::string_view detail);

  /// @pre `refusal_` is set
  http_reply render_refusal(const http_request& request) const;

  std::string render_head(const http_reply& reply);

  /// Begins a header section.
  std::string render_fields(const http_reply& reply);

  server_core& core_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  /// Cancelled when the answer is there.
  boost::asio::steady_timer answered_;
  state state_ = state::idle;
  next_step next_ = next_step::next_request;
  bool http10_ = false;
  /// Number of the request that waits for its answer.
  uint64_t turn_ = 0;
  std::optional<http_reply> reply_;
  std::optional<problem> refusal_;
  /// Set when the answer is a live reply.
  event_stream_writer_ptr body_;
  std::string peer_;
  bool from_loopback_ = false;
};

} // namespace tillstream

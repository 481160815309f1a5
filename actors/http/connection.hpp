#pragma once

#include "actors/http/framing.hpp"
#include "actors/http/server.hpp"
#include "messages/codec/problem.hpp"
#include "messages/model/http.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

/// @file actors/http/connection.hpp
/// INTERNAL to actors/http: what the server and its connections share.

namespace tillstream {

class http_connection;

/// What the owner of a stream and its connection share.
struct stream_status {
  /// Bytes were handed over and are not written yet.
  std::atomic<bool> busy{false};
  /// The owner let go, or the connection ended.
  std::atomic<bool> closed{false};
};

using stream_status_ptr = std::shared_ptr<stream_status>;
using http_connection_ptr = std::shared_ptr<http_connection>;

/// What lives on the I/O thread. Exchanges keep it alive, so that a late reply
/// finds an `io_context` to be posted to, if only to be forgotten there.
struct http_core : std::enable_shared_from_this<http_core> {
  explicit http_core(http_server_options x);

  /// Accepts until the acceptor is closed.
  boost::asio::awaitable<void> accept();

  /// Takes a new socket in: serves, refuses or closes it.
  void admit(boost::asio::ip::tcp::socket socket);

  /// A connection ended.
  void forget(const http_connection_ptr& gone);

  /// Stops accepting; see `http_server::stop`.
  void drain(std::chrono::milliseconds grace);

  /// `Date` of now; rendered once a second.
  const std::string& date();

  http_server_options options;
  boost::asio::io_context io;
  boost::asio::ip::tcp::acceptor acceptor;
  boost::asio::steady_timer pause;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
  std::unordered_set<http_connection_ptr> connections;
  /// Replies without an end. Counted up by whoever wants one, from any thread.
  std::atomic<size_t> streams{0};
  bool draining = false;

private:
  std::string date_;
  std::chrono::system_clock::time_point date_second_;
};

/// One connection: a coroutine that reads a request, hands it over, waits for
/// the answer, writes it, and begins again. A stream is the last answer of its
/// connection: it is written as its bytes come, and a second coroutine sees the
/// peer go. All members run on the I/O thread.
class http_connection : public std::enable_shared_from_this<http_connection> {
public:
  http_connection(http_core& core, boost::asio::ip::tcp::socket socket);

  /// @param over_limit Only tell the peer that there are too many.
  void start(bool over_limit);

  /// Closes now when idle, else after the answer.
  void drain();

  /// Closes now.
  void abort();

  /// Brings the answer to the request number `turn`; too late ones are
  /// dropped.
  void deliver(uint64_t turn, http_reply reply);

  /// Brings the head of a stream, as the answer to the request `turn`.
  void deliver_stream(uint64_t turn, http_reply head, stream_status_ptr status);

  /// Brings bytes of the stream; empty when its owner let go.
  void feed(const stream_status_ptr& status, std::string bytes);

private:
  template <class T>
  using awaitable = boost::asio::awaitable<T>;
  using parser
    = boost::beast::http::request_parser<boost::beast::http::string_body>;

  enum class outcome : uint8_t {
    /// The request is whole.
    ready,
    /// `refusal_` says what to answer before closing.
    refused,
    /// The peer is gone, or was too slow.
    gone,
  };

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
  awaitable<std::optional<http_reply>> ask(http_request request);

  void hand_over(http_request request);

  awaitable<bool> write(http_reply reply, bool with_body);

  /// Writes the head, then what comes, until either side has enough.
  awaitable<void> write_stream(http_reply head, bool with_body);

  awaitable<bool> write_text(const std::string& text);

  /// Waits until the peer ends the connection, or says something, which nobody
  /// does who listens.
  awaitable<void> watch_peer();

  bool stream_goes_on() const;

  /// Tells the stream's owner, and makes room for another one.
  void end_stream();

  /// Ends the stream so that the peer gets to see the last answer.
  awaitable<void> finish();

  /// Parses the header section and checks what the two readings of it agree on.
  outcome parse_head(parser& in, const request_framing& framing);

  outcome fill(http_request& out, const parser& in);

  outcome refuse(int status, const char* name, std::string_view detail);

  /// @pre `refusal_` is set
  http_reply render_refusal(const http_request& request) const;

  std::string render_head(const http_reply& reply);

  /// Begins a header section.
  std::string render_fields(const http_reply& reply);

  http_core& core_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  boost::asio::steady_timer answered_;
  std::optional<http_reply> reply_;
  std::optional<problem> refusal_;
  /// Set when the answer is a stream.
  stream_status_ptr feed_;
  /// Bytes of the stream that are to be written.
  std::string chunk_;
  bool peer_gone_ = false;
  uint64_t turn_ = 0;
  std::string peer_;
  bool from_loopback_ = false;
  bool idle_ = true;
  bool keep_ = true;
  bool http10_ = false;
  /// The peer may still be sending what nobody will read.
  bool unread_ = false;
  bool aborted_ = false;
};

} // namespace tillstream

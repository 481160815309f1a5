#pragma once

#include "actors/http/server_core.hpp"
#include "messages/model/http.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

/// @file actors/http/event_stream_writer.hpp
/// INTERNAL to actors/http: the body of a live reply.

namespace tillstream {

/// Writes the body of a live reply as its owner sends it. The queue holds the
/// bytes that are to be written, and the end of the body after them:
///
/// ```
///             close                  queue is empty
///   open ───────────────> closing ───────────────────> ended
///     │                      │                           ^
///     └──────────────────────┴───────────────────────────┘
///        cancel, or the peer does not take the bytes in time
/// ```
///
/// - Thread: `send`, `closed` and the destructor of `make_stream`'s result on
///   any; all else on the I/O thread.
/// - Limits: one piece in the queue; `send` refuses another one. One place in
///   `server_core::live_replies`, given back at the end.
class event_stream_writer
  : public std::enable_shared_from_this<event_stream_writer> {
public:
  /// @returns null when the server has enough live replies.
  static std::shared_ptr<event_stream_writer> make(server_core& core);

  ~event_stream_writer();

  event_stream_writer(const event_stream_writer&) = delete;
  event_stream_writer& operator=(const event_stream_writer&) = delete;

  /// The owner's end. Letting go of it closes.
  http_stream_ptr make_stream(server_core_ptr core);

  /// @returns false when the last bytes are not written yet: these are dropped.
  bool send(std::string bytes);

  /// Whether nothing is written any more.
  bool closed() const {
    return closed_;
  }

  // -- I/O thread -------------------------------------------------------------

  /// Writes what is queued, until the end.
  /// @param chunked Frames the bytes; else they go as they are.
  boost::asio::awaitable<void> run(boost::beast::tcp_stream& to, bool chunked);

  /// Frames a piece of the body (RFC 9112, 7.1).
  static std::string make_chunk(std::string_view bytes);

  /// Ends the body after what is queued.
  void close();

  /// Ends without writing anything more, e.g. since the peer is gone.
  void cancel();

private:
  enum class state : uint8_t { open, closing, ended };

  explicit event_stream_writer(server_core& core);

  void push(std::string bytes);

  void end();

  server_core& core_;
  boost::asio::steady_timer changed_;
  state state_ = state::open;
  std::string queued_;
  /// Bytes were handed over and are not written yet.
  std::atomic<bool> busy_{false};
  std::atomic<bool> closed_{false};
};

using event_stream_writer_ptr = std::shared_ptr<event_stream_writer>;

} // namespace tillstream

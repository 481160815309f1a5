#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// @file messages/model/http.hpp
/// A request and its answer, free of the library that carries them.

namespace tillstream {

using header_list = std::vector<std::pair<std::string, std::string>>;

/// A request that passed the framing checks of the edge.
struct http_request {
  std::string method;
  /// Percent-decoded, without the query. Begins with `/`.
  std::string path;
  /// Percent-decoded, in order; a name may come more than once.
  header_list query;
  /// Name of a parameter that cannot be decoded, and is not in `query`; still
  /// encoded if it is the name that cannot.
  std::optional<std::string> garbled_parameter;
  /// Names in lower case, in order.
  header_list headers;
  std::string body;
  /// The edge stopped reading: the body would exceed
  /// `limits::body_bytes_max`. `body` is empty, and the connection closes
  /// after the answer.
  bool body_too_large = false;
  /// The peer is on the loopback interface.
  bool from_loopback = false;
  /// The peer's address, without its port.
  std::string peer;

  /// @returns the header's only value; nothing when it is absent or comes more
  ///          than once.
  std::optional<std::string_view> header(std::string_view name) const;
};

struct http_reply {
  int status = 200;
  std::string content_type = "application/json";
  header_list headers;
  std::string body;
};

using http_reply_ptr = std::shared_ptr<const http_reply>;

/// The body of a reply that has no end yet, e.g. of server-sent events. Its
/// owner may be on any thread; letting go of it ends the body.
class http_stream {
public:
  virtual ~http_stream() = default;

  /// Appends to the body.
  /// @returns false when the peer has not taken the last bytes yet: these are
  ///          dropped, and its owner has to send again what still matters.
  virtual bool send(std::string bytes) = 0;

  /// Whether nobody listens any more.
  virtual bool closed() const = 0;
};

using http_stream_ptr = std::shared_ptr<http_stream>;

/// One request that waits for its answer.
///
/// The edge hands it to the GATEWAY as a message. `reply` may be called from
/// any thread, once; an exchange that dies unanswered answers `500` itself, so
/// that no connection waits for ever.
class http_exchange {
public:
  explicit http_exchange(http_request x) : request(std::move(x)) {
    // nop
  }

  virtual ~http_exchange() = default;

  virtual void reply(http_reply x) = 0;

  /// Answers with a head whose body follows bit by bit.
  /// @param head Its own body is sent first.
  /// @returns null when the edge has no room for another stream: the exchange
  ///          still waits for its `reply`.
  virtual http_stream_ptr stream(http_reply head) = 0;

  http_request request;
};

using http_exchange_ptr = std::shared_ptr<http_exchange>;
using http_request_ptr = std::shared_ptr<const http_request>;

/// The W3C trace context of a request.
struct trace_context {
  /// The header's value: as received when valid, else made here.
  std::string traceparent;
  /// Its 32 hexadecimal digits.
  std::string trace_id;
};

/// Reads `traceparent` (W3C Trace Context, level 1); makes one when it is
/// missing or not valid.
trace_context take_trace(const http_request& request);

} // namespace tillstream

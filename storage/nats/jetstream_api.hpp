#pragma once

#include "messages/codec/json.hpp"
#include "storage/nats/broker_link.hpp"

#include <caf/expected.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// @file storage/nats/jetstream_api.hpp
/// JetStream's own protocol: JSON requests to `$JS.API.…`, and the subjects
/// and headers of what it delivers.

namespace tillstream::storage::jetstream {

/// Error codes of the server (`err_code`) that we tell apart.
enum class api_code : int64_t {
  none = 0,
  consumer_not_found = 10014,
  no_message_found = 10037,
  account_resources_exceeded = 10002,
  memory_resources_exceeded = 10028,
  storage_resources_exceeded = 10047,
  stream_name_in_use = 10058,
  stream_not_found = 10059,
};

/// An answer: a JSON object, or the server's reason.
struct api_answer {
  json_document document;
  api_code code = api_code::none;
  /// Empty: the request succeeded.
  std::string error;

  const json_value& root() const {
    return document.root();
  }
};

/// Asks `$JS.API.<what>`. Errors: the connection's, `errc::internal` for an
/// answer that is no JSON object, and `errc::unavailable` when JetStream is
/// not there at all.
caf::expected<api_answer>
ask(broker_link& link, const std::string& what, std::string_view payload = {},
    std::chrono::milliseconds timeout = request_timeout);

/// Reads an answer that came by itself.
caf::expected<api_answer>
read_answer(const std::string& what, std::string_view text);

/// Reads the answer to `STREAM.MSG.GET` for the last message of a subject.
/// @returns its number; 0: there is none.
caf::expected<uint64_t> read_last_seq(const api_answer& answer);

/// `errc::not_found` for a stream or consumer that does not exist, else
/// `errc::unavailable`.
caf::error to_error(const api_answer& answer, std::string_view what);

/// Reads a member as a number; 0 if there is none.
int64_t number(const json_value& object, std::string_view key);

/// Reads the state of a stream from its description.
caf::expected<stream_state> read_stream_state(const json_value& info);

/// Asks for the state of the stream `name`.
caf::expected<stream_state>
ask_stream_state(broker_link& link, const std::string& name);

/// Whether `text` may be a stream's name: `[A-Za-z0-9_-]{1,64}`, so that it is
/// one token of a subject.
bool is_plain_name(std::string_view text);

/// What the reply subject of a delivered message says.
struct ack_subject {
  std::string_view stream;
  std::string_view consumer;
  uint64_t delivery = 0;
  uint64_t stream_seq = 0;
  uint64_t consumer_seq = 0;
  uint64_t pending = 0;
};

/// Reads `$JS.ACK.<stream>.<consumer>.<delivery>.<stream seq>.<consumer
/// seq>.<time>.<pending>`, or the longer form that begins with domain and
/// account. The views point into `subject`.
std::optional<ack_subject> parse_ack_subject(std::string_view subject);

/// A message of the server to whoever pulls, e.g. 408 `Request Timeout`.
struct pull_status {
  int code = 0;
  std::string description;
};

pull_status read_status(natsMsg* msg);

/// Reads the answer to a published event. @param token Passed on.
publish_ack read_publish_ack(uint64_t token, natsMsg* msg);

} // namespace tillstream::storage::jetstream

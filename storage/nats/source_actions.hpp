#pragma once

#include "messages/model/stream.hpp"
#include "storage/nats/jetstream_api.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// @file storage/nats/source_actions.hpp
/// What comes to the state machines of the event source, and what they want
/// done. They send nothing and call nobody.

namespace tillstream::storage::jetstream {

/// A delivered event. The views point into the client library's message.
struct incoming_message {
  ack_subject ack;
  std::string_view reply;
  std::string_view subject;
  std::string_view payload;
};

/// An answer of the API, or the end of a request for messages.
struct incoming_answer {
  /// Of the request; never 0.
  uint64_t token = 0;
  bool no_responders = false;
  pull_status status;
  std::string_view payload;
};

/// Reads the answer of the API. `errc::unavailable`: JetStream is not there.
caf::expected<api_answer> read_answer(const incoming_answer& answer);

/// @returns empty, or why the API did not do what it was asked to.
std::string problem_of(const incoming_answer& answer);

/// A request to `$JS.API.<what>`.
struct api_request {
  std::string what;
  /// Comes back with the answer; 0: nobody waits for one.
  uint64_t token = 0;
  std::string payload;
};

struct source_actions {
  std::vector<api_request> requests;
  std::vector<delivery> deliveries;

  bool empty() const {
    return requests.empty() && deliveries.empty();
  }
};

} // namespace tillstream::storage::jetstream

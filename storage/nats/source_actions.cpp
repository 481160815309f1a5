#include "storage/nats/source_actions.hpp"

#include "messages/core/error.hpp"

namespace tillstream::storage::jetstream {

caf::expected<api_answer> read_answer(const incoming_answer& answer) {
  if (answer.no_responders)
    return caf::make_error(errc::unavailable, "JetStream does not answer");
  return read_answer("a request", answer.payload);
}

std::string problem_of(const incoming_answer& answer) {
  auto result = read_answer(answer);
  return result ? result->error : describe(result.error());
}

} // namespace tillstream::storage::jetstream

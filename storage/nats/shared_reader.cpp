#include "storage/nats/shared_reader.hpp"

#include "messages/core/error.hpp"
#include "storage/nats/consumer_config.hpp"

#include <utility>

namespace tillstream::storage::jetstream {

namespace {

using namespace std::chrono_literals;

/// Messages that are asked for together.
constexpr size_t reader_batch = 2000;
/// Between two rewinds.
constexpr auto rewind_interval = 2s;

} // namespace

shared_reader::shared_reader(stream_settings stream)
  : stream_(std::move(stream)) {
  // nop
}

void shared_reader::begin(uint64_t first_seq, uint64_t nonce, uint64_t token,
                          time_point now, source_actions& out) {
  consumer_.remove(stream_.name, out);
  created_ = false;
  next_ = first_seq;
  consumer_seq_ = 0;
  auto name = reader_consumer_name(nonce);
  auto config = reader_consumer_config(stream_, name, first_seq);
  consumer_.create(std::move(name), stream_.name, std::move(config), token, now,
                   out);
}

void shared_reader::end(source_actions& out) {
  consumer_.remove(stream_.name, out);
  forget();
}

void shared_reader::forget() {
  *this = shared_reader{std::move(stream_)};
}

void shared_reader::pull(uint64_t token, time_point now, source_actions& out) {
  consumer_.pull(stream_.name, reader_batch, pull_expires_min, token, now, out);
}

bool shared_reader::take(const ack_subject& ack) {
  if (ack.consumer_seq != consumer_seq_ + 1)
    return false;
  consumer_seq_ = ack.consumer_seq;
  next_ = ack.stream_seq + 1;
  consumer_.received();
  return true;
}

shared_reader::outcome
shared_reader::take_answer(const incoming_answer& answer, time_point now,
                           std::string& problem) {
  if (!created_) {
    problem = problem_of(answer);
    if (!problem.empty())
      return outcome::failed;
    consumer_.answered();
    created_ = true;
    return outcome::pull;
  }
  switch (consumer_.take_status(answer.status, now)) {
    case pull_end::none:
      return outcome::none;
    case pull_end::lost:
      return outcome::recreate;
    default:
      return outcome::pull;
  }
}

void shared_reader::rewind(uint64_t first_seq, uint64_t nonce, uint64_t token,
                           time_point now, source_actions& out) {
  begin(first_seq, nonce, token, now, out);
  next_rewind_ = now + rewind_interval;
}

} // namespace tillstream::storage::jetstream

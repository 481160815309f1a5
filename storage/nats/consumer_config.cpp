#include "storage/nats/consumer_config.hpp"

#include "messages/codec/json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace tillstream::storage::jetstream {

namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr std::string_view branch_prefix = "shard-";
constexpr std::string_view reader_prefix = "reader-";
/// Digits behind a branch's name that tell its consumers apart.
constexpr size_t nonce_digits = 12;

/// An unacknowledged message comes again after this. A shard that cannot
/// commit for so long opens its branch again anyway.
constexpr auto ack_wait = 30s;

/// The server removes a consumer that nobody asked for so long, e.g. of a node
/// that was killed. Above the longest request.
constexpr auto inactive_threshold = 2min;

std::string render_nonce(uint64_t nonce) {
  return fmt::format(
    "{:0{}x}", nonce & ((uint64_t{1} << (4 * nonce_digits)) - 1), nonce_digits);
}

/// Kept in memory, and dropped when nobody uses it.
/// @param acknowledged Whether the server keeps count of what was taken.
std::string
consumer_config(const stream_settings& stream, const std::string& filter,
                const std::string& consumer, uint64_t first_seq,
                bool acknowledged) {
  std::string result;
  json_writer out{result};
  out.begin_object().field("stream_name", stream.name);
  out.key("config").begin_object();
  out.field("durable_name", consumer);
  out.field("filter_subject", filter);
  out.field("deliver_policy", "by_start_sequence");
  out.field("opt_start_seq",
            static_cast<int64_t>(std::max<uint64_t>(first_seq, 1)));
  out.field("ack_policy", acknowledged ? "all" : "none");
  if (acknowledged) {
    out.field("ack_wait", nanoseconds{ack_wait}.count());
    out.field("max_ack_pending", static_cast<int64_t>(ack_pending_max));
  }
  out.field("max_deliver", -1);
  out.field("replay_policy", "instant");
  out.field("num_replicas", 1);
  out.field("mem_storage", true);
  out.field("inactive_threshold", nanoseconds{inactive_threshold}.count());
  out.end_object().end_object();
  return result;
}

} // namespace

std::string branch_consumer_name(std::string_view branch_id, uint64_t nonce) {
  return fmt::format("{}{}-{}", branch_prefix, branch_id, render_nonce(nonce));
}

std::string_view branch_of_consumer(std::string_view consumer) {
  constexpr auto tail = nonce_digits + 1;
  if (!consumer.starts_with(branch_prefix)
      || consumer.size() <= branch_prefix.size() + tail)
    return {};
  consumer.remove_prefix(branch_prefix.size());
  consumer.remove_suffix(tail);
  return consumer;
}

std::string reader_consumer_name(uint64_t nonce) {
  return fmt::format("{}{}", reader_prefix, render_nonce(nonce));
}

std::string
branch_subject(const std::string& subjects, std::string_view branch_id) {
  auto result = subjects;
  if (auto star = result.find('*'); star != std::string::npos)
    result.replace(star, 1, branch_id);
  return result;
}

std::string
branch_consumer_config(const stream_settings& stream,
                       std::string_view branch_id, const std::string& consumer,
                       uint64_t first_seq) {
  return consumer_config(stream, branch_subject(stream.subjects, branch_id),
                         consumer, first_seq, true);
}

std::string
reader_consumer_config(const stream_settings& stream,
                       const std::string& consumer, uint64_t first_seq) {
  return consumer_config(stream, stream.subjects, consumer, first_seq, false);
}

std::string last_message_request(const std::string& subject) {
  std::string result;
  json_writer{result}
    .begin_object()
    .field("last_by_subj", subject)
    .end_object();
  return result;
}

std::string pull_request(size_t batch, nanoseconds expires) {
  std::string result;
  json_writer{result}
    .begin_object()
    .field("batch", static_cast<int64_t>(batch))
    .field("expires", expires.count())
    .end_object();
  return result;
}

std::string
consumer_operation(std::string_view operation, const std::string& stream,
                   const std::string& consumer) {
  return fmt::format("CONSUMER.{}.{}.{}", operation, stream, consumer);
}

} // namespace tillstream::storage::jetstream

#include "messages/core/error.hpp"
#include "storage/nats/jetstream_api.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace jetstream;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

/// Messages of one request.
constexpr uint64_t batch_max = 1000;
constexpr auto inactive_threshold = 60s;
constexpr auto message_timeout = 10s;

using visitor
  = std::function<void(std::string_view, uint64_t, std::string_view)>;

std::string consumer_config(const std::string& stream) {
  std::string result;
  json_writer out{result};
  out.begin_object().field("stream_name", stream);
  out.key("config").begin_object();
  out.field("deliver_policy", "all");
  out.field("ack_policy", "none");
  out.field("replay_policy", "instant");
  out.field("num_replicas", 1);
  out.field("mem_storage", true);
  out.field("inactive_threshold", nanoseconds{inactive_threshold}.count());
  out.end_object().end_object();
  return result;
}

caf::expected<std::string>
create_consumer(broker_link& link, const std::string& stream) {
  auto answer = ask(link, "CONSUMER.CREATE." + stream, consumer_config(stream));
  if (!answer)
    return answer.error();
  if (!answer->error.empty())
    return to_error(*answer, "consumer of stream " + stream);
  const auto* name = answer->root().find("name");
  if (name == nullptr || !is_plain_name(name->text))
    return caf::make_error(errc::internal, "JetStream named no consumer");
  return std::string{name->text};
}

caf::error broken_off(std::string_view why) {
  return caf::make_error(errc::unavailable,
                         fmt::format("reading the stream broke off: {}", why));
}

/// Reads through one ephemeral consumer, in order and without a gap.
class scanner {
public:
  scanner(broker_link& link, std::string stream, std::string consumer,
          uint64_t last_seq, const visitor& visit)
    : link_(link),
      stream_(std::move(stream)),
      consumer_(std::move(consumer)),
      last_seq_(last_seq),
      visit_(visit) {
    // nop
  }

  caf::expected<void> run() {
    while (!done_)
      if (auto batch = read_batch(); !batch)
        return batch;
    return {};
  }

private:
  caf::expected<void> read_batch() {
    auto request = fmt::format(R"({{"batch":{},"no_wait":true}})", batch_max);
    auto sent = link_.send(
      fmt::format("$JS.API.CONSUMER.MSG.NEXT.{}.{}", stream_, consumer_),
      link_.reply_subject(++request_), request);
    if (!sent)
      return sent;
    for (uint64_t count = 0; count < batch_max && !done_; ++count) {
      auto received = link_.receive(1, message_timeout);
      if (received.empty())
        return broken_off("no answer in time");
      auto& msg = received.front();
      const char* reply = natsMsg_GetReply(msg.get());
      auto ack = parse_ack_subject(reply != nullptr ? reply : "");
      if (!ack)
        return take_status(msg.get());
      if (auto taken = take_message(msg.get(), *ack); !taken)
        return taken;
    }
    return {};
  }

  caf::expected<void> take_message(natsMsg* msg, const ack_subject& ack) {
    if (ack.consumer_seq != ++consumer_seq_)
      return broken_off("a message was lost on its way");
    if (ack.stream_seq <= last_seq_)
      visit_(natsMsg_GetSubject(msg), ack.stream_seq,
             {natsMsg_GetData(msg),
              static_cast<size_t>(natsMsg_GetDataLength(msg))});
    done_ = ack.stream_seq >= last_seq_ || ack.pending == 0;
    return {};
  }

  caf::expected<void> take_status(natsMsg* msg) {
    auto status = read_status(msg);
    // Nothing more: what was last at our start has expired since.
    if (status.code == 404)
      done_ = true;
    else if (status.code != 408)
      return broken_off(fmt::format("{} {}", status.code, status.description));
    return {};
  }

  broker_link& link_;
  std::string stream_;
  std::string consumer_;
  uint64_t last_seq_;
  const visitor& visit_;
  uint64_t request_ = 0;
  uint64_t consumer_seq_ = 0;
  bool done_ = false;
};

} // namespace

caf::expected<void>
scan_stream(const nats_settings& settings, const visitor& visit) {
  const auto& stream = settings.stream.name;
  if (!is_plain_name(stream))
    return caf::make_error(errc::invalid, "not a stream name");
  auto link = broker_link::open(settings);
  if (!link)
    return link.error();
  auto state = ask_stream_state(**link, stream);
  if (!state)
    return state.error();
  if (state->messages == 0)
    return {};
  auto consumer = create_consumer(**link, stream);
  if (!consumer)
    return consumer.error();
  auto result
    = scanner{**link, stream, *consumer, state->last_seq, visit}.run();
  // The server removes it after a while anyway.
  static_cast<void>(
    ask(**link, fmt::format("CONSUMER.DELETE.{}.{}", stream, *consumer)));
  return result;
}

} // namespace tillstream::storage

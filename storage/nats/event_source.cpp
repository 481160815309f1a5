#include "messages/core/error.hpp"
#include "storage/nats/branch_slots.hpp"
#include "storage/nats/consumer_config.hpp"
#include "storage/nats/jetstream_api.hpp"
#include "storage/nats/receiver_thread.hpp"
#include "storage/nats/serial_queue.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace jetstream;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// For the answer to each attempt to create a branch's consumer. A cluster puts
/// it on any of the stream's servers, also on one that has just died and does
/// not answer; the next attempt may be put on another. Together they take as
/// long as any other request.
constexpr std::array<milliseconds, 2> create_timeout{1s, 4s};

uint64_t random_nonce() {
  std::random_device random;
  return uint64_t{random()} << 32 | random();
}

std::string_view data_of(natsMsg* msg) {
  auto size = natsMsg_GetDataLength(msg);
  return size > 0
           ? std::string_view{natsMsg_GetData(msg), static_cast<size_t>(size)}
           : std::string_view{};
}

/// Joins `branch_slots` to a connection and its thread. Decisions are made
/// under the lock; what comes of them is sent and delivered outside of it, in
/// the same order.
class event_source_impl : public event_source {
public:
  event_source_impl(const nats_settings& settings, broker_link_ptr link,
                    delivery_handler on_delivery)
    : stream_(settings.stream),
      on_delivery_(std::move(on_delivery)),
      slots_(settings, random_nonce()),
      actions_([this](source_actions xs) { carry_out(std::move(xs)); }),
      receiver_(settings, std::move(link),
                {[this](broker_link& from, std::vector<message_ptr> messages) {
                   take(from, messages);
                 },
                 [this](uint64_t reconnects) {
                   update([&] { slots_.lose_connection(reconnects); });
                 }}) {
    // nop
  }

  caf::expected<stream_state> state() override {
    uint64_t before = 0;
    update([&] { before = slots_.reader_position(); });
    auto result = ask_stream_state(*receiver_.link(), stream_.name);
    if (result)
      update([&] { slots_.check_stream(before, *result); });
    return result;
  }

  caf::expected<uint64_t> last_seq(const std::string& branch_id) override {
    if (!is_plain_name(branch_id))
      return caf::make_error(errc::invalid, "not a branch id");
    auto answer
      = ask(*receiver_.link(), "STREAM.MSG.GET." + stream_.name,
            last_message_request(branch_subject(stream_.subjects, branch_id)));
    if (!answer)
      return answer.error();
    return read_last_seq(*answer);
  }

  caf::expected<void> open(const std::string& branch_id, uint64_t first_seq,
                           uint64_t generation) override {
    if (!is_plain_name(branch_id))
      return caf::make_error(errc::invalid, "not a branch id");
    close(branch_id);
    auto link = receiver_.link();
    if (!link->connected())
      return caf::make_error(errc::unavailable, "not connected to NATS");
    branch_opening what{branch_id, first_seq, generation, link->reconnects()};
    bool shares = false;
    update([&] { shares = slots_.shares(); });
    return shares ? open_shared(*link, what) : open_direct(*link, what);
  }

  void close(const std::string& branch_id) override {
    update([&] { slots_.close(branch_id); });
  }

  caf::expected<void>
  fetch(const std::string& branch_id, size_t count) override {
    caf::expected<void> result;
    update(
      [&] { result = slots_.fetch(branch_id, count, steady_clock::now()); });
    return result;
  }

  void ack(const std::vector<std::string>& replies) override {
    // What came by the shared reader has no reply to acknowledge.
    auto last = std::find_if(replies.rbegin(), replies.rend(),
                             [](auto& x) { return x.starts_with("$JS.ACK."); });
    // Lost ones come again, and are dropped as duplicates.
    if (last != replies.rend())
      static_cast<void>(receiver_.link()->send(*last, {}, "+ACK"));
  }

  bool connected() const override {
    return receiver_.link()->connected();
  }

private:
  /// Changes the slots under the lock; acts on it without.
  template <class F>
  void update(F f) {
    {
      std::lock_guard guard{mutex_};
      f();
      if (auto actions = slots_.take_actions(); !actions.empty())
        actions_.add(std::move(actions));
    }
    actions_.run();
  }

  void carry_out(source_actions xs) {
    auto link = receiver_.link();
    for (const auto& x : xs.requests)
      static_cast<void>(link->send("$JS.API." + x.what,
                                   link->reply_subject(x.token), x.payload));
    if (!xs.deliveries.empty())
      on_delivery_(std::move(xs.deliveries));
  }

  caf::expected<void>
  open_direct(broker_link& link, const branch_opening& what) {
    auto consumer = create_consumer(link, what);
    if (!consumer)
      return consumer.error();
    update([&] { slots_.open_direct(what, std::move(*consumer)); });
    return {};
  }

  /// @returns the consumer's name.
  caf::expected<std::string>
  create_consumer(broker_link& link, const branch_opening& what) {
    caf::error problem;
    for (auto timeout : create_timeout) {
      uint64_t nonce = 0;
      update([&] { nonce = slots_.next_nonce(); });
      auto consumer = branch_consumer_name(what.branch_id, nonce);
      auto answer = ask(
        link, consumer_operation("DURABLE.CREATE", stream_.name, consumer),
        branch_consumer_config(stream_, what.branch_id, consumer,
                               what.first_seq),
        timeout);
      if (answer && answer->error.empty())
        return consumer;
      problem = answer ? to_error(*answer, "consumer of " + what.branch_id)
                       : answer.error();
      if (problem != errc::timeout)
        break;
      // Should it come to be after all.
      static_cast<void>(link.send(
        "$JS.API." + consumer_operation("DELETE", stream_.name, consumer),
        link.reply_subject(0), {}));
    }
    return problem;
  }

  caf::expected<void>
  open_shared(broker_link& link, const branch_opening& what) {
    uint64_t position = 0;
    update([&] { position = slots_.reader_position(); });
    std::optional<stream_state> end;
    if (position == 0) {
      auto state = ask_stream_state(link, stream_.name);
      if (!state)
        return state.error();
      end = std::move(*state);
    }
    caf::expected<void> result;
    update(
      [&] { result = slots_.open_shared(what, end, steady_clock::now()); });
    return result;
  }

  void take(broker_link& link, const std::vector<message_ptr>& messages) {
    update([&] {
      auto now = steady_clock::now();
      for (const auto& msg : messages)
        take_one(link, msg.get(), now);
      slots_.step(now, link.connected());
    });
  }

  void take_one(broker_link& link, natsMsg* msg, steady_clock::time_point now) {
    const char* reply = natsMsg_GetReply(msg);
    std::string_view reply_to = reply != nullptr ? reply : "";
    // Decided by the reply, as an event may have a header `Status` too.
    if (auto ack = parse_ack_subject(reply_to))
      slots_.take_message(
        {*ack, reply_to, natsMsg_GetSubject(msg), data_of(msg)}, now);
    else if (auto token = link.token_of(msg); token != 0)
      slots_.take_answer(
        {token, natsMsg_IsNoResponders(msg), read_status(msg), data_of(msg)},
        now);
  }

  const stream_settings stream_;
  delivery_handler on_delivery_;
  /// Guards the slots, and the order of the actions.
  std::mutex mutex_;
  branch_slots slots_;
  serial_queue<source_actions> actions_;
  /// Last, so that its thread ends before what it uses.
  receiver_thread receiver_;
};

} // namespace

caf::expected<event_source_ptr>
connect_source(const nats_settings& settings,
               event_source::delivery_handler on_delivery) {
  if (!is_plain_name(settings.stream.name))
    return caf::make_error(errc::invalid, "not a stream name");
  auto batching = settings;
  batching.batch_window = settings.receive_window;
  auto link = broker_link::open(batching);
  if (!link)
    return link.error();
  return event_source_ptr{std::make_unique<event_source_impl>(
    batching, std::move(*link), std::move(on_delivery))};
}

} // namespace tillstream::storage

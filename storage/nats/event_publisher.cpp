#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "storage/nats/jetstream_api.hpp"
#include "storage/nats/receiver_thread.hpp"

#include <map>
#include <mutex>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace jetstream;

/// Tokens that wait for an answer. Whoever publishes bounds what is in flight;
/// this bounds what was given up and might still be answered.
constexpr size_t waiting_max = 16 * limits::publish_in_flight_max;

class event_publisher_impl : public event_publisher {
public:
  event_publisher_impl(const nats_settings& settings, broker_link_ptr link,
                       ack_handler on_ack)
    : on_ack_(std::move(on_ack)),
      receiver_(
        settings, std::move(link),
        {[this](broker_link& from, std::vector<message_ptr> messages) {
           pass_on(from, messages);
         },
         [this](uint64_t reconnects) { give_up_waiting(reconnects); }}) {
    // nop
  }

  caf::expected<void>
  publish(uint64_t token, const std::string& subject,
          const std::string& message_id, std::string_view payload) override {
    auto link = receiver_.link();
    if (!link->connected())
      return caf::make_error(errc::unavailable, "not connected to NATS");
    // Before it is sent: the answer may be faster than we are.
    wait_for(token, link->reconnects());
    auto sent = link->send_event(subject, link->reply_subject(token),
                                 message_id, payload);
    if (!sent)
      was_waiting(token);
    return sent;
  }

  bool connected() const override {
    return receiver_.link()->connected();
  }

private:
  void wait_for(uint64_t token, uint64_t reconnects) {
    std::lock_guard guard{mutex_};
    waiting_[token] = reconnects;
    if (waiting_.size() > waiting_max)
      waiting_.erase(waiting_.begin());
  }

  bool was_waiting(uint64_t token) {
    std::lock_guard guard{mutex_};
    return waiting_.erase(token) > 0;
  }

  void pass_on(broker_link& link, const std::vector<message_ptr>& messages) {
    std::vector<publish_ack> acks;
    for (const auto& msg : messages) {
      auto token = link.token_of(msg.get());
      if (was_waiting(token))
        acks.push_back(read_publish_ack(token, msg.get()));
    }
    if (!acks.empty())
      on_ack_(std::move(acks));
  }

  /// The answers went down with the connection: say so now, rather than let
  /// each run into its time-out.
  void give_up_waiting(uint64_t reconnects) {
    std::vector<publish_ack> acks;
    {
      std::lock_guard guard{mutex_};
      for (auto i = waiting_.begin(); i != waiting_.end();) {
        if (i->second < reconnects) {
          publish_ack ack;
          ack.token = i->first;
          ack.error = "the connection was lost; the outcome is unknown";
          acks.push_back(std::move(ack));
          i = waiting_.erase(i);
        } else {
          ++i;
        }
      }
    }
    if (!acks.empty())
      on_ack_(std::move(acks));
  }

  ack_handler on_ack_;
  std::mutex mutex_;
  /// Published and not yet answered: token to the link's reconnects by then.
  std::map<uint64_t, uint64_t> waiting_;
  /// Last, so that its thread ends before what it uses.
  receiver_thread receiver_;
};

} // namespace

caf::expected<event_publisher_ptr>
connect_publisher(const nats_settings& settings,
                  event_publisher::ack_handler on_ack) {
  auto batching = settings;
  batching.batch_window = settings.receive_window;
  auto link = broker_link::open(batching);
  if (!link)
    return link.error();
  return event_publisher_ptr{std::make_unique<event_publisher_impl>(
    batching, std::move(*link), std::move(on_ack))};
}

} // namespace tillstream::storage

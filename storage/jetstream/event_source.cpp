#include "messages/error.hpp"
#include "messages/limits.hpp"
#include "storage/jetstream/jetstream_api.hpp"
#include "storage/jetstream/receiver_thread.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace jetstream;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

/// Also what `delivery.branch_id` is read back from.
constexpr std::string_view consumer_prefix = "shard-";
/// Digits behind a branch's name that tell its consumers apart.
constexpr size_t nonce_digits = 12;

/// An unacknowledged message comes again after this. A shard that cannot
/// commit for so long opens its branch again anyway.
constexpr auto ack_wait = 30s;

/// Messages of a branch delivered and not acknowledged; beyond it the server
/// waits. A shard fetches `branch_fetch_max` ahead, and acknowledgements may
/// be on their way.
constexpr size_t ack_pending_max = 4 * limits::branch_fetch_max;

/// The server removes a consumer that nobody asked for so long, e.g. of a node
/// that was killed. Above the longest request.
constexpr auto inactive_threshold = 2min;

/// How long the server keeps a request for messages: of a few branches, and of
/// many. Each is renewed when it expires, so that idle branches together ask
/// no more than about 50 times a second.
constexpr auto pull_expires_min = 15s;
constexpr auto pull_expires_max = 60s;
constexpr auto pull_share = 20ms;
/// A request that is neither filled nor ended so long after it expired has no
/// consumer any more: a 2.9 server does not say so, later ones do at once.
constexpr auto pull_grace = 5s;
/// Before a request that the server refused is made again.
constexpr auto refused_wait = 200ms;
/// Between looks for requests that are overdue.
constexpr auto overdue_interval = 1s;

/// Never the same twice: what an earlier consumer of the branch still sends,
/// here or on another node, is told apart by its name, and its end need not be
/// waited for. It may be on a server that is away.
std::string consumer_name(const std::string& branch_id, uint64_t nonce) {
  return fmt::format("{}{}-{:0{}x}", consumer_prefix, branch_id,
                     nonce & ((uint64_t{1} << (4 * nonce_digits)) - 1),
                     nonce_digits);
}

/// @returns the branch of a consumer's name; empty when it is none of ours.
std::string_view branch_of(std::string_view consumer) {
  constexpr auto tail = nonce_digits + 1;
  if (!consumer.starts_with(consumer_prefix)
      || consumer.size() <= consumer_prefix.size() + tail)
    return {};
  consumer.remove_prefix(consumer_prefix.size());
  consumer.remove_suffix(tail);
  return consumer;
}

std::string
filter_subject(const std::string& subjects, const std::string& branch_id) {
  auto result = subjects;
  if (auto star = result.find('*'); star != std::string::npos)
    result.replace(star, 1, branch_id);
  return result;
}

std::string
consumer_config(const stream_settings& stream, const std::string& branch_id,
                const std::string& consumer, uint64_t first_seq) {
  std::string result;
  json_writer out{result};
  out.begin_object().field("stream_name", stream.name);
  out.key("config").begin_object();
  out.field("durable_name", consumer);
  out.field("filter_subject", filter_subject(stream.subjects, branch_id));
  out.field("deliver_policy", "by_start_sequence");
  out.field("opt_start_seq",
            static_cast<int64_t>(std::max<uint64_t>(first_seq, 1)));
  out.field("ack_policy", "explicit");
  out.field("ack_wait", nanoseconds{ack_wait}.count());
  out.field("max_ack_pending", static_cast<int64_t>(ack_pending_max));
  out.field("max_deliver", -1);
  out.field("replay_policy", "instant");
  out.field("num_replicas", 1);
  out.field("mem_storage", true);
  out.field("inactive_threshold", nanoseconds{inactive_threshold}.count());
  out.end_object().end_object();
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

/// What a request for messages came to.
enum class pull_end {
  /// It ended as they do; ask again.
  renew,
  /// The server was busy; ask again a little later.
  refused,
  /// There is no consumer any more.
  lost,
  /// It goes on.
  none,
};

pull_end classify(const pull_status& status) {
  auto says = [&](std::string_view text) {
    return status.description.find(text) != std::string::npos;
  };
  switch (status.code) {
    case 100: // heartbeat
      return pull_end::none;
    case 404: // nothing there
    case 408: // expired
      return pull_end::renew;
    case 409:
      return says("Deleted") || says("not found") || says("push based")
               ? pull_end::lost
               : pull_end::refused;
    default: // 503: nobody listens there
      return pull_end::lost;
  }
}

/// One open branch.
///
/// At most one request is under way, so that whatever ends a request is known
/// to end this one:
/// ```
///   idle ──wanted──> asked ──filled, expired──> idle
///                      └──consumer gone, connection lost──> removed
/// ```
struct branch_slot {
  std::string consumer;
  uint64_t generation = 0;
  /// The link's reconnects when the branch was opened.
  uint64_t reconnects = 0;
  /// Messages asked for by the shard and not yet delivered.
  size_t wanted = 0;
  /// Messages that the request under way may still bring; 0: idle.
  size_t asked = 0;
  /// Number of the request under way, or of the last one.
  uint64_t request = 0;
  steady_clock::time_point deadline;
  /// No request before.
  steady_clock::time_point not_before;
};

class event_source_impl : public event_source {
public:
  event_source_impl(nats_settings settings, broker_link_ptr link,
                    delivery_handler on_delivery)
    : settings_(std::move(settings)),
      on_delivery_(std::move(on_delivery)),
      receiver_(settings_, std::move(link),
                {[this](broker_link& from, std::vector<message_ptr> messages) {
                   pass_on(from, messages);
                 },
                 [this](uint64_t reconnects) { lose_all(reconnects); }}) {
    // nop
  }

  caf::expected<stream_state> state() override {
    return ask_stream_state(*receiver_.link(), settings_.stream.name);
  }

  caf::expected<void> open(const std::string& branch_id, uint64_t first_seq,
                           uint64_t generation) override {
    if (!is_plain_name(branch_id))
      return caf::make_error(errc::invalid, "not a branch id");
    close(branch_id);
    auto link = receiver_.link();
    if (!link->connected())
      return caf::make_error(errc::unavailable, "not connected to NATS");
    branch_slot slot;
    slot.consumer = consumer_name(branch_id, nonces_());
    slot.generation = generation;
    slot.reconnects = link->reconnects();
    if (auto done = create_consumer(*link, branch_id, slot.consumer, first_seq);
        !done)
      return done;
    std::lock_guard guard{mutex_};
    slots_[branch_id] = slot;
    return {};
  }

  void close(const std::string& branch_id) override {
    auto consumer = forget(branch_id);
    if (consumer.empty())
      return;
    auto link = receiver_.link();
    // Nobody waits for the answer; the server removes idle ones anyway.
    static_cast<void>(link->send(fmt::format("$JS.API.CONSUMER.DELETE.{}.{}",
                                             settings_.stream.name, consumer),
                                 link->reply_subject(0), {}));
  }

  caf::expected<void>
  fetch(const std::string& branch_id, size_t count) override {
    auto link = receiver_.link();
    std::lock_guard guard{mutex_};
    auto slot = slots_.find(branch_id);
    if (slot == slots_.end())
      return caf::make_error(errc::not_found, "the branch is not open");
    slot->second.wanted
      = std::min(slot->second.wanted + count, ack_pending_max);
    ask_for_more(*link, branch_id, slot->second);
    return {};
  }

  void ack(const std::vector<std::string>& replies) override {
    auto link = receiver_.link();
    for (const auto& reply : replies)
      if (reply.starts_with("$JS.ACK."))
        // Lost ones come again, and are dropped as duplicates.
        static_cast<void>(link->send(reply, {}, "+ACK"));
  }

  bool connected() const override {
    return receiver_.link()->connected();
  }

private:
  using slot_map = std::map<std::string, branch_slot, std::less<>>;

  // -- consumers --------------------------------------------------------------

  caf::expected<void>
  create_consumer(broker_link& link, const std::string& branch_id,
                  const std::string& consumer, uint64_t first_seq) const {
    auto answer
      = ask(link,
            fmt::format("CONSUMER.DURABLE.CREATE.{}.{}", settings_.stream.name,
                        consumer),
            consumer_config(settings_.stream, branch_id, consumer, first_seq));
    if (!answer)
      return answer.error();
    if (!answer->error.empty())
      return to_error(*answer, "consumer of " + branch_id);
    return {};
  }

  /// @returns the branch's consumer; empty when it is not open.
  std::string forget(const std::string& branch_id) {
    std::lock_guard guard{mutex_};
    auto slot = slots_.find(branch_id);
    if (slot == slots_.end())
      return {};
    auto consumer = std::move(slot->second.consumer);
    requests_.erase(slot->second.request);
    slots_.erase(slot);
    return consumer;
  }

  // -- requests; all with the mutex held --------------------------------------

  nanoseconds pull_expires() const {
    return std::clamp<nanoseconds>(pull_share * slots_.size(), pull_expires_min,
                                   pull_expires_max);
  }

  void ask_for_more(broker_link& link, const std::string& branch_id,
                    branch_slot& slot) {
    auto now = steady_clock::now();
    if (slot.asked > 0 || slot.wanted == 0)
      return;
    if (now < slot.not_before) {
      waiting_.insert(branch_id);
      return;
    }
    waiting_.erase(branch_id);
    requests_.erase(slot.request);
    slot.request = ++last_request_;
    slot.asked = std::min(slot.wanted, limits::branch_fetch_max);
    auto expires = pull_expires();
    slot.deadline = now + expires + pull_grace;
    requests_[slot.request] = branch_id;
    // If it cannot be sent the connection is down, and `lose_all` follows.
    static_cast<void>(link.send(
      fmt::format("$JS.API.CONSUMER.MSG.NEXT.{}.{}", settings_.stream.name,
                  slot.consumer),
      link.reply_subject(slot.request), pull_request(slot.asked, expires)));
  }

  /// Asks again where the server had refused.
  void ask_again(broker_link& link) {
    auto names = std::exchange(waiting_, {});
    for (const auto& name : names)
      if (auto slot = slots_.find(name); slot != slots_.end())
        ask_for_more(link, name, slot->second);
  }

  void lose_overdue(broker_link& link, std::vector<delivery>& result) {
    auto now = steady_clock::now();
    if (now < next_overdue_ || !link.connected())
      return;
    next_overdue_ = now + overdue_interval;
    for (auto i = slots_.begin(); i != slots_.end();) {
      auto slot = i++;
      if (slot->second.asked > 0 && slot->second.deadline < now)
        lose(slot, "the consumer does not answer", result);
    }
  }

  void lose(slot_map::iterator slot, std::string why,
            std::vector<delivery>& result) {
    result.push_back(
      {slot->first, slot->second.generation, {}, std::move(why)});
    requests_.erase(slot->second.request);
    slots_.erase(slot);
  }

  // -- the receiver's thread --------------------------------------------------

  void pass_on(broker_link& link, const std::vector<message_ptr>& messages) {
    std::vector<delivery> result;
    {
      std::lock_guard guard{mutex_};
      std::map<std::string_view, size_t> places;
      for (const auto& msg : messages) {
        const char* reply = natsMsg_GetReply(msg.get());
        // Decided by the reply, as an event may have a header `Status` too.
        if (auto ack = parse_ack_subject(reply != nullptr ? reply : ""))
          take_message(link, msg.get(), *ack, reply, places, result);
        else
          take_status(link, msg.get(), result);
      }
      ask_again(link);
      lose_overdue(link, result);
    }
    if (!result.empty())
      on_delivery_(std::move(result));
  }

  void
  take_message(broker_link& link, natsMsg* msg, const ack_subject& ack,
               const char* reply, std::map<std::string_view, size_t>& places,
               std::vector<delivery>& result) {
    auto slot = slots_.find(branch_of(ack.consumer));
    if (ack.stream != settings_.stream.name || slot == slots_.end()
        || slot->second.consumer != ack.consumer)
      return;
    auto [place, added] = places.try_emplace(slot->first, result.size());
    if (added)
      result.push_back({slot->first, slot->second.generation, {}, {}});
    delivered_message message;
    message.stream_seq = ack.stream_seq;
    message.consumer_seq = ack.consumer_seq;
    message.delivery = ack.delivery;
    message.reply = reply;
    message.payload = std::make_shared<const std::string>(
      natsMsg_GetData(msg), static_cast<size_t>(natsMsg_GetDataLength(msg)));
    result[place->second].messages.push_back(std::move(message));
    auto& [name, state] = *slot;
    state.wanted -= std::min<size_t>(state.wanted, 1);
    state.asked -= std::min<size_t>(state.asked, 1);
    ask_for_more(link, name, state);
  }

  void
  take_status(broker_link& link, natsMsg* msg, std::vector<delivery>& result) {
    auto request = requests_.find(link.token_of(msg));
    if (request == requests_.end())
      return;
    auto slot = slots_.find(request->second);
    auto status = read_status(msg);
    auto end = classify(status);
    if (end == pull_end::none || slot == slots_.end())
      return;
    if (end == pull_end::lost) {
      lose(slot,
           fmt::format("the consumer is gone ({} {})", status.code,
                       status.description),
           result);
      return;
    }
    slot->second.asked = 0;
    if (end == pull_end::refused)
      slot->second.not_before = steady_clock::now() + refused_wait;
    ask_for_more(link, slot->first, slot->second);
  }

  void lose_all(uint64_t reconnects) {
    std::vector<delivery> result;
    {
      std::lock_guard guard{mutex_};
      for (auto i = slots_.begin(); i != slots_.end();) {
        auto slot = i++;
        if (slot->second.reconnects < reconnects)
          lose(slot, "the connection was lost", result);
      }
    }
    if (!result.empty())
      on_delivery_(std::move(result));
  }

  const nats_settings settings_;
  delivery_handler on_delivery_;
  std::mutex mutex_;
  slot_map slots_;
  /// Branches by the number of their request.
  std::map<uint64_t, std::string> requests_;
  /// Branches whose next request has to wait.
  std::set<std::string> waiting_;
  uint64_t last_request_ = 0;
  /// Used by whoever opens branches: one thread.
  std::mt19937_64 nonces_{std::random_device{}()};
  steady_clock::time_point next_overdue_;
  /// Last, so that its thread ends before what it uses.
  receiver_thread receiver_;
};

} // namespace

caf::expected<event_source_ptr>
connect_source(const nats_settings& settings,
               event_source::delivery_handler on_delivery) {
  if (!is_plain_name(settings.stream.name))
    return caf::make_error(errc::invalid, "not a stream name");
  auto link = broker_link::open(settings);
  if (!link)
    return link.error();
  return event_source_ptr{std::make_unique<event_source_impl>(
    settings, std::move(*link), std::move(on_delivery))};
}

} // namespace tillstream::storage

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "storage/nats/jetstream_api.hpp"
#include "storage/nats/receiver_thread.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace jetstream;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
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

/// The consumer of the shared reader; no branch's name follows.
constexpr std::string_view reader_prefix = "reader-";

/// Messages that the shared reader asks for together.
constexpr size_t reader_batch = 2000;

/// Messages that came by the shared reader before their branch wanted them: of
/// one branch, which is opened again beyond it, and of all. With that many the
/// reader waits; the stream keeps the rest.
constexpr size_t held_branch_max = 512;
constexpr size_t held_max = 20'000;

/// Branches behind the reader batch_window for so long; many open together.
constexpr auto rewind_batch_window = 100ms;
/// Between two of its ways back.
constexpr auto rewind_interval = 2s;
/// Branches that read by themselves at the same time because they are far
/// behind.
constexpr size_t stragglers_max = 32;

/// Messages that come one after the other are handed over together.
constexpr auto receive_batch_window = 2ms;

/// For the answer to each attempt to create a branch's consumer. A cluster puts
/// it on any of the stream's servers, also on one that has just died and does
/// not answer; the next attempt may be put on another. Together they take as
/// long as any other request.
constexpr std::array<milliseconds, 2> create_timeout{1s, 4s};

/// An answer of the server that does not come.
constexpr auto answer_max = 10s;

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

/// Of a consumer that begins at `first_seq`; kept in memory, and dropped when
/// nobody uses it.
/// @param filter The subjects that it reads.
/// @param acknowledged Whether the server keeps count of what was taken. One
///        acknowledgement is for all messages before it, too: one for each is
///        as much work for the server as the message itself.
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

/// The consumer of one branch.
std::string
branch_config(const stream_settings& stream, const std::string& branch_id,
              const std::string& consumer, uint64_t first_seq) {
  return consumer_config(stream, filter_subject(stream.subjects, branch_id),
                         consumer, first_seq, true);
}

/// The consumer that reads all branches. Its messages are not acknowledged: it
/// knows by itself how far it came.
std::string reader_config(const stream_settings& stream,
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
/// ```
///   direct ──nothing left, others share──┐
///     ^ made                             v   nothing below the reader
///   making <──too far behind── behind <─ looking ──────────────────> shared
///                                │                                     ^
///                                └───────────the reader goes back──────┘
/// ```
///
/// A consumer of its own has at most one request under way, so that whatever
/// ends a request is known to end this one:
/// ```
///   idle ──wanted──> asked ──filled, expired──> idle
///                      └──consumer gone, connection lost──> removed
/// ```
struct branch_slot {
  enum class way { direct, making, looking, behind, shared };

  way how = way::direct;
  /// Its own consumer.
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
  /// The first stream sequence that was not delivered or held.
  uint64_t next = 1;
  /// How many were delivered since it was opened.
  uint64_t delivered = 0;
  /// While `looking`: the reader was so far at its beginning, and whether it
  /// met messages of the branch since.
  uint64_t reader_was_at = 0;
  bool passed_by = false;
  /// Came by the shared reader and was not wanted yet.
  std::deque<delivered_message> held;
};

/// Reads all branches of the stream in order.
struct shared_reader {
  /// Empty: there is none.
  std::string consumer;
  bool made = false;
  std::string incarnation;
  /// The stream sequence that comes next.
  uint64_t next = 1;
  uint64_t consumer_seq = 0;
  size_t asked = 0;
  uint64_t request = 0;
  steady_clock::time_point deadline;
  steady_clock::time_point not_before;
  steady_clock::time_point next_rewind;
};

class event_source_impl : public event_source {
public:
  event_source_impl(nats_settings settings, broker_link_ptr link,
                    delivery_handler on_delivery)
    : settings_(std::move(settings)),
      subject_prefix_(settings_.stream.subjects.substr(
        0, settings_.stream.subjects.find('*'))),
      on_delivery_(std::move(on_delivery)),
      receiver_(settings_, std::move(link),
                {[this](broker_link& from, std::vector<message_ptr> messages) {
                   pass_on(from, messages);
                 },
                 [this](uint64_t reconnects) { lose_all(reconnects); }}) {
    // nop
  }

  caf::expected<stream_state> state() override {
    auto before = reader_position();
    auto result = ask_stream_state(*receiver_.link(), settings_.stream.name);
    if (result)
      compare_reader(before, *result);
    return result;
  }

  caf::expected<uint64_t> last_seq(const std::string& branch_id) override {
    if (!is_plain_name(branch_id))
      return caf::make_error(errc::invalid, "not a branch id");
    auto answer = ask(*receiver_.link(), "STREAM.MSG.GET." + stream(),
                      last_message_request(subject_of(branch_id)));
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
    branch_slot slot;
    slot.generation = generation;
    slot.reconnects = link->reconnects();
    slot.next = std::max<uint64_t>(first_seq, 1);
    if (shares())
      return open_shared(*link, branch_id, std::move(slot));
    auto consumer = create_consumer(*link, branch_id, first_seq);
    if (!consumer)
      return consumer.error();
    slot.consumer = std::move(*consumer);
    std::lock_guard guard{mutex_};
    slots_[branch_id] = std::move(slot);
    return {};
  }

  void close(const std::string& branch_id) override {
    auto link = receiver_.link();
    std::lock_guard guard{mutex_};
    auto slot = slots_.find(branch_id);
    if (slot == slots_.end())
      return;
    delete_consumer(*link, slot->second.consumer);
    erase(slot);
    if (slots_.empty())
      end_reader(*link);
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
    if (slot->second.how == branch_slot::way::direct)
      ask_for_more(*link, branch_id, slot->second);
    else
      give_held(*link, *slot);
    return {};
  }

  void ack(const std::vector<std::string>& replies) override {
    auto link = receiver_.link();
    // What came by the shared reader has no reply to acknowledge.
    auto last = std::find_if(replies.rbegin(), replies.rend(),
                             [](auto& x) { return x.starts_with("$JS.ACK."); });
    // Lost ones come again, and are dropped as duplicates.
    if (last != replies.rend())
      static_cast<void>(link->send(*last, {}, "+ACK"));
  }

  bool connected() const override {
    return receiver_.link()->connected();
  }

private:
  using slot_map = std::map<std::string, branch_slot, std::less<>>;
  using way = branch_slot::way;

  const std::string& stream() const {
    return settings_.stream.name;
  }

  std::string subject_of(const std::string& branch_id) const {
    return filter_subject(settings_.stream.subjects, branch_id);
  }

  // -- consumers --------------------------------------------------------------

  /// What the API is asked to do with a consumer.
  std::string
  on_consumer(std::string_view what, const std::string& consumer) const {
    return fmt::format("CONSUMER.{}.{}.{}", what, stream(), consumer);
  }

  /// @returns the consumer's name.
  caf::expected<std::string>
  create_consumer(broker_link& link, const std::string& branch_id,
                  uint64_t first_seq) {
    caf::error problem;
    for (auto timeout : create_timeout) {
      auto consumer = consumer_name(branch_id, nonces_());
      auto answer
        = ask(link, on_consumer("DURABLE.CREATE", consumer),
              branch_config(settings_.stream, branch_id, consumer, first_seq),
              timeout);
      if (answer && answer->error.empty())
        return consumer;
      problem = answer ? to_error(*answer, "consumer of " + branch_id)
                       : answer.error();
      if (problem != errc::timeout)
        break;
      // Should it come to be after all.
      delete_consumer(link, consumer);
    }
    return problem;
  }

  void delete_consumer(broker_link& link, const std::string& consumer) const {
    // Nobody waits for the answer; the server removes idle ones anyway.
    if (!consumer.empty())
      static_cast<void>(link.send("$JS.API." + on_consumer("DELETE", consumer),
                                  link.reply_subject(0), {}));
  }

  // -- all below with the mutex held, unless they say otherwise ---------------

  void erase(slot_map::iterator slot) {
    requests_.erase(slot->second.request);
    held_ -= slot->second.held.size();
    slots_.erase(slot);
  }

  void lose(slot_map::iterator slot, std::string why,
            std::vector<delivery>& result) {
    result.push_back(
      {slot->first, slot->second.generation, {}, std::move(why)});
    erase(slot);
  }

  /// Asks the server on a slot's behalf; the answer comes to `take_answer`.
  void
  ask_server(broker_link& link, const std::string& branch_id, branch_slot& slot,
             const std::string& what, std::string_view payload) {
    requests_.erase(slot.request);
    slot.request = ++last_request_;
    slot.deadline = steady_clock::now() + answer_max;
    requests_[slot.request] = branch_id;
    // If it cannot be sent the connection is down, and `lose_all` follows.
    static_cast<void>(
      link.send("$JS.API." + what, link.reply_subject(slot.request), payload));
  }

  // -- a branch's own consumer ------------------------------------------------

  nanoseconds pull_expires() const {
    return std::clamp<nanoseconds>(pull_share * slots_.size(), pull_expires_min,
                                   pull_expires_max);
  }

  void ask_for_more(broker_link& link, const std::string& branch_id,
                    branch_slot& slot) {
    auto now = steady_clock::now();
    if (slot.how != way::direct || slot.asked > 0 || slot.wanted == 0)
      return;
    if (now < slot.not_before) {
      waiting_.insert(branch_id);
      return;
    }
    waiting_.erase(branch_id);
    slot.asked = std::min(slot.wanted, limits::branch_fetch_max);
    auto expires = pull_expires();
    ask_server(link, branch_id, slot, on_consumer("MSG.NEXT", slot.consumer),
               pull_request(slot.asked, expires));
    slot.deadline = now + expires + pull_grace;
  }

  /// Asks again where the server had refused.
  void ask_again(broker_link& link) {
    auto names = std::exchange(waiting_, {});
    for (const auto& name : names)
      if (auto slot = slots_.find(name); slot != slots_.end())
        ask_for_more(link, name, slot->second);
    pull_reader(link);
  }

  // -- the shared reader ------------------------------------------------------

  /// Takes the lock.
  bool shares() {
    std::lock_guard guard{mutex_};
    return slots_.size() + 1 >= settings_.shared_reader_min
           || !reader_.consumer.empty();
  }

  /// Takes the lock. @returns where the reader is; 0: there is none.
  uint64_t reader_position() {
    std::lock_guard guard{mutex_};
    return reader_.consumer.empty() ? 0 : reader_.next;
  }

  /// Takes the lock. A stream that lost its end hands out old numbers again:
  /// the reader would wait for what never comes.
  void compare_reader(uint64_t before, const stream_state& now) {
    auto link = receiver_.link();
    std::lock_guard guard{mutex_};
    if (before == 0 || reader_.consumer.empty()
        || (now.incarnation == reader_.incarnation
            && now.last_seq + 1 >= before))
      return;
    std::vector<delivery> result;
    lose_followers(*link, "the stream is another", result);
    on_delivery_(std::move(result));
  }

  /// Takes the lock.
  caf::expected<void>
  open_shared(broker_link& link, const std::string& branch_id,
              branch_slot slot) {
    std::optional<stream_state> begin;
    if (reader_position() == 0) {
      auto state = ask_stream_state(link, stream());
      if (!state)
        return state.error();
      begin = std::move(*state);
    }
    std::lock_guard guard{mutex_};
    if (reader_.consumer.empty()) {
      if (!begin)
        return caf::make_error(errc::unavailable, "the reader has just ended");
      reader_.incarnation = begin->incarnation;
      make_reader(link, begin->last_seq + 1);
    }
    auto& place = slots_[branch_id] = std::move(slot);
    look(link, branch_id, place);
    return {};
  }

  void make_reader(broker_link& link, uint64_t first_seq) {
    delete_consumer(link, reader_.consumer);
    reader_.consumer = fmt::format("{}{:012x}", reader_prefix,
                                   (nonce_base_ + ++reader_count_)
                                     & ((uint64_t{1} << 48) - 1));
    reader_.made = false;
    reader_.next = first_seq;
    reader_.consumer_seq = 0;
    reader_.asked = 0;
    reader_.request = ++last_request_;
    reader_.deadline = steady_clock::now() + answer_max;
    static_cast<void>(
      link.send("$JS.API." + on_consumer("DURABLE.CREATE", reader_.consumer),
                link.reply_subject(reader_.request),
                reader_config(settings_.stream, reader_.consumer, first_seq)));
  }

  void end_reader(broker_link& link) {
    delete_consumer(link, reader_.consumer);
    reader_ = {};
  }

  void lose_followers(broker_link& link, const std::string& why,
                      std::vector<delivery>& result) {
    end_reader(link);
    for (auto i = slots_.begin(); i != slots_.end();) {
      auto slot = i++;
      auto how = slot->second.how;
      if (how == way::looking || how == way::behind || how == way::shared)
        lose(slot, why, result);
    }
  }

  void pull_reader(broker_link& link) {
    auto now = steady_clock::now();
    if (!reader_.made || reader_.asked > 0 || held_ >= held_max
        || now < reader_.not_before)
      return;
    reader_.asked = reader_batch;
    reader_.request = ++last_request_;
    reader_.deadline = now + pull_expires_min + pull_grace;
    static_cast<void>(
      link.send("$JS.API." + on_consumer("MSG.NEXT", reader_.consumer),
                link.reply_subject(reader_.request),
                pull_request(reader_batch, pull_expires_min)));
  }

  /// Asks whether the branch has messages that the reader has passed already.
  void
  look(broker_link& link, const std::string& branch_id, branch_slot& slot) {
    slot.how = way::looking;
    slot.reader_was_at = reader_.next;
    slot.passed_by = false;
    ask_server(link, branch_id, slot, "STREAM.MSG.GET." + stream(),
               last_message_request(subject_of(branch_id)));
  }

  void looked(slot_map::iterator slot, uint64_t last_seq) {
    auto& x = slot->second;
    auto missed = last_seq >= x.next && x.next < x.reader_was_at;
    if (!missed && !x.passed_by) {
      x.how = way::shared;
      return;
    }
    x.how = way::behind;
    if (!behind_since_)
      behind_since_ = steady_clock::now();
  }

  /// Looks after the branches that are behind the reader.
  void catch_up(broker_link& link) {
    auto now = steady_clock::now();
    if (!behind_since_ || now < *behind_since_ + rewind_batch_window
        || !reader_.made)
      return;
    auto near = [&](const branch_slot& x) {
      return x.next + settings_.shared_rewind_max >= reader_.next;
    };
    auto lowest = reader_.next;
    size_t stragglers = 0;
    bool any = false;
    for (auto& [name, x] : slots_) {
      stragglers += x.how == way::making || x.how == way::direct ? 1 : 0;
      if (x.how != way::behind)
        continue;
      any = true;
      if (near(x))
        lowest = std::min(lowest, x.next);
    }
    if (lowest < reader_.next && now >= reader_.next_rewind) {
      for (auto& [name, x] : slots_) {
        if (x.how == way::behind && x.next >= lowest)
          x.how = way::shared;
        // It comes along again.
        x.reader_was_at = std::min(x.reader_was_at, lowest);
      }
      make_reader(link, lowest);
      reader_.next_rewind = now + rewind_interval;
    }
    for (auto& [name, x] : slots_) {
      if (x.how != way::behind || near(x) || stragglers >= stragglers_max)
        continue;
      ++stragglers;
      x.how = way::making;
      x.consumer = consumer_name(name, nonce_base_ + ++reader_count_);
      ask_server(link, name, x, on_consumer("DURABLE.CREATE", x.consumer),
                 branch_config(settings_.stream, name, x.consumer, x.next));
    }
    if (!any)
      behind_since_.reset();
  }

  /// A branch with a consumer of its own has all there is: it joins the others.
  void join(broker_link& link, slot_map::value_type& slot) {
    auto& x = slot.second;
    delete_consumer(link, x.consumer);
    x.consumer.clear();
    x.asked = 0;
    look(link, slot.first, x);
  }

  void give_held(broker_link& link, slot_map::value_type& slot) {
    auto& [name, x] = slot;
    if (x.held.empty() || x.wanted == 0)
      return;
    delivery out{name, x.generation, {}, {}};
    while (!x.held.empty() && x.wanted > 0) {
      give(x, std::move(x.held.front()), out);
      x.held.pop_front();
      --held_;
    }
    // Both threads that come here hold the lock, so that nothing is overtaken.
    on_delivery_({std::move(out)});
    pull_reader(link);
  }

  static void give(branch_slot& to, delivered_message message, delivery& out) {
    message.consumer_seq = ++to.delivered;
    to.wanted -= std::min<size_t>(to.wanted, 1);
    out.messages.push_back(std::move(message));
  }

  // -- the receiver's thread --------------------------------------------------

  void lose_overdue(broker_link& link, std::vector<delivery>& result) {
    auto now = steady_clock::now();
    if (now < next_overdue_ || !link.connected())
      return;
    next_overdue_ = now + overdue_interval;
    for (auto i = slots_.begin(); i != slots_.end();) {
      auto slot = i++;
      auto& x = slot->second;
      auto waits = x.asked > 0 || x.how == way::looking || x.how == way::making;
      if (waits && x.deadline < now)
        lose(slot, "the consumer does not answer", result);
    }
    auto waits = reader_.asked > 0 || !reader_.made;
    if (!reader_.consumer.empty() && waits && reader_.deadline < now)
      lose_followers(link, "the reader does not answer", result);
  }

  /// Takes the lock.
  void pass_on(broker_link& link, const std::vector<message_ptr>& messages) {
    std::vector<delivery> result;
    std::lock_guard guard{mutex_};
    place_map places;
    for (const auto& msg : messages) {
      const char* reply = natsMsg_GetReply(msg.get());
      // Decided by the reply, as an event may have a header `Status` too.
      if (auto ack = parse_ack_subject(reply != nullptr ? reply : ""))
        take_message(link, msg.get(), *ack, reply, places, result);
      else
        take_answer(link, msg.get(), result);
    }
    ask_again(link);
    catch_up(link);
    lose_overdue(link, result);
    if (!result.empty())
      on_delivery_(std::move(result));
  }

  /// Where a branch's part of what is delivered together is.
  using place_map = std::map<std::string, size_t, std::less<>>;

  static delivery& place_of(const slot_map::value_type& slot, place_map& places,
                            std::vector<delivery>& result) {
    auto [place, added] = places.try_emplace(slot.first, result.size());
    // It may have been lost and opened again meanwhile.
    if (added || result[place->second].generation != slot.second.generation) {
      place->second = result.size();
      result.push_back({slot.first, slot.second.generation, {}, {}});
    }
    return result[place->second];
  }

  static delivered_message read_message(natsMsg* msg, const ack_subject& ack) {
    delivered_message result;
    result.stream_seq = ack.stream_seq;
    result.consumer_seq = ack.consumer_seq;
    result.delivery = ack.delivery;
    result.payload = std::make_shared<const std::string>(
      natsMsg_GetData(msg), static_cast<size_t>(natsMsg_GetDataLength(msg)));
    return result;
  }

  void take_message(broker_link& link, natsMsg* msg, const ack_subject& ack,
                    const char* reply, place_map& places,
                    std::vector<delivery>& result) {
    if (ack.stream != stream())
      return;
    if (!reader_.consumer.empty() && ack.consumer == reader_.consumer) {
      take_shared(link, msg, ack, places, result);
      return;
    }
    auto slot = slots_.find(branch_of(ack.consumer));
    if (slot == slots_.end() || slot->second.consumer != ack.consumer)
      return;
    auto message = read_message(msg, ack);
    message.reply = reply;
    place_of(*slot, places, result).messages.push_back(std::move(message));
    auto& [name, state] = *slot;
    state.delivered = ack.consumer_seq;
    state.next = std::max(state.next, ack.stream_seq + 1);
    state.wanted -= std::min<size_t>(state.wanted, 1);
    state.asked -= std::min<size_t>(state.asked, 1);
    if (ack.pending == 0 && ack.delivery == 1 && !reader_.consumer.empty())
      join(link, *slot);
    else
      ask_for_more(link, name, state);
  }

  void take_shared(broker_link& link, natsMsg* msg, const ack_subject& ack,
                   place_map& places, std::vector<delivery>& result) {
    if (ack.consumer_seq != reader_.consumer_seq + 1) {
      // Something was dropped on the way.
      make_reader(link, reader_.next);
      return;
    }
    reader_.consumer_seq = ack.consumer_seq;
    reader_.next = ack.stream_seq + 1;
    reader_.asked -= std::min<size_t>(reader_.asked, 1);
    std::string_view subject = natsMsg_GetSubject(msg);
    if (!subject.starts_with(subject_prefix_))
      return;
    auto slot = slots_.find(subject.substr(subject_prefix_.size()));
    if (slot == slots_.end() || ack.stream_seq < slot->second.next)
      return;
    auto& x = slot->second;
    if (x.how != way::shared) {
      x.passed_by = true;
      return;
    }
    x.next = ack.stream_seq + 1;
    auto message = read_message(msg, ack);
    message.delivery = 1;
    if (x.wanted > 0 && x.held.empty()) {
      give(x, std::move(message), place_of(*slot, places, result));
      return;
    }
    x.held.push_back(std::move(message));
    ++held_;
    if (x.held.size() > held_branch_max)
      lose(slot, "more came than it took", result);
  }

  void
  take_answer(broker_link& link, natsMsg* msg, std::vector<delivery>& result) {
    auto token = link.token_of(msg);
    if (token == 0)
      return;
    if (!reader_.consumer.empty() && token == reader_.request) {
      take_reader_answer(link, msg, result);
      return;
    }
    auto request = requests_.find(token);
    if (request == requests_.end())
      return;
    auto slot = slots_.find(request->second);
    if (slot == slots_.end())
      return;
    if (slot->second.how == way::looking)
      take_look(slot, msg, result);
    else if (slot->second.how == way::making)
      take_made(link, slot, msg, result);
    else if (slot->second.how == way::direct)
      take_status(link, slot, msg, result);
  }

  static caf::expected<api_answer> answer_of(natsMsg* msg) {
    if (natsMsg_IsNoResponders(msg))
      return caf::make_error(errc::unavailable, "JetStream does not answer");
    return read_answer(
      "a request",
      {natsMsg_GetData(msg), static_cast<size_t>(natsMsg_GetDataLength(msg))});
  }

  void take_look(slot_map::iterator slot, natsMsg* msg,
                 std::vector<delivery>& result) {
    auto answer = answer_of(msg);
    auto last = answer ? read_last_seq(*answer) : answer.error();
    if (last)
      looked(slot, *last);
    else
      lose(slot, describe(last.error()), result);
  }

  void take_made(broker_link& link, slot_map::iterator slot, natsMsg* msg,
                 std::vector<delivery>& result) {
    auto answer = answer_of(msg);
    if (!answer || !answer->error.empty()) {
      lose(slot, answer ? answer->error : describe(answer.error()), result);
      return;
    }
    auto& x = slot->second;
    x.how = way::direct;
    x.asked = 0;
    // Its consumer counts anew, and the shard must not see that.
    if (x.delivered > 0)
      lose(slot, "far behind", result);
    else
      ask_for_more(link, slot->first, x);
  }

  void take_reader_answer(broker_link& link, natsMsg* msg,
                          std::vector<delivery>& result) {
    if (!reader_.made) {
      auto answer = answer_of(msg);
      if (answer && answer->error.empty()) {
        reader_.made = true;
        pull_reader(link);
      } else {
        lose_followers(link, answer ? answer->error : describe(answer.error()),
                       result);
      }
      return;
    }
    auto end = classify(read_status(msg));
    if (end == pull_end::none)
      return;
    reader_.asked = 0;
    if (end == pull_end::refused)
      reader_.not_before = steady_clock::now() + refused_wait;
    if (end == pull_end::lost)
      make_reader(link, reader_.next);
    else
      pull_reader(link);
  }

  void take_status(broker_link& link, slot_map::iterator slot, natsMsg* msg,
                   std::vector<delivery>& result) {
    auto status = read_status(msg);
    auto end = classify(status);
    if (end == pull_end::none)
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

  /// Takes the lock.
  void lose_all(uint64_t reconnects) {
    std::vector<delivery> result;
    std::lock_guard guard{mutex_};
    // Its server may be another now.
    reader_ = {};
    for (auto i = slots_.begin(); i != slots_.end();) {
      auto slot = i++;
      if (slot->second.reconnects < reconnects
          || slot->second.how != way::direct)
        lose(slot, "the connection was lost", result);
    }
    if (!result.empty())
      on_delivery_(std::move(result));
  }

  const nats_settings settings_;
  /// Of the subjects, in front of the branch.
  const std::string subject_prefix_;
  delivery_handler on_delivery_;
  std::mutex mutex_;
  slot_map slots_;
  shared_reader reader_;
  /// Messages in all `held`.
  size_t held_ = 0;
  /// Since when there are branches behind the reader.
  std::optional<steady_clock::time_point> behind_since_;
  /// Branches by the number of their request.
  std::map<uint64_t, std::string> requests_;
  /// Branches whose next request has to wait.
  std::set<std::string> waiting_;
  uint64_t last_request_ = 0;
  /// Used by whoever opens branches: one thread.
  std::mt19937_64 nonces_{std::random_device{}()};
  /// With a count added, under the lock, for what other threads make.
  const uint64_t nonce_base_ = nonces_();
  uint64_t reader_count_ = 0;
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
  auto gathering = settings;
  gathering.batch_window = receive_batch_window;
  auto link = broker_link::open(gathering);
  if (!link)
    return link.error();
  return event_source_ptr{std::make_unique<event_source_impl>(
    gathering, std::move(*link), std::move(on_delivery))};
}

} // namespace tillstream::storage

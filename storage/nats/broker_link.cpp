#include "storage/nats/broker_link.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

namespace tillstream::storage::jetstream {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr auto reconnect_wait = 200ms;
constexpr auto reconnect_jitter = 100ms;
/// A server that says nothing for this long, twice, is gone.
constexpr auto ping_interval = 5s;
/// A server that reads nothing for this long is gone.
constexpr auto write_deadline = 2s;

/// Messages that wait for our thread: all that a node may have fetched, twice.
/// The library drops what comes beyond, which shows as a gap.
constexpr int pending_messages_max
  = static_cast<int>(2 * limits::pending_events_max);
constexpr int pending_bytes_max = 512 << 20;

/// Messages that our thread has not taken yet.
constexpr size_t queue_max = 10'000;

/// With so many of them our thread does not wait for more.
constexpr size_t batch_max = 256;

int64_t in_ms(milliseconds x) {
  return x.count();
}

caf::error nats_error(std::string_view what, natsStatus status) {
  auto code = status == NATS_INVALID_SUBJECT || status == NATS_INVALID_ARG
                ? errc::invalid
                : errc::unavailable;
  if (status == NATS_TIMEOUT)
    code = errc::timeout;
  if (status == NATS_NO_RESPONDERS)
    code = errc::not_found;
  return caf::make_error(
    code, fmt::format("{}: {}", what, natsStatus_GetText(status)));
}

std::vector<std::string> split_servers(std::string_view text) {
  std::vector<std::string> result;
  while (!text.empty())
    if (auto part = trim(next_part(text, ',')); !part.empty())
      result.emplace_back(part);
  return result;
}

using options_ptr
  = std::unique_ptr<natsOptions, decltype(&natsOptions_Destroy)>;

/// Runs all setters. @returns what the first that failed said.
natsStatus set_all(natsOptions* options, const nats_settings& settings) {
  auto servers = split_servers(settings.url);
  std::vector<const char*> urls;
  for (const auto& url : servers)
    urls.push_back(url.c_str());
  const natsStatus results[] = {
    natsOptions_SetServers(options, urls.data(), static_cast<int>(urls.size())),
    natsOptions_SetName(options, settings.client_name.c_str()),
    natsOptions_SetTimeout(options, in_ms(limits::connect_timeout)),
    natsOptions_SetAllowReconnect(options, true),
    natsOptions_SetMaxReconnect(options, -1),
    natsOptions_SetReconnectWait(options, in_ms(reconnect_wait)),
    natsOptions_SetReconnectJitter(options, in_ms(reconnect_jitter),
                                   in_ms(reconnect_jitter)),
    // Without it a publish 'succeeds' while nobody is there to take it.
    natsOptions_SetReconnectBufSize(options, 0),
    natsOptions_SetPingInterval(options, in_ms(ping_interval)),
    natsOptions_SetMaxPingsOut(options, 2),
    natsOptions_SetWriteDeadline(options, in_ms(write_deadline)),
    natsOptions_SetNoEcho(options, !settings.echo),
  };
  for (auto status : results)
    if (status != NATS_OK)
      return status;
  return NATS_OK;
}

/// What would break out of a protocol or header line, or address nobody.
bool is_line_safe(std::string_view text) {
  auto safe = [](unsigned char c) { return c > 0x20 && c != 0x7f; };
  return !text.empty() && std::all_of(text.begin(), text.end(), safe);
}

caf::error bad_subject() {
  return caf::make_error(errc::invalid, "a subject or message id that the "
                                        "broker's protocol cannot carry");
}

/// Messages, and bytes of them, that a link has done with and not destroyed.
constexpr size_t spent_max = 64;
constexpr size_t spent_bytes_max = 256 * 1024;

using queue_ptr = std::shared_ptr<inbox_queue>;

/// Whom a subscription's thread hands its messages to.
struct listener {
  queue_ptr queue;
  milliseconds batch_window;
  /// Whether nothing was left after the last message.
  bool paused = true;
};

void on_complete(void* closure) {
  delete static_cast<listener*>(closure);
}

} // namespace

/// What a link has done with. The library frees each message on a thread of its
/// own, which is woken for it, so they go together. Thread-safe.
class spent_messages {
public:
  spent_messages() = default;
  spent_messages(const spent_messages&) = delete;
  spent_messages& operator=(const spent_messages&) = delete;

  ~spent_messages() {
    destroy();
  }

  void add(natsMsg* msg) {
    std::lock_guard guard{mutex_};
    messages_.push_back(msg);
    bytes_ += static_cast<size_t>(natsMsg_GetDataLength(msg));
    if (messages_.size() == spent_max || bytes_ >= spent_bytes_max)
      destroy();
  }

private:
  void destroy() {
    for (auto* x : messages_)
      natsMsg_Destroy(x);
    messages_.clear();
    bytes_ = 0;
  }

  std::mutex mutex_;
  std::vector<natsMsg*> messages_;
  size_t bytes_ = 0;
};

void message_deleter::operator()(natsMsg* msg) const {
  if (to != nullptr)
    to->add(msg);
  else
    natsMsg_Destroy(msg);
}

/// What came and was not taken yet.
///
/// NATS.c's own queue will not do: it keeps 'no responders' answers to itself,
/// and with them the request that they belong to.
class inbox_queue {
public:
  /// Waits for room; the library drops what does not fit behind us.
  /// @param more Whether others follow at once: with the last one they are
  ///             handed over.
  void put(message_ptr msg, bool more) {
    std::unique_lock guard{mutex_};
    room_.wait(guard, [&] { return closed_ || items_.size() < queue_max; });
    if (closed_)
      return;
    items_.push_back(std::move(msg));
    if (!ready_ && (!more || items_.size() >= batch_max)) {
      ready_ = true;
      filled_.notify_one();
    }
  }

  std::vector<message_ptr> take(size_t max, milliseconds timeout) {
    std::unique_lock guard{mutex_};
    filled_.wait_for(guard, timeout, [&] { return closed_ || ready_; });
    std::vector<message_ptr> result;
    while (!items_.empty() && result.size() < max) {
      result.push_back(std::move(items_.front()));
      items_.pop_front();
    }
    ready_ = !items_.empty();
    room_.notify_all();
    return result;
  }

  void close() {
    std::lock_guard guard{mutex_};
    closed_ = true;
    items_.clear();
    filled_.notify_all();
    room_.notify_all();
  }

  spent_messages& spent() {
    return spent_;
  }

private:
  /// Before the items, which go there.
  spent_messages spent_;
  std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable room_;
  bool closed_ = false;
  /// Whether the items are to be taken.
  bool ready_ = false;
  std::deque<message_ptr> items_;
};

namespace {

/// On the subscription's own thread. While it sleeps the library collects what
/// comes, and wakes nobody.
void on_message(natsConnection*, natsSubscription* from, natsMsg* msg,
                void* closure) {
  auto& to = *static_cast<listener*>(closure);
  if (to.paused && to.batch_window > 0ms)
    std::this_thread::sleep_for(to.batch_window);
  int left = 0;
  auto known = natsSubscription_GetPending(from, &left, nullptr) == NATS_OK;
  to.paused = !known || left == 0;
  to.queue->put(message_ptr{msg, {&to.queue->spent()}}, !to.paused);
}

} // namespace

broker_link::broker_link() : queue_(std::make_shared<inbox_queue>()) {
  // nop
}

caf::expected<broker_link_ptr>
broker_link::open(const nats_settings& settings) {
  natsOptions* raw = nullptr;
  if (auto status = natsOptions_Create(&raw); status != NATS_OK)
    return nats_error("NATS options", status);
  options_ptr options{raw, natsOptions_Destroy};
  if (auto status = set_all(options.get(), settings); status != NATS_OK)
    return caf::make_error(errc::invalid, "the NATS URL is not valid");
  broker_link_ptr result{new broker_link};
  result->batch_window_ = settings.batch_window;
  auto status = natsConnection_Connect(&result->connection_, options.get());
  if (status != NATS_OK)
    return caf::make_error(
      errc::unavailable,
      fmt::format("cannot connect to NATS: {}", natsStatus_GetText(status)));
  natsInbox* inbox = nullptr;
  if (status = natsInbox_Create(&inbox); status != NATS_OK)
    return nats_error("NATS inbox", status);
  result->inbox_ = inbox;
  natsInbox_Destroy(inbox);
  if (status = natsStatistics_Create(&result->stats_); status != NATS_OK)
    return nats_error("NATS statistics", status);
  if (status = result->listen(result->inbox_ + ".*"); status != NATS_OK)
    return nats_error("NATS subscription", status);
  for (const auto& subject : settings.listen_to)
    if (status = result->listen(subject); status != NATS_OK)
      return nats_error("NATS subscription", status);
  // Until the server has them, what others send there reaches nobody.
  status = natsConnection_FlushTimeout(result->connection_,
                                       in_ms(limits::connect_timeout));
  if (status != NATS_OK)
    return nats_error("NATS subscription", status);
  return result;
}

natsStatus broker_link::listen(const std::string& subject) {
  // The library's threads may outlive us for a moment: they own a share of the
  // queue, which `on_complete` gives back when they are done.
  auto share = std::make_unique<listener>(listener{queue_, batch_window_});
  natsSubscription* made = nullptr;
  auto status = natsConnection_Subscribe(&made, connection_, subject.c_str(),
                                         on_message, share.get());
  if (status != NATS_OK)
    return status;
  subscriptions_.push_back(made);
  auto* closure = share.release();
  status = natsSubscription_SetOnCompleteCB(made, on_complete, closure);
  if (status != NATS_OK)
    return status;
  return natsSubscription_SetPendingLimits(made, pending_messages_max,
                                           pending_bytes_max);
}

broker_link::~broker_link() {
  // The connection first, so that no subscription is live any more.
  close();
  for (auto* x : subscriptions_)
    natsSubscription_Destroy(x);
  natsConnection_Destroy(connection_);
  natsStatistics_Destroy(stats_);
}

bool broker_link::connected() const {
  return natsConnection_Status(connection_) == NATS_CONN_STATUS_CONNECTED;
}

bool broker_link::closed() const {
  return natsConnection_IsClosed(connection_);
}

uint64_t broker_link::reconnects() const {
  std::lock_guard guard{stats_mutex_};
  uint64_t result = 0;
  if (natsConnection_GetStats(connection_, stats_) == NATS_OK)
    natsStatistics_GetCounts(stats_, nullptr, nullptr, nullptr, nullptr,
                             &result);
  return result;
}

void broker_link::close() {
  queue_->close();
  if (connection_ != nullptr)
    natsConnection_Close(connection_);
}

std::string broker_link::reply_subject(uint64_t token) const {
  return fmt::format("{}.{}", inbox_, token);
}

uint64_t broker_link::token_of(natsMsg* msg) const {
  std::string_view subject = natsMsg_GetSubject(msg);
  uint64_t result = 0;
  if (subject.size() > inbox_.size() && subject.starts_with(inbox_)) {
    auto digits = subject.substr(inbox_.size() + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), result);
  }
  return result;
}

std::vector<message_ptr>
broker_link::receive(size_t max, milliseconds timeout) {
  return queue_->take(max, timeout);
}

caf::expected<void>
broker_link::send(const std::string& subject, const std::string& reply,
                  std::string_view payload) {
  if (!is_line_safe(subject) || (!reply.empty() && !is_line_safe(reply)))
    return bad_subject();
  auto size = static_cast<int>(payload.size());
  auto status
    = reply.empty()
        ? natsConnection_Publish(connection_, subject.c_str(), payload.data(),
                                 size)
        : natsConnection_PublishRequest(connection_, subject.c_str(),
                                        reply.c_str(), payload.data(), size);
  if (status != NATS_OK)
    return nats_error("cannot send to NATS", status);
  return {};
}

caf::expected<void>
broker_link::send_event(const std::string& subject, const std::string& reply,
                        const std::string& message_id,
                        std::string_view payload) {
  if (!is_line_safe(subject) || !is_line_safe(message_id))
    return bad_subject();
  natsMsg* raw = nullptr;
  auto status
    = natsMsg_Create(&raw, subject.c_str(), reply.c_str(), payload.data(),
                     static_cast<int>(payload.size()));
  message_ptr msg{raw, {&queue_->spent()}};
  if (status == NATS_OK)
    status = natsMsgHeader_Set(raw, "Nats-Msg-Id", message_id.c_str());
  if (status == NATS_OK)
    status
      = natsMsgHeader_Set(raw, "Content-Type", "application/cloudevents+json");
  if (status == NATS_OK)
    status = natsConnection_PublishMsg(connection_, raw);
  if (status != NATS_OK)
    return nats_error("cannot publish", status);
  return {};
}

caf::expected<std::string>
broker_link::request(const std::string& subject, std::string_view payload,
                     milliseconds timeout) {
  if (!is_line_safe(subject))
    return bad_subject();
  natsMsg* raw = nullptr;
  auto status
    = natsConnection_Request(&raw, connection_, subject.c_str(), payload.data(),
                             static_cast<int>(payload.size()), in_ms(timeout));
  message_ptr msg{raw};
  if (status != NATS_OK)
    return nats_error("no answer from NATS", status);
  return std::string{natsMsg_GetData(raw),
                     static_cast<size_t>(natsMsg_GetDataLength(raw))};
}

} // namespace tillstream::storage::jetstream

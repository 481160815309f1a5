#pragma once

#include "storage/ports/event_stream.hpp"

#include <caf/expected.hpp>

#include <nats/nats.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

/// @file storage/nats/broker_link.hpp
/// NATS.c, wrapped so that none of its threads calls us: they fill a queue.
/// Whoever wants messages waits for them on a thread of its own.

namespace tillstream::storage::jetstream {

class spent_messages;

/// Destroys a message, or leaves it to the link that it came from.
struct message_deleter {
  spent_messages* to = nullptr;

  void operator()(natsMsg* msg) const;
};

/// To be dropped before its link.
using message_ptr = std::unique_ptr<natsMsg, message_deleter>;

/// How long an administrative request may take.
constexpr auto request_timeout = std::chrono::seconds{5};

class inbox_queue;

/// A connection with one inbox, `<inbox>.*`, and the subjects that the settings
/// name. Thread-safe.
///
/// The client library reconnects by itself, for ever. What it gives up on
/// (say, a server that refuses us) is `closed`, and the owner opens another.
class broker_link {
public:
  static caf::expected<std::shared_ptr<broker_link>>
  open(const nats_settings& settings);

  broker_link(const broker_link&) = delete;
  broker_link& operator=(const broker_link&) = delete;
  ~broker_link();

  bool connected() const;

  bool closed() const;

  /// How often the library reconnected; each time messages may be lost.
  uint64_t reconnects() const;

  /// Makes `receive` return at once, now and ever after.
  void close();

  /// The reply subject `<inbox>.<token>`.
  std::string reply_subject(uint64_t token) const;

  /// Reads the token of a message to the inbox; 0: none, or no such message.
  uint64_t token_of(natsMsg* msg) const;

  /// Takes up to `max` messages, all that wait; if none does, waits for those
  /// that come together next (`nats_settings::batch_window`). Empty: none in
  /// time, or closed.
  std::vector<message_ptr>
  receive(size_t max, std::chrono::milliseconds timeout);

  /// Sends, or fails at once with `errc::unavailable`; nothing is kept for
  /// later. `errc::invalid`: a subject that the protocol can't carry.
  caf::expected<void> send(const std::string& subject, const std::string& reply,
                           std::string_view payload);

  /// The same with the headers of an event.
  caf::expected<void>
  send_event(const std::string& subject, const std::string& reply,
             const std::string& message_id, std::string_view payload);

  /// Sends and waits for the answer. `errc::not_found`: nobody answers
  /// requests to this subject; `errc::timeout`: none within `timeout`.
  caf::expected<std::string>
  request(const std::string& subject, std::string_view payload,
          std::chrono::milliseconds timeout = request_timeout);

private:
  broker_link();

  natsStatus listen(const std::string& subject);

  natsConnection* connection_ = nullptr;
  std::vector<natsSubscription*> subscriptions_;
  std::chrono::milliseconds batch_window_{0};
  std::string inbox_;
  std::shared_ptr<inbox_queue> queue_;
  mutable std::mutex stats_mutex_;
  natsStatistics* stats_ = nullptr;
};

using broker_link_ptr = std::shared_ptr<broker_link>;

} // namespace tillstream::storage::jetstream

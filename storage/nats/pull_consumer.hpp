#pragma once

#include "storage/nats/source_actions.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace tillstream::storage::jetstream {

/// The server keeps a request for messages at least for so long.
constexpr std::chrono::nanoseconds pull_expires_min = std::chrono::seconds{15};

/// How a request for messages ended.
enum class pull_end {
  /// As they do; ask again.
  renew,
  /// The server was busy; ask again a little later.
  refused,
  /// There is no consumer any more.
  lost,
  /// Not yet.
  none,
};

/// Reads the server's word on a request for messages.
pull_end classify(const pull_status& status);

/// A consumer at the server and the request to it that is under way. There is
/// at most one, so that whatever ends a request is known to end this one:
/// ```
///   idle ──create──> waiting ──answer──> idle
///   idle ──pull────> waiting ──filled, expired, refused──> idle
///                       └──consumer gone, connection lost──> given up
/// ```
class pull_consumer {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// Empty: there is no consumer.
  const std::string& name() const {
    return name_;
  }

  bool exists() const {
    return !name_.empty();
  }

  /// Of the request under way, or of the last one.
  uint64_t token() const {
    return token_;
  }

  /// Sends any request on behalf of whoever owns the consumer.
  void request(std::string what, std::string payload, uint64_t token,
               time_point now, source_actions& out);

  /// Has the server create the consumer.
  void create(std::string name, const std::string& stream, std::string config,
              uint64_t token, time_point now, source_actions& out);

  /// Takes a consumer that exists already.
  void adopt(std::string name);

  /// Has the server remove the consumer, if there is one.
  void remove(const std::string& stream, source_actions& out);

  /// Asks for messages. @pre `may_pull(now)`
  void pull(const std::string& stream, size_t count,
            std::chrono::nanoseconds expires, uint64_t token, time_point now,
            source_actions& out);

  /// Whether nothing is under way, and no refusal has just come.
  bool may_pull(time_point now) const {
    return !waiting_ && now >= not_before_;
  }

  bool waiting() const {
    return waiting_;
  }

  /// The answer to anything but a request for messages came.
  void answered() {
    waiting_ = false;
  }

  /// One of the messages that were asked for came.
  void received();

  /// The server says something about the request for messages.
  pull_end take_status(const pull_status& status, time_point now);

  /// Whether the server should have said something by now.
  bool overdue(time_point now) const {
    return waiting_ && deadline_ < now;
  }

private:
  std::string name_;
  uint64_t token_ = 0;
  bool waiting_ = false;
  /// Messages that the request may still bring.
  size_t expected_ = 0;
  time_point deadline_;
  /// No request for messages before.
  time_point not_before_;
};

} // namespace tillstream::storage::jetstream

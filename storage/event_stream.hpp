#pragma once

#include "messages/stream.hpp"

#include <caf/expected.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// @file storage/event_stream.hpp
/// The broker's side of the event log: publishing, pulling, administering.
/// Callbacks run on threads of the client library: they may do nothing but
/// hand their argument to an actor.

namespace tillstream::storage {

/// Publishes asynchronously, many in flight.
class event_publisher {
public:
  /// Acknowledgements, gathered.
  using ack_handler = std::function<void(std::vector<publish_ack>)>;

  /// After the destructor no callback runs any more.
  virtual ~event_publisher() = default;

  /// Hands one message over. Copies nothing that outlives the call.
  /// @returns `errc::unavailable` when not connected: not sent.
  virtual caf::expected<void>
  publish(uint64_t token, const std::string& subject,
          const std::string& message_id, std::string_view payload)
    = 0;

  virtual bool connected() const = 0;
};

using event_publisher_ptr = std::unique_ptr<event_publisher>;

/// Pulls by hand; one consumer a branch that is open, memory storage, explicit
/// acknowledgement. One connection and one subscription, whatever the number
/// of branches.
class event_source {
public:
  using delivery_handler = std::function<void(std::vector<delivery>)>;

  virtual ~event_source() = default;

  virtual caf::expected<stream_state> state() = 0;

  /// Creates a new consumer of the branch, to start at `first_seq`; what an
  /// older one still sends is dropped. Nothing comes before the first `fetch`.
  virtual caf::expected<void>
  open(const std::string& branch_id, uint64_t first_seq, uint64_t generation)
    = 0;

  virtual void close(const std::string& branch_id) = 0;

  /// Asks for up to `count` more messages of the branch; they arrive through
  /// the handler as they come, now or later. Requests add up, and are renewed
  /// by the source until they are filled.
  virtual caf::expected<void> fetch(const std::string& branch_id, size_t count)
    = 0;

  /// Acknowledges; fire and forget.
  virtual void ack(const std::vector<std::string>& replies) = 0;

  virtual bool connected() const = 0;
};

using event_source_ptr = std::unique_ptr<event_source>;

/// How the stream is to be (ARCHITECTURE, 15).
struct stream_settings {
  std::string name = "PURCHASES";
  std::string subjects = "purchases.created.*";
  int replicas = 1;
  /// Where a cluster of servers may put the stream: the name of a cluster, and
  /// tags that its servers must have. Empty: anywhere.
  std::string placement_cluster;
  std::vector<std::string> placement_tags;
  /// Days; at least the outbox's retention.
  int age_max_days = 8;
  int64_t bytes_max = int64_t{8} << 30;
};

struct nats_settings {
  /// `nats://user:password@host:port`, several with commas.
  std::string url;
  std::string client_name = "tillstream";
  stream_settings stream;
  /// Subjects that a connection listens to beside its inbox.
  std::vector<std::string> listen_to;
};

/// Creates the stream, or brings its settings up to date. Safe to repeat and
/// from two nodes at once. Checks that the server has JetStream and is 2.9 or
/// newer.
caf::expected<stream_state> ensure_stream(const nats_settings& settings);

caf::expected<event_publisher_ptr>
connect_publisher(const nats_settings& settings,
                  event_publisher::ack_handler on_ack);

caf::expected<event_source_ptr>
connect_source(const nats_settings& settings,
               event_source::delivery_handler on_delivery);

/// Reads the whole stream in order, for `verify`; calls `visit` with subject,
/// stream sequence and payload. Bounded by the last sequence at its start.
caf::expected<void>
scan_stream(const nats_settings& settings,
            const std::function<void(std::string_view, uint64_t,
                                     std::string_view)>& visit);

} // namespace tillstream::storage

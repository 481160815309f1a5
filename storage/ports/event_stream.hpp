#pragma once

#include "messages/model/stream.hpp"

#include <caf/expected.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// @file storage/ports/event_stream.hpp
/// The broker's side of the event log: publishing, pulling, administering.
/// Callbacks run on threads of the implementation, without any lock of it held:
/// they may do nothing but hand their argument to an actor.

namespace tillstream::storage {

/// Publishes asynchronously, many in flight.
class event_publisher {
public:
  /// Acknowledgements that came together.
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

/// Pulls by hand, from consumers in memory storage. One connection and one
/// subscription, whatever the number of branches.
///
/// A few branches have a consumer each, of which one acknowledgement is for
/// all messages before it, too. From
/// `nats_settings::shared_reader_min` on they share one, which reads the whole
/// stream: to find the next message of one branch among thousands a server
/// walks over all the others', with its store locked. For a branch that is
/// behind it the shared reader rewinds, or the branch gets a consumer of its
/// own until it has caught up.
class event_source {
public:
  using delivery_handler = std::function<void(std::vector<delivery>)>;

  virtual ~event_source() = default;

  virtual caf::expected<stream_state> state() = 0;

  /// The number of the branch's last message in the stream; 0: it has none.
  virtual caf::expected<uint64_t> last_seq(const std::string& branch_id) = 0;

  /// Starts the branch's deliveries anew at `first_seq`; what an earlier
  /// opening still sends is dropped. Nothing comes before the first `fetch`.
  virtual caf::expected<void>
  open(const std::string& branch_id, uint64_t first_seq, uint64_t generation)
    = 0;

  virtual void close(const std::string& branch_id) = 0;

  /// Asks for up to `count` more messages of the branch; they arrive through
  /// the handler as they come, now or later. Requests add up, and are renewed
  /// by the source until they are filled.
  virtual caf::expected<void> fetch(const std::string& branch_id, size_t count)
    = 0;

  /// Acknowledges the last of them and with it all of its consumer before it;
  /// fire and forget. What came by the shared reader needs none and has no
  /// reply.
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
  /// Open branches from which on they share a reader.
  size_t shared_reader_min = 64;
  /// Messages that the shared reader rewinds at most for branches that are
  /// behind it; a branch further behind gets a consumer of its own. It takes
  /// the server and us about a second to read as many again.
  uint64_t shared_rewind_max = 100'000;
  /// Subjects that a connection listens to beside its inbox.
  std::vector<std::string> listen_to;
  /// Whether a connection gets what it sends to a subject that it listens to.
  bool echo = true;
  /// How long the first event or acknowledgement after a pause waits for
  /// others, with which it is handed over.
  std::chrono::milliseconds receive_window{2};
  /// The same for any connection; publishers and sources set it to
  /// `receive_window`.
  std::chrono::milliseconds batch_window{0};
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

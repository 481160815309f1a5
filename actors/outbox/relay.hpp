#pragma once

#include "actors/outbox/commit_feed.hpp"
#include "actors/outbox/publish_queue.hpp"
#include "actors/runtime/backoff.hpp"
#include "actors/runtime/pacing.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/outbox.hpp"
#include "storage/ports/event_stream.hpp"
#include "storage/ports/outbox_store.hpp"

#include <caf/actor_clock.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace tillstream {

/// Tuning of the OUTBOX RELAY.
struct outbox_relay_options {
  /// Opens a session; runs on the relay's own thread.
  std::function<caf::expected<storage::outbox_store_ptr>()> open_store
    = nullptr;

  /// Connects to the broker, likewise. The handler may be called from any
  /// thread until the publisher is destroyed.
  std::function<caf::expected<storage::event_publisher_ptr>(
    storage::event_publisher::ack_handler)>
    connect = nullptr;

  /// Learns what a poll found: events that may have been committed elsewhere
  /// while their notices were lost. Null: nobody has to know.
  commit_feed_ptr feed = nullptr;

  /// Messages published and not yet acknowledged.
  size_t in_flight_max = limits::publish_in_flight_max;

  /// Notices in memory, in whatever state.
  size_t queue_max = limits::publish_queue_max;

  /// Rows of one page.
  size_t page_max = limits::relay_poll_max;

  /// Rows of one UPDATE.
  size_t confirm_max = limits::relay_poll_max;

  /// How long acknowledgements are collected before their rows are marked SENT.
  caf::timespan confirm_delay = pacing::confirm_window;

  caf::timespan poll_interval = limits::relay_poll_interval;

  caf::timespan publish_timeout = limits::publish_timeout;

  /// Least time between two rounds of publishing, while few events wait: what
  /// is committed meanwhile goes out together. The first after a pause goes at
  /// once. Zero: none. Each round wakes the client's threads, the broker and
  /// whoever reads from it; half of what an event costs all of them is that.
  caf::timespan batch_window = pacing::publish_window;

  /// With so many events waiting a round begins at once.
  size_t batch_max = 200;

  /// How long `drain` waits.
  caf::timespan drain_max = std::chrono::seconds{5};

  /// Seeds the jitter, together with the actor's id: several actors may be
  /// started with the same options.
  uint64_t seed = random_seed();
};

/// What the OUTBOX RELAY knows of the broker.
struct broker_health {
  /// While it is away: when to try again.
  std::optional<caf::actor_clock::time_point> paused_until;

  backoff retry{0};

  /// A publish was not answered in time, and none was since.
  bool unanswered = false;

  /// It is away, and the log says so.
  bool reported = false;
};

/// State of the OUTBOX RELAY.
struct outbox_relay_state {
  using time_point = caf::actor_clock::time_point;

  outbox_relay_state() = default;

  /// Answers whoever waits for `drain`.
  ~outbox_relay_state();

  static inline const char* name = "outbox-relay";

  outbox_relay_options options;

  std::optional<publish_queue> queue;

  session<storage::outbox_store> store;

  /// The database is away, and the log says so.
  bool store_reported = false;

  storage::outbox_floor floor;

  /// Where the slow poll goes on; 0: at the floor.
  int64_t scan_from = 0;

  time_point poll_at;

  /// No publishing before, while few events wait.
  time_point publish_at;

  /// When the backlog may be counted again.
  time_point backlog_at;

  broker_health broker;

  /// A `flush` is on its way.
  bool flush_sent = false;

  /// When the next `tick` is due.
  std::optional<time_point> wake;

  /// Who waits for `drain`, and until when.
  std::vector<std::pair<time_point, caf::typed_response_promise<bool>>> drains;

  /// Last, so that it is destroyed first: its callbacks end before the rest of
  /// the state does.
  session<storage::event_publisher> publisher;
};

/// The relay and its messages to itself.
using outbox_relay_impl = outbox_relay_actor::extend<
  // The broker answered.
  caf::reacts_to<atom::acked, publish_acks_ptr>,
  // Time for the slow poll, retries and time-outs.
  caf::reacts_to<atom::tick>,
  // Marks what was acknowledged.
  caf::reacts_to<atom::flush>>;

/// Publishes committed events and marks them SENT.
///
///   writer ── committed ──┐                    ┌── publish ──> broker
///                         ├──> publish_queue ──┤                 │
///   table ──── page ──────┘                    └── flush <─ acked ┘
///                                                    └──> table: SENT
///
/// - Promise: every committed event is published at least once, and marked
///   only after the broker acknowledged it. Within a branch events go out in
///   order of `seq`; after a failure they go out again from the first
///   unacknowledged one on.
/// - Thread: `caf::detached`, because the store blocks. The publisher's
///   callback does nothing but hand acknowledgements over.
/// - Limits: `queue_max` notices in memory, `in_flight_max` of them published
///   and not acknowledged. What does not fit waits in the table and is read
///   back page by page (see `publish_queue`).
/// - Failure: a branch that the broker refuses stops alone; a broker that is
///   away stops all, with backoff and jitter. Without the database it goes on
///   publishing what it has and marks later. A wake-up that was lost is found
///   by the slow poll. Ending at any point loses nothing: what is not marked
///   is published again by the next relay.
outbox_relay_impl::behavior_type
outbox_relay(outbox_relay_impl::stateful_pointer<outbox_relay_state> self,
             outbox_relay_options options);

} // namespace tillstream

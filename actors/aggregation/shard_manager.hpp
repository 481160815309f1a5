#pragma once

#include "actors/aggregation/aggregate_shard.hpp"
#include "actors/aggregation/pending_queries.hpp"
#include "actors/aggregation/repair_limiter.hpp"
#include "actors/aggregation/writer_pool.hpp"
#include "actors/cluster/lease.hpp"
#include "actors/directory/view.hpp"
#include "actors/runtime/backoff.hpp"
#include "actors/runtime/snapshot_holder.hpp"
#include "actors/runtime/supervisor.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/shard_load.hpp"
#include "messages/protocol/aggregation.hpp"
#include "messages/protocol/intake.hpp"
#include "messages/protocol/outbox.hpp"

#include <caf/actor_addr.hpp>
#include <caf/actor_clock.hpp>
#include <caf/local_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace tillstream {

/// Tuning and surroundings of SHARD MANAGER.
struct shard_manager_options {
  /// Queries are answered only while it holds. Null: for ever.
  lease_ptr lease = nullptr;

  /// Where it publishes its load. May be null.
  snapshot_holder_ptr<shard_load> load = nullptr;

  /// Where the branches' clocks and the database's are.
  directory_view_ptr view = nullptr;

  writer_pool_ptr writers = nullptr;
  aggregate_reader_actor reader = {};
  backlog_reader_actor purchases = {};
  outbox_relay_actor relay = {};

  /// Starts the STREAM CONSUMER under a supervisor of its own, to deliver to
  /// us. It ends with us, and its end is ours.
  std::function<stream_consumer_actor(shard_manager_actor)> start_consumer
    = nullptr;

  /// Starts one shard; tests put fakes here.
  std::function<aggregate_shard_actor(caf::local_actor* parent,
                                      aggregate_shard_options)>
    start_shard = spawn_aggregate_shard;

  /// Restarts of one branch's shard, and the backoff between them.
  supervisor_options restarts = {.name = "aggregate-shard"};

  /// Shards that load at the same time.
  size_t starts_max = limits::shard_starts_max;

  /// Events fetched and not yet applied, all branches together.
  size_t pending_max = limits::pending_events_max;

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();

  /// What all shards share when something must be repaired.
  repair_limiter_ptr gate = std::make_shared<repair_limiter>();
};

/// With what SHARD MANAGER says to itself.
using shard_manager_impl = shard_manager_actor::extend<
  // Restarts shards whose backoff is over.
  caf::reacts_to<atom::tick>,
  // Publishes the load, every second.
  caf::reacts_to<atom::flush>,
  // The time of this query of many branches is over.
  caf::reacts_to<atom::tick, uint64_t>>;

/// State of SHARD MANAGER.
struct shard_manager_state {
  using time_point = caf::actor_clock::time_point;

  /// What we know of a branch.
  ///
  ///               owned            slot free           loaded
  ///   not_owned ─────────> waiting ──────────> starting ─────> up
  ///    ^     ^               ^ ^                   │           │
  ///    │     │ not the owner │ │ ended, backoff    │           │
  ///    │     └───────────────┼─┴───────────────────┴───────────┤
  ///    │                     │                                 │ not ours any
  ///    │ gone, not owned     │ gone, owned                     │ more, or
  ///    │                     │ again                           │ another epoch
  ///    └───────────────── ending <─────────────────────────────┘
  enum class phase : uint8_t { not_owned, waiting, starting, up, ending };

  struct entry {
    phase at = phase::not_owned;
    /// What OWNERSHIP announced last.
    bool owned = false;
    int64_t epoch = 0;
    /// An epoch that the tables refused; OWNERSHIP may not know yet.
    int64_t refused = 0;
    aggregate_shard_actor shard;
    /// Before this it is not started.
    time_point not_before;
    /// How often it was started.
    uint64_t starts = 0;
    std::optional<detail::restart_policy> policy;
    /// How far the shard is behind, milliseconds; it writes that itself.
    std::shared_ptr<std::atomic<int64_t>> lag_ms
      = std::make_shared<std::atomic<int64_t>>(0);
  };

  shard_manager_state() = default;

  /// Answers whoever waits for the drain.
  ~shard_manager_state();

  static inline const char* name = "shards";

  shard_manager_options options;

  stream_consumer_actor consumer;

  std::map<std::string, entry, std::less<>> branches;

  /// Whose shard ended, by its address.
  std::map<caf::actor_addr, std::string> by_address;

  /// Of whose branches we know.
  int64_t incarnation = 0;
  /// OWNERSHIP has announced which branches are ours.
  bool announced = false;

  /// Somebody waits until the shards of these branches are gone.
  struct close_request {
    std::set<std::string, std::less<>> branches;
    caf::typed_response_promise<bool> promise;
  };
  std::vector<close_request> close_requests;

  /// Queries of many branches that wait for their shards.
  pending_queries queries;

  /// Shards that load their state.
  size_t starting = 0;

  /// A `tick` is on its way to ourselves.
  std::optional<time_point> wake;

  /// Set once we end; no shard is started any more.
  bool closing = false;
  std::optional<caf::error> end_reason;
  std::vector<caf::typed_response_promise<bool>> draining;
};

/// The supervisor of a node's AGGREGATE SHARDS, and their stable address.
///
/// Starts a shard for each branch that OWNERSHIP says is ours, a few at a time,
/// ends those of branches that are not, splits deliveries and notices by
/// branch, and answers queries of many branches with one message.
///
/// - Thread: cooperative; no handler blocks.
/// - Limits: `starts_max` shards load at once. The credit of all shards
///   together is about `pending_max`: each gets an equal part when it starts.
/// - Failure: a shard that ends is started again after a backoff; until then
///   its queries are answered `errc::unavailable`, notices and deliveries of
///   it are dropped (it reads them from the outbox and the stream). A shard
///   whose epoch is stale waits for what OWNERSHIP announces next. More than
///   `restarts.restarts_max` restarts of one branch in a window end us.
/// - Shutdown: an exit message, or `drain`, ends shards and consumer; each
///   shard finishes the apply that it has in flight.
/// @param self The actor handle.
/// @param options Moved into the state.
shard_manager_impl::behavior_type
shard_manager(shard_manager_impl::stateful_pointer<shard_manager_state> self,
              shard_manager_options options);

} // namespace tillstream

#pragma once

#include "actors/cluster/ownership_view.hpp"
#include "actors/directory/view.hpp"
#include "actors/query/answer.hpp"
#include "actors/query/plan.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/aggregation.hpp"
#include "messages/protocol/cluster.hpp"
#include "messages/protocol/query.hpp"

#include <caf/actor_clock.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace tillstream {

/// Tuning and surroundings of QUERY.
struct query_options {
  /// Who we are in the ownership table.
  std::string node = {};

  /// Answers for our own branches; null on a node without any.
  branch_queries_actor shards = {};

  /// Asks the owners of the others; null on a node that is alone.
  peers_actor peers = {};

  /// Answers for branches whose owner is away.
  fallback_reader_actor tables = {};

  /// Who owns what; null or empty: we own all.
  ownership_view_ptr owners = nullptr;

  /// Counts distinct customers of some of the branches.
  aggregate_reader_actor reader = {};

  /// Chain, clocks, and the database's time.
  directory_view_ptr view = nullptr;

  size_t in_flight_max = limits::queries_in_flight_max;

  /// How long the shards may take.
  caf::timespan shards_wait_max = limits::shard_answer_max;

  /// How long another node may take.
  caf::timespan peers_wait_max = limits::peer_answer_max;

  /// How long a query may take at all.
  caf::timespan answer_max = limits::query_answer_max;
};

/// State of QUERY.
struct query_state {
  using time_point = caf::actor_clock::time_point;

  /// The branches of a query (indexes into its plan), by who is asked.
  struct routes {
    /// SHARD MANAGER of this node.
    std::vector<size_t> here;
    /// Other nodes.
    std::map<std::string, std::vector<size_t>> elsewhere;
    /// The tables: nobody alive owns them.
    std::vector<size_t> nowhere;
  };

  /// A query that is being answered.
  struct running {
    analytics_plan plan;
    /// The same for waiting and asking, so that who saw the event is asked.
    routes where;
    answer_parts parts;
    std::string name;
    std::string trace_id;
    caf::typed_response_promise<http_reply_ptr> promise;
    time_point begun;
    /// Answers that this step still waits for.
    size_t missing = 0;
    /// Tells the steps apart: late answers of an earlier one count no more.
    int step = 0;
  };

  using running_ptr = std::shared_ptr<running>;

  query_state() = default;

  /// Answers whoever still waits.
  ~query_state();

  static inline const char* name = "query";

  query_options options;

  std::set<running_ptr> queries;
};

/// Answers the dashboard: asks the shards of the branches wherever they are,
/// merges, renders.
///
///   plan ──> after? ──> parts ──> distinct customers? ──> render
///               │         │              │
///               │         └──────────────┴─> 503 if one part fails
///               └─> waits until one shard has the event, or time is up
///
/// A branch's part comes from the first of these that gives it:
///
///   owned here ──> SHARD MANAGER ──────────┐ not the owner, restarting, late
///   owned elsewhere ──> PEERS ──────┼─> FALLBACK READER
///   owned by nobody alive ──────────┘
///
/// - Promise: an answer is whole or there is none: when one part can't be had
///   it is `503` with `Retry-After`, never a sum that lacks a branch. All nodes
///   render the same parts to the same bytes.
/// - Thread: cooperative; no handler blocks.
/// - Limits: `in_flight_max` queries; above that `503`. Every query ends
///   within `answer_max`. One message a node and query, whatever the number
///   of its branches.
/// - Failure: when it ends, its state answers whoever waits.
/// @param self The actor handle.
/// @param options Moved into the state.
query_actor::behavior_type
query(query_actor::stateful_pointer<query_state> self, query_options options);

} // namespace tillstream

#pragma once

#include "actors/runtime/backoff.hpp"
#include "actors/runtime/reconnecting.hpp"
#include "messages/codec/peer_codec.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/aggregation.hpp"
#include "messages/protocol/cluster.hpp"
#include "storage/ports/peer_link.hpp"

#include <caf/actor_clock.hpp>
#include <caf/expected.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace tillstream {

/// Tuning and surroundings of PEERS.
struct peers_options {
  /// Who we are to the other nodes.
  std::string node = {};

  /// Connects on our own thread; the handler runs on another.
  std::function<caf::expected<storage::peer_link_ptr>(
    storage::peer_link::message_handler)>
    connect = nullptr;

  /// Answers the other nodes; null on a node without branches.
  branch_queries_actor::extend_with<commit_listener_actor> shards = {};

  /// Queries of other nodes at once, and of ours that wait, each.
  size_t queries_max = limits::peer_queries_max;

  /// How long a node that did not answer in time is left alone.
  caf::timespan suspect_max = limits::peer_suspect_max;

  /// How often it checks connection and time-outs.
  caf::timespan check_interval = std::chrono::seconds{1};

  /// Seeds the backoff's jitter.
  uint64_t seed = random_seed();
};

/// With what PEERS says to itself.
using peers_impl = peers_actor::extend<
  // Messages of other nodes arrived.
  caf::reacts_to<atom::deliver, peer_messages_ptr>,
  // Time-outs; connects again.
  caf::reacts_to<atom::tick>>;

/// State of PEERS.
struct peers_state {
  using time_point = caf::actor_clock::time_point;

  /// We asked another node and wait.
  struct asked {
    std::string node;
    caf::typed_response_promise<peer_answer_ptr> promise;
    time_point deadline;
    peer_answer_reader answer;
  };

  /// Another node asked us.
  struct answering {
    std::string reply_to;
    peer_query query;
    peer_answer answer;
    /// `after`: branches that have not answered.
    size_t missing = 0;
    bool done = false;
  };

  using answering_ptr = std::shared_ptr<answering>;

  peers_state() = default;

  /// Answers whoever still waits.
  ~peers_state();

  static inline const char* name = "peers";

  peers_options options;

  std::map<uint64_t, asked> waiting;
  uint64_t last_token = 0;

  /// Queries of other nodes that we work on.
  size_t working = 0;

  /// Until when a node is not asked.
  std::map<std::string, time_point> suspects;

  time_point next_tick;

  /// There is no connection, and that was logged.
  bool away = false;

  /// Last, so that it is destroyed first: its handler ends before the rest of
  /// the state does.
  session<storage::peer_link> link;
};

/// The other nodes: asks them for their branches, answers for ours, and passes
/// on what was committed where.
///
///   QUERY ── ask ──> PEERS ── query ──> PEERS of the owner ──> SHARD MANAGER
///                      ^                        │
///                      └── answer, in parts ────┘
///
/// - Promise: whoever asks is answered by the deadline of the query, with
///   what the other node said whole, or with an error: never with a part.
/// - Notices: one message a commit of a TRANSACTION WRITER, sent when it is
///   committed. One that is lost is found in the outbox: OUTBOX RELAY polls it,
///   and after a lost connection the shards compare their backlog with it.
/// - Thread: `caf::detached`, because the client library blocks.
/// - Limits: `queries_max` each way; beyond it `errc::overloaded`. Parts and
///   rows of an answer as in limits.hpp.
/// - Failure: without a connection `errc::unavailable`. A node that is too late
///   is not asked again for `suspect_max`. Broken messages are counted and
///   dropped.
/// @param self The actor handle.
/// @param options Moved into the state.
peers_impl::behavior_type
peers(peers_impl::stateful_pointer<peers_state> self, peers_options options);

} // namespace tillstream

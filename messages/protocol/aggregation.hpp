#pragma once

#include "messages/model/apply.hpp"
#include "messages/model/purchase.hpp"
#include "messages/model/queries.hpp"
#include "messages/model/readiness.hpp"
#include "messages/model/stream.hpp"
#include "messages/protocol/fwd.hpp"

#include <caf/replies_to.hpp>

/// @file messages/protocol/aggregation.hpp
/// What the actors of actors/aggregation may be asked. Each alias is one actor;
/// each signature carries one line that says what the message asks for.

namespace tillstream {

/// The STREAM CONSUMER interface.
using stream_consumer_actor = caf::typed_actor<
  // Starts a branch's deliveries at a stream sequence; `generation` comes
  // back with each delivery.
  caf::reacts_to<atom::open, std::string, uint64_t, uint64_t>,
  // Ends them.
  caf::reacts_to<atom::close, std::string>,
  // Gives credit for more messages of a branch.
  caf::reacts_to<atom::fetch, std::string, uint64_t>,
  // Acknowledges applied messages.
  caf::reacts_to<atom::ack, strings_ptr>,
  // The stream as the broker tells it.
  caf::replies_to<atom::state>::with<stream_state>,
  // The number of a branch's last message in the stream; 0: it has none.
  caf::replies_to<atom::state, std::string>::with<uint64_t>>;

/// The AGGREGATE WRITER interface.
using aggregate_writer_actor = caf::typed_actor<
  // Applies one branch's batch, together with those of other branches.
  caf::replies_to<atom::apply, apply_request_ptr>::with<apply_outcome_ptr>,
  caf::replies_to<atom::ready>::with<readiness>>;

/// The AGGREGATE READER interface: a pool of them is one address.
using aggregate_reader_actor = caf::typed_actor<
  // Loads a branch's state.
  caf::replies_to<atom::load, std::string>::with<branch_state_ptr>,
  // Loads a piece of a branch's tables.
  caf::replies_to<atom::load, slice_request>::with<slice_ptr>,
  // Tells whether a session is open.
  caf::replies_to<atom::ready>::with<readiness>>;

/// The AGGREGATE SHARD interface: one branch.
using aggregate_shard_actor = caf::typed_actor<
  // Messages of the branch's subject.
  caf::reacts_to<atom::deliver, delivery_ptr>,
  // These events of the branch are committed and on their way.
  caf::reacts_to<atom::committed, commit_notices_ptr>,
  // Answers its part of a query.
  caf::replies_to<atom::ask, shard_query_ptr>::with<shard_answer_ptr>,
  // Waits until an event is applied; false after `limits::after_wait_max`.
  caf::replies_to<atom::after, uuid>::with<bool>,
  // Notices may have been missed: compares with the outbox again.
  caf::reacts_to<atom::poll>>;

/// What STREAM CONSUMER says to SHARD MANAGER.
using delivery_sink_actor = caf::typed_actor<
  // Messages of any mix of branches.
  caf::reacts_to<atom::deliver, deliveries_ptr>>;

/// What SHARD MANAGER is told of commits.
using commit_listener_actor = caf::typed_actor<
  // From the TRANSACTION WRITERS; any mix of branches.
  caf::reacts_to<atom::committed, commit_notices_ptr>,
  // Notices of other nodes may have been missed.
  caf::reacts_to<atom::poll>>;

/// What QUERY and PEERS ask SHARD MANAGER.
using branch_queries_actor = caf::typed_actor<
  // Asks the shard of a branch.
  caf::replies_to<atom::ask, std::string,
                  shard_query_ptr>::with<shard_answer_ptr>,
  // Asks the shards of many branches; one answer with all parts.
  caf::replies_to<atom::request, shard_queries_ptr>::with<shard_answers_ptr>,
  // Waits until an event of a branch is applied.
  caf::replies_to<atom::after, std::string, uuid>::with<bool>>;

/// What OWNERSHIP says to SHARD MANAGER.
using branch_control_actor = caf::typed_actor<
  // This incarnation of the node owns these branches from now on, and no
  // others.
  caf::reacts_to<atom::update, int64_t, ownerships_ptr>,
  // Ends the shards of these branches; true when they are gone.
  caf::replies_to<atom::close, strings_ptr>::with<bool>,
  // Ends all shards; true when they are gone.
  caf::replies_to<atom::drain>::with<bool>>;

/// The SHARD MANAGER interface: supervisor of all shards of a node and their
/// stable address. Whoever needs a part of it holds a handle to that part.
using shard_manager_actor = delivery_sink_actor::extend_with<
  commit_listener_actor>::extend_with<branch_queries_actor>::
  extend_with<branch_control_actor>::extend<
    // Ready while all of the node's branches have a shard that has loaded.
    caf::replies_to<atom::ready>::with<readiness>>;

} // namespace tillstream

#pragma once

#include "actors/aggregation/aggregate_shard.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"

#include <caf/stateful_actor.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// @file actors/aggregation/aggregate_shard_steps.hpp
/// What the parts of the AGGREGATE SHARD's source call of each other; nobody
/// else includes it.

namespace tillstream::shard_steps {

using self_pointer
  = aggregate_shard_impl::stateful_pointer<aggregate_shard_state>;
using work = aggregate_shard_state::work;
using time_point = aggregate_shard_state::time_point;

constexpr auto tick_interval = std::chrono::seconds{1};

inline const std::string& branch_of(self_pointer self) {
  return self->state.options.branch_id;
}

inline time_point now_of(self_pointer self) {
  return self->clock().now();
}

inline void
warn(self_pointer self, std::string_view event, const caf::error& why) {
  log::warning(event, {{"branch", branch_of(self)}, {"error", describe(why)}});
}

inline void tick_at(self_pointer self, time_point when) {
  self->scheduled_send(self, when, atom::tick_v);
}

// -- aggregate_shard.cpp: what to do next

/// Starts whatever should be under way now.
void step(self_pointer self);

/// Ends the long waits of an idle branch: something is to be done.
void tick_soon(self_pointer self);

/// Answers the queries whose slices are all there.
/// @returns what the next one needs.
std::optional<slice_request> answer_queries(self_pointer self);

void fail_queries(self_pointer self, const caf::error& why);

/// Answers these waiters.
void release(const std::vector<caf::typed_response_promise<bool>>& waiters,
             bool is_applied);

/// Releases those whose event was applied.
void release_applied(self_pointer self);

/// Drops the cache, which may differ from the tables, and loads it again.
void invalidate_cache(self_pointer self);

/// Moves the cursor into another incarnation of the stream.
void adopt_incarnation(self_pointer self);

// -- aggregate_shard_reads.cpp: slices, event log, backlog

/// Logs one warning until a read succeeds.
void read_failed(self_pointer self, const caf::error& why);

/// Loads a slice. @pre nothing is under way
void read_for_query(self_pointer self, const slice_request& what);

/// Looks up events in the event log, if that is due. @returns whether it is.
/// @pre nothing is under way
bool read_event_log(self_pointer self);

/// Reads what is committed, if that is due.
void sync_backlog(self_pointer self);

// -- aggregate_shard_stream.cpp: deliveries, data loss, stalls

/// Takes the next step towards open deliveries.
void follow_stream(self_pointer self);

void deliver(self_pointer self, const delivery& x);

/// Asks for more messages, if there is credit for many.
void fetch(self_pointer self);

void ack(self_pointer self, std::vector<std::string> replies);

/// Compares the stream's incarnation with the cursor's from time to time.
void check_incarnation(self_pointer self);

/// Finds out why something is pending and nothing comes. A few branches at a
/// time: when all of them wait it is for the same reason.
void check_stall(self_pointer self);

} // namespace tillstream::shard_steps

#pragma once

#include "actors/aggregation/branch_cache.hpp"
#include "actors/directory/view.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/queries.hpp"
#include "messages/protocol/aggregation.hpp"
#include "messages/protocol/intake.hpp"
#include "messages/protocol/query.hpp"

#include <caf/actor_clock.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace tillstream {

/// Tuning and surroundings of the FALLBACK READER.
struct fallback_reader_options {
  aggregate_reader_actor reader = {};
  backlog_reader_actor purchases = {};

  /// Where the branches' clocks and the database's are.
  directory_view_ptr view = nullptr;

  /// Branches that are read at the same time.
  size_t at_once = limits::fallback_answers_max;

  /// Branches that wait for their turn.
  size_t queue_max = limits::branches_max;

  /// Waiters for events; one check of the event log is for all of them.
  size_t waiters_max = limits::branches_max;

  /// How long a branch may take, its wait included.
  caf::timespan answer_max = limits::shard_answer_max;

  /// How often the event log is checked for the waiters.
  caf::timespan check_interval = limits::table_after_interval;
};

/// State of the FALLBACK READER.
struct fallback_reader_state {
  using time_point = caf::actor_clock::time_point;

  /// A branch that is being read.
  struct job {
    std::string branch_id;
    shard_query_ptr query;
    caf::typed_response_promise<shard_answer_ptr> promise;
    time_point deadline;
    bool done = false;
    /// How often it began; something was applied meanwhile.
    int attempts = 0;
    /// By the database's clock, before the tables were read.
    timestamp read_at;
    std::optional<branch_cache> cache;
    /// Committed lately: in the tables, or pending.
    std::vector<commit_notice> notices;
  };

  using job_ptr = std::shared_ptr<job>;

  /// Somebody waits for an event.
  struct waiter {
    uuid event_id;
    /// One of these must have it.
    strings_ptr branches;
    caf::typed_response_promise<bool> promise;
    time_point deadline;
  };

  fallback_reader_state() = default;

  /// Answers all that is queued, running or waiting.
  ~fallback_reader_state();

  static inline const char* name = "fallback-reader";

  fallback_reader_options options;

  std::deque<job_ptr> queue;
  std::set<job_ptr> running;

  std::vector<waiter> waiters;
  /// A check of the event log is in flight.
  bool checking = false;
  bool tick_scheduled = false;
};

/// FALLBACK READER as it sees itself.
using fallback_reader_impl = fallback_reader_actor::extend<
  // Time to check the event log again, and for time-outs.
  caf::reacts_to<atom::tick>>;

/// Answers for branches whose owner is away, from the tables that the owner
/// would have loaded: the same numbers as of its last commit.
///
///   state ──> slices ──> outbox ──> event log ──> answer
///     ^         │                      │
///     └─────────┴── applied meanwhile ─┘
///
/// - Promise: `as_of`, pending and lag are true: what the outbox has and the
///   event log does not is pending. When an owner applies events all the time,
///   or the outbox can't be read, the answer says what the cursor says, and no
///   lag. Who waits for an event is answered within `limits::after_wait_max`
///   and `check_interval`, whether the event log can be read or not.
/// - Thread: cooperative; no handler blocks.
/// - Limits: `at_once` branches are read, `queue_max` wait, `waiters_max` wait
///   for events; each is answered within its time.
/// - Failure: a read that fails fails the branch; a check of the event log that
///   fails is repeated; when the actor ends, its state answers whatever is
///   left.
/// @param self The actor handle.
/// @param options Moved into the state.
fallback_reader_impl::behavior_type fallback_reader(
  fallback_reader_impl::stateful_pointer<fallback_reader_state> self,
  fallback_reader_options options);

} // namespace tillstream

#pragma once

#include "actors/intake/commit_pacer.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/intake.hpp"

#include <caf/actor_clock.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tillstream {

/// A TRANSACTION WRITER, or its supervisor, and where its purchases are
/// counted.
struct counted_writer {
  transaction_writer_actor handle;
  arrivals_ptr arriving = std::make_shared<arrivals>();
};

/// Tuning of ADMISSION.
struct admission_options {
  /// The order counts: a branch belongs to one of them.
  std::vector<counted_writer> writers = {};

  /// With fewer purchases in flight the first writer gets all. A retry may then
  /// come to another writer than its first attempt: it finds a held lock, and
  /// waits.
  size_t spread_min = 0;

  /// Purchases admitted and not yet answered.
  size_t in_flight_max = limits::purchases_in_flight_max;

  /// A writer answers in seconds, or ends and is answered for. This only keeps
  /// a lost answer from costing its place for ever, so it is far above what a
  /// blocked session may take: a place that is given back too early would let
  /// the writers' queues grow beyond their bound. Looked after when the next
  /// purchase comes: a timer for each costs two wake-ups of the clock's thread.
  caf::timespan answer_max = std::chrono::minutes{5};
};

/// A purchase that a writer has.
struct admitted_purchase {
  caf::typed_response_promise<record_result> promise;

  /// The answer is lost then.
  caf::actor_clock::time_point deadline;
};

/// Whether a writer is ready, while the writers are asked.
struct ready_query {
  caf::typed_response_promise<readiness> promise;

  /// Writers that did not answer yet.
  size_t open = 0;
};

/// State of ADMISSION.
struct admission_state {
  admission_state() = default;

  /// Answers whoever waits.
  ~admission_state();

  static inline const char* name = "request-intake";

  admission_options options;

  uint64_t last_id = 0;

  /// Who waits for a writer, in the order of the deadlines.
  std::map<uint64_t, admitted_purchase> in_flight;

  std::unordered_map<uint64_t, ready_query> queries;

  bool draining = false;

  /// Who waits until `in_flight` is empty.
  std::vector<caf::typed_response_promise<bool>> drained;
};

/// The door to the TRANSACTION WRITERS.
///
/// - Promise: admits at most `in_flight_max` purchases at a time and answers
///   each once. Under load all purchases of a branch go to one writer, so that
///   retries of a till meet their first attempt in the same batch, not in a
///   lock.
/// - Thread: cooperative; no handler blocks.
/// - Limits: holds the credits that bound every queue behind it.
/// - Failure: a place is given back when the writer answers, or when CAF
///   answers for a writer that is gone. When the intake itself ends, whoever
///   waits gets `errc::in_doubt`: the writer goes on without it.
/// @param self The actor handle.
/// @param options Moved into the state.
admission_actor::behavior_type
admission(admission_actor::stateful_pointer<admission_state> self,
          admission_options options);

/// Which of `writers` a branch belongs to: FNV-1a (64 bits) of the id, so the
/// same on every node and in every build. @pre `writers > 0`
size_t writer_of(std::string_view branch_id, size_t writers);

} // namespace tillstream

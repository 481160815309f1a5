#pragma once

#include <chrono>

/// @file actors/runtime/pacing.hpp
/// All batch windows in one place: how long something waits for more of its
/// kind, so that it costs one transaction or one wake-up less. Sizes and
/// time-outs are in messages/core/limits.hpp.
///
///     a sale ── commit_window_max ──> 201
///                                      └─ publish_window ──> broker ──┐
///     seen <── apply_batch_window <── apply_window <── receive_window ┘

namespace tillstream::pacing {

using namespace std::chrono_literals;

// -- until the till has its answer --------------------------------------------

/// From one small commit of purchases to the next at most. A commit costs the
/// machine as much as five purchases, so under load it is the many small ones
/// that make sales wait (docs/decisions/0018).
constexpr auto commit_window_max = 10ms;

// -- from the answer to the dashboard -----------------------------------------

/// Between two rounds of publishing, while sales come one after the other.
constexpr auto publish_window = 12ms;

/// For messages of the broker that come one after the other: events on their
/// way in, and acknowledgements of those on their way out.
constexpr auto receive_window = 2ms;

/// Between two applies of a branch, on a grid that all branches share: half of
/// what a sale may take to be seen goes into this, and saves a third of the
/// pipeline's work.
constexpr auto apply_window = 12ms;

/// For the applies of branches that come at the same moment of the grid, into
/// one transaction of the aggregates.
constexpr auto apply_batch_window = 1ms;

// -- beside the way -----------------------------------------------------------

/// Between two UPDATEs that mark events SENT: one for each acknowledgement
/// would cost the tills' commits their share of the disk, and the events
/// behind it have to wait. What is not marked when a node dies is published
/// twice, and known by its id.
constexpr auto confirm_window = 100ms;

// -- what must match ----------------------------------------------------------

/// What the windows add to the time from an answer until the sale is seen, at
/// the worst; on average half of it.
constexpr auto visible_budget
  = publish_window + receive_window + apply_window + apply_batch_window;

/// P4 (docs/performance.md) measures the whole; what the windows leave of it is
/// for two commits and the broker.
static_assert(visible_budget <= 30ms);

/// The shards wait as long as the relay, so that events of one round of
/// publishing are applied in one round, and fewer rounds of the relay delay
/// nobody.
static_assert(publish_window == apply_window);

/// What one round of the relay sent is handed over before its next one.
static_assert(receive_window < publish_window);

/// A commit of the aggregates is over before the grid's next moment.
static_assert(apply_batch_window * 4 < apply_window);

/// Rows are marked for several rounds at once.
static_assert(confirm_window > 4 * publish_window);

} // namespace tillstream::pacing

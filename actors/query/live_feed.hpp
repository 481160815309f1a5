#pragma once

#include "actors/directory/view.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/http.hpp"
#include "messages/protocol/query.hpp"

#include <caf/actor_clock.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tillstream {

/// A page that wants to be told what changes.
struct live_listener {
  http_stream_ptr stream;
  /// Who listens; asked again each time whether he still may.
  principal who;
  /// `Last-Event-ID`: the state that the page has; empty: none.
  std::string known_id;
};

/// Tuning and surroundings of the LIVE FEED.
struct live_feed_options {
  query_actor query;
  directory_view_ptr view;
  caf::timespan interval = limits::live_interval;
  caf::timespan heartbeat = limits::live_heartbeat;
};

/// State of the LIVE FEED.
struct live_feed_state {
  using time_point = caf::actor_clock::time_point;

  live_feed_state() = default;

  static inline const char* name = "live-feed";

  struct listener {
    live_listener_ptr who;
    /// When something was sent last.
    time_point told;
  };

  live_feed_options options;
  std::vector<listener> listeners;
  /// The last state: its id, and the answer that told it.
  std::string id;
  std::string summary;
  /// How far it reaches: `as_of`, `pending_events`, `lag_ms`.
  std::string progress;
  bool is_pending = false;
  /// Why there is no newer state; empty: there is.
  std::string trouble;
  /// A query is on its way, or a tick.
  bool busy = false;
  time_point asked;
};

/// Tells pages what changes, as server-sent events:
///
/// ```
///  event: summary   id: <state>   the answer of /analytics/summary
///  event: progress                as_of, pending_events, lag_ms: no new
///  numbers event: trouble                 there is no newer state at the
///  moment event: over                    signed out, or the key was revoked
/// ```
///
/// The id is a digest of the numbers, so it is the same on every node: a page
/// that comes back with the `Last-Event-ID` of the current state, wherever, is
/// only told how far that reaches.
///
/// - Promise: at most one event a second and page; at least one each heartbeat.
/// - Thread: cooperative; no handler blocks.
/// - Limits: one query a second to QUERY, whatever the number of pages, and
///   fewer when the answer is large; pages are bounded by the edge's streams.
///   A slow page misses states instead of queueing them.
/// - Failure: when it ends, its streams do, and the pages come again.
live_feed_actor::behavior_type
live_feed(live_feed_actor::stateful_pointer<live_feed_state> self,
          live_feed_options options);

/// What a summary says, told apart from how far it reaches.
struct live_summary {
  /// Digest of the numbers.
  std::string id;
  /// JSON of `as_of`, `pending_events`, `lag_ms`.
  std::string progress;
  bool is_pending = false;
};

/// @returns nothing when `json` is no answer of `/analytics/summary`.
std::optional<live_summary> read_summary(std::string_view json);

} // namespace tillstream

#pragma once

#include "actors/directory/view.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/http.hpp"
#include "messages/model/queries.hpp"
#include "messages/protocol/query.hpp"

#include <caf/actor_clock.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <string>
#include <vector>

namespace tillstream {

/// A page that wants to be told what changes.
struct live_listener {
  http_stream_ptr stream;
  /// Who listens; asked again each time whether he still may.
  principal who;
  /// `Last-Event-ID`: the version that the page has; empty: none.
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
    time_point sent_at;
    /// He may not listen any more, and is to be told so.
    bool is_over = false;
  };

  live_feed_options options;
  std::vector<listener> listeners;
  /// The latest answer; its version is empty while there is none.
  query_reply latest;
  /// The last query brought no answer.
  bool failing = false;
  /// A query is in flight, or a tick.
  bool busy = false;
  time_point requested_at;
};

/// LIVE FEED as it sees itself.
using live_feed_impl = live_feed_actor::extend<
  // Time for the next query.
  caf::reacts_to<atom::tick>>;

/// Tells pages what changes, as server-sent events:
///
///   event: summary    the answer of /analytics/summary; its id is the version
///   event: progress   as_of, pending_events, lag_ms: the numbers are the same
///   event: trouble    there is no newer answer at the moment
///   event: over       signed out, or the key was revoked: the stream ends
///
///   idle ──a page opens──> query ──reply──> announce ──> pause ──tick──> query
///    ^                                                     │
///    └────────────────── nobody listens ───────────────────┘
///
/// The version is a digest of the numbers, so it is the same on every node: a
/// page that comes back with the `Last-Event-ID` of the current state,
/// wherever, is only told how far that reaches.
///
/// - Promise: at most one event a second and page; at least one each heartbeat.
/// - Thread: cooperative; no handler blocks.
/// - Limits: one query a second to QUERY, whatever the number of pages, and
///   fewer when the answer is large; pages are bounded by the edge's streams.
///   A slow page misses states instead of queueing them.
/// - Failure: when it ends, its streams do, and the pages come again.
live_feed_impl::behavior_type
live_feed(live_feed_impl::stateful_pointer<live_feed_state> self,
          live_feed_options options);

} // namespace tillstream

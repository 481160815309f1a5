#pragma once

#include "messages/core/limits.hpp"
#include "messages/core/time.hpp"

#include <chrono>
#include <cstdint>

/// @file actors/aggregation/stall_detector.hpp
/// Why pending events do not come. No actor: a plain class.

namespace tillstream {

/// Finds out why a branch has pending events and the stream delivers none, one
/// cheap question after the other.
///
///               silent for `wait_`         SENT long ago, not applied
///   listening ─────────────────────> outbox ─────────────────> stream
///     ^  ^                             │                         │
///     │  └─────────────────────────────┘                         │
///     │     not SENT, no answer, a delivery                      │
///     └──────────────────────────────────────────────────────────┘
///        open again, or publish again what the stream does not have
///
/// The owner probes and takes the steps; an answer counts only if nothing was
/// delivered meanwhile (`still_silent`). Each repair doubles the wait before
/// the next, up to `limits::stall_max`.
class stall_detector {
public:
  using time_point = std::chrono::steady_clock::time_point;
  using duration = std::chrono::steady_clock::duration;

  /// What the owner does next.
  enum class step : uint8_t {
    /// Nothing: the relay is behind, and waiting is all there is to do.
    wait,
    /// A notice may have come late, for what is applied.
    check_event_log,
    probe_stream,
    /// The stream has the events, or may have them.
    reopen,
    /// The stream does not have them.
    republish,
  };

  /// The deliveries were opened.
  void opened(time_point now) {
    heard_at_ = now;
  }

  /// Something was delivered.
  void heard(time_point now);

  /// Tells whether an event should have come by now.
  /// @param oldest When the oldest pending event was recorded.
  /// @param db_now The database's clock, as `oldest`.
  bool is_overdue(time_point now, timestamp oldest, timestamp db_now) const;

  /// A probe of the outbox begins.
  void begin() {
    silent_since_ = heard_at_;
  }

  /// Whether nothing came since `begin`.
  bool still_silent() const {
    return heard_at_ == silent_since_;
  }

  /// @param sent_for How long the oldest event has been SENT, negative: it is
  ///                 not.
  /// @param checked_at When the event log was last asked about what is pending.
  step outbox_answered(std::chrono::milliseconds sent_for, time_point now,
                       time_point checked_at);

  /// @param may_lack_events Whether the stream ends where the deliveries do
  ///                        and all that is pending is known.
  step stream_answered(bool may_lack_events) const;

  /// A probe got no answer.
  void probe_failed(time_point now) {
    heard_at_ = now;
  }

  /// The branch is opened, or published, again.
  void repaired();

private:
  /// Last sign of life from the stream.
  time_point heard_at_;
  /// `heard_at_` when the probe of the outbox began.
  time_point silent_since_;
  duration wait_ = limits::stall_min;
};

} // namespace tillstream

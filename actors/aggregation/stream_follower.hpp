#pragma once

#include "actors/aggregation/branch_inbox.hpp"
#include "actors/runtime/backoff.hpp"
#include "messages/model/aggregates.hpp"
#include "messages/model/stream.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// @file actors/aggregation/stream_follower.hpp
/// How a branch follows its subject of the stream. No actor: a plain class.

namespace tillstream {

/// Opens the deliveries behind the branch's cursor, and makes sure first that
/// the stream still is what the cursor belongs to.
///
///             start           probe           state of the stream
///   closed ─────────> waiting ─────> probing ─────────────────────> probed
///                     ^  ^  ^           │                           │ │ │ ^
///                     │  │  └───────────┘ no answer                 │ │ │ │
///                     │  │    adopt: another incarnation, and       │ │ │ │
///                     │  └──────────────────────────────────────────┘ │ │ │
///                     │       nothing is missing in it                │ │ │
///                     │                                               │ │ │
///                     │       the stream lost data                    │ │ │
///                     │               republishing <──────────────────┘ │ │
///                     │                    └────────────────────────────┼─┘
///                     │  gap, redelivery, lost connection, stall        │
///                     └───────────────────────────── following <────────┘
///                                                     same incarnation
///
/// `close` leads from everywhere to `closed`. What is probed is the owner's to
/// ask; an answer that comes when its phase is over is ignored.
class stream_follower {
public:
  using time_point = std::chrono::steady_clock::time_point;

  enum class phase : uint8_t {
    closed,
    waiting,
    probing,
    probed,
    republishing,
    following,
  };

  /// What the owner does next.
  enum class step : uint8_t { none, probe, open, adopt, reopen, republish };

  /// How to open a branch's deliveries.
  struct opening {
    uint64_t first_seq = 0;
    uint64_t generation = 0;
    uint64_t credit = 0;
  };

  /// @param generation The deliveries' generations are above.
  /// @param seed Of the backoff's jitter.
  stream_follower(std::string branch_id, size_t fetch_max, uint64_t generation,
                  uint64_t seed);

  phase at() const {
    return phase_;
  }

  bool is_following() const {
    return phase_ == phase::following;
  }

  branch_inbox& inbox() {
    return inbox_;
  }

  const branch_inbox& inbox() const {
    return inbox_;
  }

  /// The state that the cursor belongs to is dropped.
  void close();

  /// The state is loaded. @pre `at() == phase::closed`
  void start(time_point now);

  /// Drops what was delivered. @returns when to open again: a little later.
  /// @pre `at() != phase::closed`
  time_point reopen(time_point now);

  /// As `reopen`; logs and counts the reason.
  time_point reopen(time_point now, branch_inbox::trouble reason);

  /// @param backlog_synced Whether it is known what is missing in a stream
  ///                       that lost data.
  step next(const branch_cursor& cursor, bool backlog_synced, time_point now);

  /// The stream's state is being asked for.
  void probe_sent();
  void probe_answered(const stream_state& x);

  /// @returns the deliveries to ask for.
  opening open(const branch_cursor& cursor, time_point now);

  /// The cursor is being moved. @returns the incarnation that it moves into.
  std::string adopt(const branch_cursor& cursor);

  /// Too many others have events published again.
  void postpone(time_point until) {
    open_at_ = until;
  }

  /// What is missing is being published again.
  /// @returns the incarnation that it is missing in.
  std::string republish(const branch_cursor& cursor);
  void republished(const std::string& incarnation);

  /// Events were applied: the deliveries are all right.
  void applied() {
    open_wait_.reset();
  }

  /// Whether the stream's incarnation is to be compared with the cursor's:
  /// a broker that came back without its disk hands out old numbers without a
  /// word. Counts as done.
  bool take_check(time_point now);

  /// Compares them.
  static bool is_other(const branch_cursor& cursor, const stream_state& stream);

private:
  void
  report_data_loss(const branch_cursor& cursor, const std::string& incarnation);

  std::string branch_id_;
  branch_inbox inbox_;
  phase phase_ = phase::closed;
  uint64_t generation_;
  backoff open_wait_;
  /// Not before this.
  time_point open_at_;
  /// Counts since `probed`.
  stream_state stream_;
  /// The last incarnation that what was missing was published again for.
  std::string republished_for_;
  std::string reported_for_;
  time_point checked_at_;
};

} // namespace tillstream

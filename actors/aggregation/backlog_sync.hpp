#pragma once

#include "actors/aggregation/backlog.hpp"
#include "actors/runtime/backoff.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/apply.hpp"
#include "messages/model/purchase.hpp"
#include "messages/model/queries.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// @file actors/aggregation/backlog_sync.hpp
/// Keeps a branch's backlog equal to the tables. No actor: a plain class.

namespace tillstream {

/// A branch's backlog, and how far it is known. Commit notices and applied
/// events keep it up to date; at the start, after a failure, and when notices
/// may have been missed, it is synced: the recent purchases are read from the
/// OLTP database, and those that the event log has are taken out.
///
///          next_read            read               known
///   ┌─> due ────────> reading ────────> checking ────────> done
///   │    ^ ^             │                 │                │
///   │    │ └─────────────┴── failed ───────┘                │
///   │    │                                                  │
///   │    └──── more was committed than fits, and has room ──┤
///   └───────── restart, invalidate: notices may be missing ─┘
///
/// Answers wait for the first sync until the grace period is over; then they
/// are given without the lag.
///
/// Publishes the branch's share of the gauges, for as long as it lives.
class backlog_sync {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// Which purchases to read.
  struct read_request {
    uint64_t round = 0;
    timestamp since;
  };

  /// Events to be looked up in the event log.
  struct lookup {
    /// The round of the sync, or 0: pending events, in case that a notice came
    /// for what another shard or node has applied.
    uint64_t round = 0;
    time_point began;
    std::vector<uuid> event_ids;
  };

  /// @param notices_max Notices that one read gives at most; that many mean
  ///                    that there may be more.
  /// @param seed Of the backoff's jitter.
  backlog_sync(std::string branch_id, backlog_limits bounds, size_t notices_max,
               uint64_t seed);

  backlog_sync(const backlog_sync&) = delete;
  backlog_sync& operator=(const backlog_sync&) = delete;

  /// Takes the branch out of the gauges.
  ~backlog_sync();

  const backlog& pending() const {
    return pending_;
  }

  /// Whether `pending` is what the tables say.
  bool synced() const {
    return synced_;
  }

  /// Whether it soon will be, so that an answer can wait for it.
  bool in_grace(time_point now) const {
    return !synced_ && now < grace_until_;
  }

  /// When the last lookup of pending events that succeeded began.
  time_point reconciled_at() const {
    return reconciled_at_;
  }

  /// Where to publish again from: what is committed and not applied may have a
  /// lower number than what is applied.
  int64_t republish_after(const branch_cursor& cursor) const;

  /// Adds what is pending to an answer.
  /// Source: CONTRACT, 'Every answer has'.
  void add_progress(shard_answer& out, const branch_cursor& cursor,
                    timestamp db_now) const;

  /// Events were committed.
  void committed(const std::vector<commit_notice>& notices);

  /// Events were applied, or set aside.
  void applied(const apply_request& request, const apply_outcome& outcome,
               timestamp db_now);

  /// The branch's state was loaded: begins a grace period of
  /// `limits::shard_sync_grace`.
  void loaded(time_point now, timestamp db_now);

  /// The branch's state was dropped.
  void invalidate();

  /// Notices may have been missed: begins a new round.
  /// @returns whether a grace period begins with it.
  bool restart(time_point now);

  // -- the OLTP database

  /// Begins to read, if that is due.
  std::optional<read_request>
  next_read(const branch_cursor& cursor, time_point now);

  /// Answers of a round that is over are ignored.
  void read(uint64_t round, const std::vector<commit_notice>& notices);
  void read_failed(uint64_t round, time_point now);

  // -- the event log

  /// Pending events should be looked up.
  void reconcile() {
    reconcile_due_ = true;
  }

  /// Takes the next lookup, if one is due. No events are being applied until
  /// it is answered.
  std::optional<lookup> next_lookup(time_point now);
  void looked_up(const lookup& what, const std::vector<uuid>& known);
  void lookup_failed(const lookup& what, time_point now);

  // -- time

  /// What is due from time to time.
  void tick(time_point now, timestamp db_now);

private:
  enum class phase : uint8_t { due, reading, checking, done };

  void begin_round();
  timestamp read_since(const branch_cursor& cursor) const;
  void finish(const std::vector<uuid>& known);
  void failed(time_point now);
  void publish_count();

  std::string branch_id_;
  size_t notices_max_;
  backlog pending_;
  phase phase_ = phase::due;
  bool synced_ = false;
  time_point grace_until_;
  /// Tells the answers of this round from those of earlier ones.
  uint64_t round_ = 1;
  backoff retry_;
  /// Not before this.
  time_point read_at_;
  /// Read, to be compared with the event log.
  std::vector<commit_notice> notices_;
  std::optional<backlog::rest> rest_;
  time_point reconciled_at_;
  bool reconcile_due_ = false;
  int64_t published_count_ = 0;
  /// -1: not yet.
  int64_t published_lag_ = -1;
};

} // namespace tillstream

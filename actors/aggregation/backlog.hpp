#pragma once

#include "messages/core/limits.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/purchase.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

/// @file actors/aggregation/backlog.hpp
/// What a branch has committed and not yet applied. No actor: a plain class.

namespace tillstream {

/// Bounds of a BACKLOG; tests make them small.
struct backlog_limits {
  size_t ids_max = limits::backlog_ids_max;
  size_t recent_max = limits::recent_ids_max;
};

/// The committed and not yet applied events of one branch.
///
/// Notices come from the writers, removals from commits of the AGGREGATE
/// WRITER, and they travel on different ways: a removal may come before its
/// notice. The events applied lately are remembered for this, and for
/// `?after=`.
///
/// Up to `ids_max` events are held one by one. Those beyond are the latest of
/// the branch: they are counted, and read from the outbox later (`unread`).
class backlog {
public:
  explicit backlog(backlog_limits bounds = {}) : bounds_(bounds) {
    // nop
  }

  /// Adds a committed event; one that is known or applied changes nothing.
  void add(const commit_notice& notice);

  /// Takes an event away: it is applied. Remembers it.
  void apply(const uuid& event_id, int64_t seq);

  /// Takes an event away that will never be applied.
  void remove(const uuid& event_id, int64_t seq);

  /// How many are pending.
  int64_t count() const {
    return static_cast<int64_t>(pending_.size()) + counted_only_;
  }

  /// When the oldest pending event was recorded; nothing if none is.
  std::optional<timestamp> oldest() const;

  /// No pending event has a smaller `outbox_seq`; nothing if none is pending.
  std::optional<int64_t> lowest_seq() const;

  bool is_pending(const uuid& event_id) const {
    return pending_.count(event_id) > 0;
  }

  /// @returns the `outbox_seq` of a pending event that is held.
  std::optional<int64_t> seq_of(const uuid& event_id) const;

  bool recently_applied(const uuid& event_id) const {
    auto i = recent_.find(event_id);
    return i != recent_.end() && i->second;
  }

  /// An event made later than this was applied only if `recently_applied`
  /// says so.
  /// @pre version 7, as all of our event ids
  bool may_be_forgotten(const uuid& event_id) const {
    return uuid7_time(event_id) <= horizon_;
  }

  /// Says that events made up to `t` may have been applied before us.
  void raise_horizon(timestamp t);

  /// Set while events are counted only: the outbox has them from this
  /// `recorded_at` on. To be read when `has_room`.
  std::optional<timestamp> unread() const {
    return unread_;
  }

  /// Whether half of the room is free again.
  bool has_room() const {
    return pending_.size() <= bounds_.ids_max / 2;
  }

  /// Says that the outbox is being read: notices that come meanwhile may be
  /// missing in what it gives.
  void begin_refill();

  /// Where the outbox is to be read on.
  struct rest {
    /// When the first of the rest was recorded, at the earliest.
    timestamp recorded_at;
    /// None of the rest has a smaller `outbox_seq`.
    int64_t lowest_seq = 0;
  };

  /// Takes what the outbox has from `unread` on, without what is applied
  /// already.
  /// @param next Nothing when all was read. Until then `count` is a lower
  ///             bound.
  void
  refill(const std::vector<commit_notice>& notices, std::optional<rest> next);

  /// The ids of the `count` oldest.
  std::vector<uuid> oldest_ids(size_t count) const;

private:
  struct entry {
    timestamp recorded_at;
    int64_t seq = 0;
  };

  void count_only(const commit_notice& notice);
  void take(const uuid& event_id, int64_t seq);
  void remember(const uuid& event_id, bool applied);

  backlog_limits bounds_;
  std::unordered_map<uuid, entry> pending_;
  std::set<std::pair<timestamp, uuid>> by_age_;
  std::set<int64_t> seqs_;
  /// Pending events that are counted only, and the first of them.
  int64_t counted_only_ = 0;
  int64_t first_counted_only_ = 0;
  std::optional<timestamp> unread_;
  /// What the outbox may have beyond what was read, counted or not.
  std::optional<rest> rest_;
  /// Came while the outbox was being read, and were counted only.
  std::vector<commit_notice> arrivals_;
  bool refilling_ = false;
  /// Taken away lately; true: applied.
  std::unordered_map<uuid, bool> recent_;
  std::deque<uuid> recent_order_;
  timestamp horizon_ = timestamp::min();
};

} // namespace tillstream

#pragma once

#include "actors/runtime/backoff.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/purchase.hpp"
#include "storage/ports/outbox_store.hpp"

#include <caf/actor_clock.hpp>
#include <caf/timespan.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace tillstream {

/// The OUTBOX RELAY's memory: committed events on their way from the table to
/// the broker and back. Plain bookkeeping without I/O, bounded by
/// `notices_max`.
///
///   admit ──> waiting ── send ──> in_flight ── acked ──> sent_rows ──> gone
///                ^                 ^     │                 (confirm_sent)
///        release │           probe │     │ stop
///                │                 │     v
///                └──────────────── blocked
///
/// Healthy branches share `waiting`, ordered by `seq`, which keeps each
/// branch's order and is fair between them. A branch that the broker refused
/// stops: its notices are blocked, and after a backoff its *first* one probes.
/// When that is acknowledged, the others follow.
///
/// What does not fit stays in the table only: the branch with the most notices
/// to publish gives up its newest half and is 'behind' from there on. Later
/// notices of it are ignored until pages of the table, read in order of `seq`,
/// have closed the gap.
class publish_queue {
public:
  using time_point = caf::actor_clock::time_point;

  /// End of a page that is the table's last.
  static constexpr int64_t no_end = std::numeric_limits<int64_t>::max();

  /// Starts with everything behind: nothing of the table was read yet.
  publish_queue(size_t notices_max, uint64_t seed);

  // -- in -----------------------------------------------------------------

  /// Takes a notice in, unless it is known or its branch is behind. Without a
  /// payload it puts its branch behind: the table has it.
  void admit(commit_notice notice);

  /// Takes in `rows`, all NEW rows of the table with `from <= seq < to`.
  void admit_page(int64_t from, int64_t to, std::vector<commit_notice> rows);

  /// Where the next page should start to close a gap.
  /// @returns nothing when there is none, or when those behind have enough in
  /// memory, or are refused anyway.
  std::optional<int64_t> gap(size_t page_size) const;

  /// Tells whether a page fits. What the broker refuses gives way to it: a
  /// stuck branch must not keep the others out.
  bool make_room_for(size_t page_size);

  /// Forgets a branch's notices above `after_seq`; they come from the table.
  /// @pre `sent_rows(…)` is empty
  void forget(const std::string& branch_id, int64_t after_seq);

  // -- publishing ---------------------------------------------------------

  /// Picks the notice to publish next. @returns its token, or nothing when all
  /// is published or stopped.
  std::optional<uint64_t> send_next(time_point now);

  /// @pre `token` was sent and is not acknowledged
  const commit_notice& in_flight(uint64_t token) const;

  size_t in_flight() const {
    return in_flight_.size();
  }

  /// Notices that could be published now.
  size_t waiting() const {
    return waiting_.size();
  }

  /// The broker was not there to take it: back to its place.
  void unsent(uint64_t token, time_point now);

  /// The broker has it; its row is to be marked SENT.
  /// @returns when it was sent; nothing when the token is stale.
  std::optional<time_point> acked(uint64_t token);

  /// The broker refused it, or it is unknown what became of it: stops the
  /// branch. @returns false when the token is stale.
  bool failed(uint64_t token, time_point now);

  /// Fails all that were sent at `deadline` or before. @returns how many.
  size_t fail_overdue(time_point deadline, time_point now);

  // -- confirming -----------------------------------------------------------

  /// The first `count` of the events whose rows are to be marked SENT.
  std::vector<storage::sent_row> sent_rows(size_t count) const;

  size_t sent_rows() const {
    return sent_rows_.size();
  }

  /// The rows of the first `count` are marked.
  void confirm_sent(size_t count);

  // -- state --------------------------------------------------------------

  /// Notices in memory, in whatever state.
  size_t size() const {
    return known_.size();
  }

  /// Nothing in memory, and nothing known to be in the table only.
  bool done() const {
    return known_.empty() && behind_.empty() && !unread_from_;
  }

  /// When something has to be done again by itself.
  /// @param timeout How long a sent notice may take.
  std::optional<time_point> next_due(caf::timespan timeout) const;

private:
  using notice_map = std::map<int64_t, commit_notice>;

  struct attempt {
    commit_notice notice;
    time_point since;
  };

  struct branch_queue {
    explicit branch_queue(uint64_t seed) : retry(seed) {
      // nop
    }

    /// Notices of the branch that are waiting or blocked.
    size_t notices = 0;
    bool stopped = false;
    /// Token of the probe; 0: none is in_flight.
    uint64_t probe = 0;
    notice_map blocked;
    backoff retry;
  };

  branch_queue& queue_of(const std::string& branch_id);
  bool is_behind(const commit_notice& notice) const;
  void fall_behind(const std::string& branch_id, int64_t seq);
  bool make_room();
  bool evict(const std::string& branch_id, branch_queue& from);
  std::string longest() const;
  uint64_t
  begin_attempt(branch_queue& from, commit_notice notice, time_point now);
  void stop(const std::string& branch_id, time_point now);
  void release(branch_queue& x);
  std::optional<uint64_t> probe(time_point now);

  size_t notices_max_;
  std::mt19937_64 seeds_;
  uint64_t last_token_ = 0;

  /// `seq` of every notice in memory.
  std::unordered_set<int64_t> known_;
  notice_map waiting_;
  /// By token, so oldest first.
  std::map<uint64_t, attempt> in_flight_;
  /// By `seq`.
  std::map<int64_t, uuid> sent_rows_;
  std::map<std::string, branch_queue> branches_;
  /// Stopped branches by when they may probe.
  std::set<std::pair<time_point, std::string>> probes_due_;

  /// From where on the table was not read since the start.
  std::optional<int64_t> unread_from_ = 0;
  /// From where on a branch's notices are in the table only.
  std::map<std::string, int64_t> behind_;
};

} // namespace tillstream

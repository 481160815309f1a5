#pragma once

#include "messages/core/limits.hpp"
#include "messages/core/uuid.hpp"

#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

/// @file actors/aggregation/event_waiters.hpp
/// Clients that wait until an event is applied (read your writes). No actor: a
/// plain class.

namespace tillstream {

/// The waiters of a branch. An event may have been applied longer ago than the
/// shard remembers: such a waiter needs a lookup in the event log.
///
///            take_lookups           looked_up
///   due ─────────────────> asked ──────────────> unneeded
///    ^                       │
///    └───────────────────────┘
///      lookup_failed, not before `event_lookup_retry`
///
/// @tparam Reply Where the outcome goes.
template <class Reply>
class event_waiters {
public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit event_waiters(size_t max = limits::after_waiters_max) : max_(max) {
    // nop
  }

  bool full() const {
    return entries_.size() >= max_;
  }

  bool empty() const {
    return entries_.empty();
  }

  /// @param needs_lookup Whether the event may have been applied already.
  /// @pre `!full()`
  void add(const uuid& event_id, time_point deadline, Reply reply,
           bool needs_lookup) {
    assert(!full());
    entries_.push_back({event_id, deadline, std::move(reply),
                        needs_lookup ? lookup::due : lookup::unneeded});
  }

  /// The branch was loaded again: any of the events may be in its tables.
  void need_lookups() {
    retry_at_ = {};
    for (auto& x : entries_)
      x.log = lookup::due;
  }

  /// @returns up to `max` events to be looked up now.
  std::vector<uuid> take_lookups(time_point now, size_t max) {
    std::vector<uuid> result;
    if (now < retry_at_)
      return result;
    for (auto& x : entries_) {
      if (x.log != lookup::due || result.size() == max)
        continue;
      x.log = lookup::asked;
      result.push_back(x.event_id);
    }
    return result;
  }

  /// The event log was read; those who still wait are not in it.
  void looked_up() {
    replace(lookup::asked, lookup::unneeded);
  }

  /// The event log could not be read. @returns when to try again.
  time_point lookup_failed(time_point now) {
    replace(lookup::asked, lookup::due);
    return retry_at_ = now + limits::event_lookup_retry;
  }

  /// Takes those whose event `is_applied` says is applied.
  template <class Predicate>
  std::vector<Reply> take_applied(Predicate is_applied) {
    return take_if([&](const entry& x) { return is_applied(x.event_id); });
  }

  std::vector<Reply> take_expired(time_point now) {
    return take_if([now](const entry& x) { return x.deadline <= now; });
  }

  std::vector<Reply> take_all() {
    return take_if([](const entry&) { return true; });
  }

private:
  enum class lookup : uint8_t { unneeded, due, asked };

  struct entry {
    uuid event_id;
    time_point deadline;
    Reply reply;
    lookup log = lookup::unneeded;
  };

  void replace(lookup from, lookup to) {
    for (auto& x : entries_)
      if (x.log == from)
        x.log = to;
  }

  template <class Predicate>
  std::vector<Reply> take_if(Predicate is_taken) {
    std::vector<Reply> result;
    std::vector<entry> rest;
    for (auto& x : entries_) {
      if (is_taken(x))
        result.push_back(std::move(x.reply));
      else
        rest.push_back(std::move(x));
    }
    entries_ = std::move(rest);
    return result;
  }

  size_t max_;
  std::vector<entry> entries_;
  /// No lookup before this.
  time_point retry_at_;
};

} // namespace tillstream

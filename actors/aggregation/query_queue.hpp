#pragma once

#include "messages/core/limits.hpp"
#include "messages/model/apply.hpp"
#include "messages/model/queries.hpp"

#include <cassert>
#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

/// @file actors/aggregation/query_queue.hpp
/// Queries that wait in a shard. No actor: a plain class.

namespace tillstream {

/// The queries of a branch that wait until their slices are loaded, or until
/// the backlog is synced. First come, first served, except that a query that
/// is held back delays nobody behind it.
///
/// @tparam Reply Where the answer to a query goes.
template <class Reply>
class query_queue {
public:
  using time_point = std::chrono::steady_clock::time_point;

  struct entry {
    shard_query_ptr query;
    time_point deadline;
    Reply reply;
  };

  /// What can be done for the queries now.
  struct progress {
    /// To be answered.
    std::vector<entry> answerable;
    /// The slice that the first of the others needs; nothing when all that
    /// still wait are held back.
    std::optional<slice_request> missing;
  };

  explicit query_queue(size_t max = limits::shard_queries_max) : max_(max) {
    // nop
  }

  bool full() const {
    return entries_.size() >= max_;
  }

  bool empty() const {
    return entries_.empty();
  }

  /// Appends a query. Its deadline is not before those of the others.
  /// @pre `!full()`
  void push(entry x) {
    assert(!full());
    entries_.push_back(std::move(x));
  }

  /// Takes the queries that can be answered.
  /// @param missing Returns the slice that a query still needs, if any.
  /// @param is_held_back Tells whether a query must wait all the same.
  template <class Missing, class HeldBack>
  progress take_answerable(Missing missing, HeldBack is_held_back) {
    progress result;
    for (auto x = entries_.begin(); x != entries_.end();) {
      result.missing = missing(*x->query);
      if (result.missing)
        break;
      if (is_held_back(*x->query)) {
        ++x;
        continue;
      }
      result.answerable.push_back(std::move(*x));
      x = entries_.erase(x);
    }
    return result;
  }

  /// Takes the queries whose deadline has come.
  std::vector<entry> take_expired(time_point now) {
    std::vector<entry> result;
    while (!entries_.empty() && entries_.front().deadline <= now) {
      result.push_back(std::move(entries_.front()));
      entries_.pop_front();
    }
    return result;
  }

  std::deque<entry> take_all() {
    return std::exchange(entries_, {});
  }

private:
  size_t max_;
  std::deque<entry> entries_;
};

} // namespace tillstream

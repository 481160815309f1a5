#pragma once

#include "messages/model/queries.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

/// @file actors/aggregation/pending_queries.hpp
/// Queries of many branches that wait for their shards. No I/O, no clock.

namespace tillstream {

/// Collects the parts of each query and hands all of them over at once: when
/// the last one is there, or when the query's time is over.
class pending_queries {
public:
  using reply = std::function<void(shard_answers_ptr)>;

  pending_queries() = default;

  /// What nobody answered counts as unavailable.
  ~pending_queries();

  /// @param branches How many parts there will be, at least one.
  /// @returns the number of the query.
  uint64_t open(size_t branches, reply on_answer);

  /// Takes the part of one branch; late ones are dropped.
  /// @param index Of the branch within the query.
  void take(uint64_t number, size_t index, branch_answer part);

  /// The query's time is over: parts that are missing count as unavailable.
  void expire(uint64_t number);

  size_t size() const {
    return waiting_.size();
  }

private:
  struct entry {
    std::shared_ptr<shard_answers> parts;
    size_t missing = 0;
    reply on_answer;
  };

  void finish(std::map<uint64_t, entry>::iterator which);

  std::map<uint64_t, entry> waiting_;
  uint64_t last_ = 0;
};

} // namespace tillstream

#pragma once

#include "messages/protocol/aggregation.hpp"

#include <atomic>
#include <cassert>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

/// @file actors/aggregation/writer_pool.hpp
/// Which AGGREGATE WRITER takes a batch. No actor: the shards of a node share
/// it.

namespace tillstream {

/// The AGGREGATE WRITERS of a node. What is sold now goes to the first, so that
/// all branches come into one commit; branches that catch up have enough for
/// commits of their own and take whoever has the least to do. Thread-safe.
class writer_pool {
public:
  /// A batch that a writer has; ends with this object.
  class place {
  public:
    place() = default;
    place(std::shared_ptr<writer_pool> pool, size_t at)
      : pool_(std::move(pool)),
        at_(at) {
      pool_->busy_[at_].fetch_add(1, std::memory_order_relaxed);
    }
    place(place&& other) noexcept = default;
    place& operator=(place&& other) noexcept {
      leave();
      pool_ = std::move(other.pool_);
      at_ = other.at_;
      return *this;
    }
    ~place() {
      leave();
    }

    const aggregate_writer_actor& writer() const {
      assert(pool_);
      return pool_->writers_[at_];
    }

  private:
    void leave() {
      if (auto pool = std::exchange(pool_, nullptr))
        pool->busy_[at_].fetch_sub(1, std::memory_order_relaxed);
    }

    std::shared_ptr<writer_pool> pool_;
    size_t at_ = 0;
  };

  /// @pre `!writers.empty()`
  explicit writer_pool(std::vector<aggregate_writer_actor> writers)
    : writers_(std::move(writers)),
      busy_(writers_.size()) {
    assert(!writers_.empty());
  }

  /// @param much Whether the batch is worth a commit of its own.
  static place take(const std::shared_ptr<writer_pool>& from, bool much) {
    size_t best = 0;
    for (size_t i = 1; much && i < from->writers_.size(); ++i)
      if (from->busy_[i].load(std::memory_order_relaxed)
          < from->busy_[best].load(std::memory_order_relaxed))
        best = i;
    return {from, best};
  }

private:
  std::vector<aggregate_writer_actor> writers_;
  std::vector<std::atomic<int>> busy_;
};

using writer_pool_ptr = std::shared_ptr<writer_pool>;

/// A pool of one.
inline writer_pool_ptr pool_of(aggregate_writer_actor writer) {
  return std::make_shared<writer_pool>(std::vector{std::move(writer)});
}

} // namespace tillstream

#pragma once

#include "actors/runtime/snapshot_holder.hpp"
#include "messages/protocol/fwd.hpp"

#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace tillstream {

/// Where commit notices are published, and who hears of them.
///
///     TRANSACTION WRITERS ── publish_local ───┐    ┌──> 1. SHARD MANAGER
///                                             ├────┤
///     PEERS, RELAY ───────── publish_remote ──┘    └──> 2. PEERS, RELAY
///                                                       (local ones only)
///
/// - Promise: who subscribed to all notices hears of them before those who
///   subscribed to the local ones, and everybody before `publish_…` returns.
///   The writer publishes before it answers, so the SHARD MANAGER knows an
///   event as pending before the till has its answer, and before the event can
///   arrive, here or elsewhere.
/// - Thread: one subscribes, any publishes. Subscribers run on the publisher's
///   thread: they send a message and return.
class commit_feed {
public:
  using subscriber = std::function<void(const commit_notices_ptr&)>;

  /// Hears of all notices, those of other nodes too.
  void subscribe_all(subscriber x) {
    auto next = copy();
    next->all.push_back(std::move(x));
    subscribers_.set(std::move(next));
  }

  /// Hears of what this node committed. Payloads come along, but for a COMMIT
  /// in doubt that turned out to be durable: the table has them.
  void subscribe_local(subscriber x) {
    auto next = copy();
    next->local.push_back(std::move(x));
    subscribers_.set(std::move(next));
  }

  /// What this node committed.
  void publish_local(const commit_notices_ptr& notices) const {
    publish(notices, true);
  }

  /// What another node committed, or may have; without payloads.
  void publish_remote(const commit_notices_ptr& notices) const {
    publish(notices, false);
  }

private:
  struct subscriber_lists {
    std::vector<subscriber> all;
    std::vector<subscriber> local;
  };

  std::shared_ptr<subscriber_lists> copy() const {
    auto now = subscribers_.get();
    return now ? std::make_shared<subscriber_lists>(*now)
               : std::make_shared<subscriber_lists>();
  }

  void publish(const commit_notices_ptr& notices, bool local) const {
    auto now = subscribers_.get();
    if (now == nullptr)
      return;
    for (const auto& x : now->all)
      x(notices);
    if (local)
      for (const auto& x : now->local)
        x(notices);
  }

  snapshot_holder<subscriber_lists> subscribers_;
};

using commit_feed_ptr = std::shared_ptr<commit_feed>;

} // namespace tillstream

#pragma once

#include "messages/model/purchase.hpp"

#include <caf/expected.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tillstream::storage {

/// What a branch has committed and may not have applied yet: the backlog, as
/// the OLTP database knows it. Calls block; one thread, one store.
/// `errc::unavailable` means: dead, replace it. Every call may be repeated.
class backlog_store {
public:
  virtual ~backlog_store() = default;

  /// Events of a branch that were committed at or after `since` and that the
  /// outbox still has, as notices without payload and round, by the time they
  /// were made, at most `limit`. A shard that starts compares them with the
  /// event log to know what is pending.
  virtual caf::expected<std::vector<commit_notice>>
  recent(const std::string& branch_id, timestamp since, size_t limit) = 0;

  /// For how many milliseconds an event has been SENT, by the database's clock;
  /// -1: it is NEW. Nothing: there is no such row.
  virtual caf::expected<std::optional<int64_t>>
  sent_age(const std::string& branch_id, const uuid& event_id) = 0;
};

using backlog_store_ptr = std::unique_ptr<backlog_store>;

} // namespace tillstream::storage

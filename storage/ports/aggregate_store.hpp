#pragma once

#include "messages/model/apply.hpp"

#include <caf/expected.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tillstream::storage {

/// The analytics database. Calls block; one thread, one store.
///
/// `errc::unavailable`: nothing was written; `errc::in_doubt`: unknown, the
/// shards load their state again. After either the store must be replaced.
class aggregate_store {
public:
  virtual ~aggregate_store() = default;

  /// Applies the batches of many shards in one transaction: ownership rows
  /// FOR SHARE in branch order, event ids, aggregates for the new ids only,
  /// cursors. `result[i]` belongs to `requests[i]`.
  /// @pre at most one request a branch
  virtual caf::expected<std::vector<apply_outcome>>
  apply(const std::vector<apply_request_ptr>& requests) = 0;

  virtual caf::expected<branch_state> load(const std::string& branch_id) = 0;

  virtual caf::expected<slice> load_slice(const slice_request& request) = 0;

  /// Deletes up to `rows_max` rows that no answer needs any more: minutes of
  /// days before `limits::minute_days`. @returns how many; `rows_max` means
  /// that there may be more.
  virtual caf::expected<int64_t> prune(int64_t rows_max) = 0;
};

using aggregate_store_ptr = std::unique_ptr<aggregate_store>;

/// The lake's plan: which apply numbers belong to which file. Kept beside the
/// event log, so that a file that was cut short is written again the same.
class lake_plan_store {
public:
  virtual ~lake_plan_store() = default;

  /// Segments that were planned and not finished, then new ones for what was
  /// applied since: at most `rows_max` apply numbers each, planned durably
  /// before this returns. A branch gets a new segment when `rows_max` numbers
  /// wait, or when the oldest waits longer than `age_max_ms`.
  virtual caf::expected<std::vector<lake_segment>>
  plan(int64_t rows_max, int64_t age_max_ms, size_t segments_max) = 0;

  virtual caf::expected<std::vector<lake_entry>>
  entries(const lake_segment& segment) = 0;

  virtual caf::expected<void> finish(const lake_segment& segment) = 0;
};

using lake_plan_store_ptr = std::unique_ptr<lake_plan_store>;

} // namespace tillstream::storage

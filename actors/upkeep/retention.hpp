#pragma once

#include "storage/ports/aggregate_store.hpp"

#include <caf/expected.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

/// @file actors/upkeep/retention.hpp
/// What one round of the JANITOR deletes from a schema.

namespace tillstream {

struct retention_options {
  /// Opens a session on the analytics database.
  std::function<caf::expected<storage::aggregate_store_ptr>()> open_aggregates
    = nullptr;

  /// Attaches and detaches a schema's partitions; returns a sentence on each
  /// change.
  std::function<caf::expected<std::vector<std::string>>(
    const std::string& schema)>
    maintain_partitions = nullptr;

  /// Rows of one DELETE: a few milliseconds, so that applies hardly notice.
  int64_t rows_max = 5000;

  /// DELETEs of one round; what is left waits for the next.
  int deletes_max = 1000;
};

/// Prunes the aggregates that no answer needs any more, in the schema
/// `analytics`, then maintains the schema's partitions. Blocks.
/// @returns a sentence on each partition that was changed.
caf::expected<std::vector<std::string>>
apply_retention(const retention_options& options, const std::string& schema);

} // namespace tillstream

#pragma once

#include "messages/model/purchase.hpp"

#include <caf/expected.hpp>

#include <memory>
#include <vector>

namespace tillstream::storage {

/// What one call of `record` did.
struct record_batch_result {
  /// `results[i]` resolves `batch[i]`.
  std::vector<record_result> results;
  /// What became durable, in the order of `outbox_seq`.
  std::vector<commit_notice> committed;
  /// From a transaction's rows and its COMMIT sent, in one trip, to the answer,
  /// microseconds; 0 if none was needed.
  int64_t commit_us = 0;
};

/// Writes purchases: group commit's inner half. A store is opened only while
/// the tables can be written.
///
/// Calls block. Only an actor on its own thread may hold a store, and no two
/// actors share one.
class purchase_store {
public:
  virtual ~purchase_store() = default;

  /// Resolves a batch in one transaction: accepted purchases become durable
  /// with their items, customers and outbox rows; each other one gets its own
  /// verdict and leaves nothing behind. Never throws.
  ///
  /// Two purchases of a batch that share a key or a receipt: the later one
  /// follows the first when it is the same purchase, else it is refused as it
  /// would be after the first's commit.
  ///
  /// A lock time-out or a deadlock splits the batch and tries the parts, so
  /// that only the purchase that is kept from being written suffers:
  /// `in_progress` if its key or receipt is held, or those of a purchase of the
  /// batch on which it depends, else `unavailable`.
  ///
  /// @returns `errc::unavailable`: nothing of the batch is durable. Also when
  ///          nothing at all could be written for
  ///          `limits::write_trouble_max`.
  ///          `errc::in_doubt`: the connection was lost inside COMMIT; calling
  ///          again with the same batch on a new store settles it (`replayed`
  ///          then means: it was durable). After any error the store is dead
  ///          and must be replaced.
  /// @pre `!batch.empty() && batch.size() <= limits::write_batch_max`
  virtual caf::expected<record_batch_result>
  record(const std::vector<purchase_ptr>& batch) = 0;
};

using purchase_store_ptr = std::unique_ptr<purchase_store>;

} // namespace tillstream::storage

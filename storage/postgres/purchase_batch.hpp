#pragma once

#include "messages/chain.hpp"
#include "messages/purchase.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

/// @file storage/postgres/purchase_batch.hpp
/// The decisions of the purchase store that need no database.

namespace tillstream::storage::postgres {

/// Who of a batch goes to the database. Two purchases of one transaction
/// cannot compete for a key: the first leads, its equals follow it, and others
/// wait for a later batch.
struct batch_plan {
  static constexpr size_t nobody = static_cast<size_t>(-1);

  /// Positions in the batch, ascending.
  std::vector<size_t> leaders;
  /// Position of each purchase's leader, or `nobody`.
  std::vector<size_t> leader_of;
};

batch_plan plan_batch(const std::vector<purchase_ptr>& batch);

/// 64 bits that stand for a branch's idempotency key as an advisory lock: the
/// same on every node and in every version of the program.
int64_t key_lock(const purchase& x);

/// Same for a branch's receipt.
int64_t receipt_lock(const purchase& x);

/// What the database knows about one purchase.
struct lookup_row {
  /// The purchase that has the key.
  std::optional<recorded_purchase> by_key;
  /// Fingerprint of `by_key`.
  std::string fingerprint_hex;
  /// The purchase that has the receipt.
  std::optional<uuid> receipt_holder;
  bool customer_known = false;
};

/// What is to be done with one purchase of a transaction.
struct resolution {
  /// `recorded` means: accepted, to be written.
  verdict outcome = verdict::in_progress;
  /// As in `record_result`.
  recorded_purchase purchase;
};

/// Resolves the purchases of one transaction: key, then receipt, then
/// customer. A customer is known if the database knows it, or if an accepted
/// purchase of the same transaction makes it known.
/// @param rows `rows[i]` belongs to `purchases[i]`.
std::vector<resolution> resolve(const std::vector<const purchase*>& purchases,
                                const std::vector<lookup_row>& rows);

/// Lower-case hexadecimal digits.
std::string to_hex(const sha256_digest& x);

} // namespace tillstream::storage::postgres

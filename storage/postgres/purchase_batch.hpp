#pragma once

#include "messages/model/chain.hpp"
#include "messages/model/purchase.hpp"

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

/// Who of a batch goes to the database: of equal purchases only the first,
/// whose result the others share.
struct batch_plan {
  /// Positions in the batch, ascending.
  std::vector<size_t> representatives;
  /// Position of each purchase's representative.
  std::vector<size_t> representative_of;
};

batch_plan plan_batch(const std::vector<purchase_ptr>& batch);

/// 64 bits that stand for a branch's idempotency key as an advisory lock: the
/// same on every node and in every version of the program.
int64_t key_lock(std::string_view branch_id, const uuid& idempotency_key);

inline int64_t key_lock(const purchase& x) {
  return key_lock(x.branch_id, x.idempotency_key);
}

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
  /// As in `record_result`; without the id of a purchase that is `rival`.
  recorded_purchase purchase;
  /// Position of the accepted purchase of this transaction, an earlier one,
  /// that takes the key or the receipt.
  std::optional<size_t> rival;
};

/// Resolves the purchases of one transaction, in their order: key, then
/// receipt, then customer. A key or a receipt belongs to whom the database
/// says, or to the first accepted purchase that names it; one that is refused
/// for its customer leaves them to the next. A customer is known if the
/// database knows it, or if an accepted purchase of the same transaction makes
/// it known.
/// @param rows `rows[i]` belongs to `purchases[i]`.
std::vector<resolution> resolve(const std::vector<const purchase*>& purchases,
                                const std::vector<lookup_row>& rows);

} // namespace tillstream::storage::postgres

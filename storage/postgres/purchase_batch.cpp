#include "storage/postgres/purchase_batch.hpp"

#include "messages/core/hash.hpp"

#include <cassert>
#include <map>
#include <span>
#include <tuple>
#include <unordered_map>

namespace tillstream::storage::postgres {

namespace {

/// The multiplication of FNV-1a leaves the last bytes' traces in the low bits
/// only: mixes them into all (the finalizer of MurmurHash3).
int64_t mixed(const fnv1a& hash) {
  auto x = hash.value();
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
  return static_cast<int64_t>(x ^ (x >> 33));
}

using branch_key = std::tuple<std::string_view, uuid>;
using branch_receipt = std::tuple<std::string_view, std::string_view>;
using branch_purchase = std::tuple<std::string_view, uuid, sha256_digest>;

/// Takes the purchases of one transaction in order and remembers which keys
/// and receipts the accepted ones use up.
class claims {
public:
  resolution take(const purchase& x, const lookup_row& row, size_t at) {
    resolution result;
    branch_key key{x.branch_id, x.idempotency_key};
    branch_receipt receipt{x.branch_id, x.receipt_id};
    if (row.by_key) {
      if (row.fingerprint_hex == to_hex(x.fingerprint)) {
        result.outcome = verdict::replayed;
        result.purchase = *row.by_key;
      } else {
        result.outcome = verdict::key_reused;
      }
    } else if (auto i = keys_.find(key); i != keys_.end()) {
      // Equal purchases do not come here: `plan_batch` lets one through.
      result.outcome = verdict::key_reused;
      result.rival = i->second;
    } else if (row.receipt_holder) {
      result.outcome = verdict::receipt_taken;
      result.purchase.purchase_id = *row.receipt_holder;
    } else if (auto k = receipts_.find(receipt); k != receipts_.end()) {
      result.outcome = verdict::receipt_taken;
      result.rival = k->second;
    } else {
      result.outcome = verdict::recorded;
      keys_.emplace(key, at);
      receipts_.emplace(receipt, at);
    }
    return result;
  }

private:
  std::map<branch_key, size_t> keys_;
  std::map<branch_receipt, size_t> receipts_;
};

/// One way through the transaction, without those in `refused`.
std::vector<resolution>
resolve_keys(const std::vector<const purchase*>& purchases,
             const std::vector<lookup_row>& rows,
             const std::vector<bool>& refused) {
  std::vector<resolution> result(rows.size());
  claims taken;
  for (size_t i = 0; i < rows.size(); ++i)
    if (refused[i])
      result[i].outcome = verdict::customer_unknown;
    else
      result[i] = taken.take(*purchases[i], rows[i], i);
  return result;
}

/// Refuses the accepted ones whose customer is unknown. @returns whether there
/// are any.
bool refuse_unknown_customers(const std::vector<const purchase*>& purchases,
                              const std::vector<lookup_row>& rows,
                              const std::vector<resolution>& accepted,
                              std::vector<bool>& refused) {
  std::unordered_set<uuid> made_known;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& x = *purchases[i];
    if (accepted[i].outcome == verdict::recorded && x.new_customer && x.user_id)
      made_known.insert(*x.user_id);
  }
  auto any = false;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& x = *purchases[i];
    if (accepted[i].outcome != verdict::recorded || !x.user_id
        || rows[i].customer_known || made_known.contains(*x.user_id))
      continue;
    refused[i] = true;
    any = true;
  }
  return any;
}

} // namespace

batch_plan plan_batch(const std::vector<purchase_ptr>& batch) {
  batch_plan result;
  result.representative_of.reserve(batch.size());
  std::map<branch_purchase, size_t> first;
  for (size_t i = 0; i < batch.size(); ++i) {
    const auto& x = *batch[i];
    auto [representative, is_new] = first.emplace(
      branch_purchase{x.branch_id, x.idempotency_key, x.fingerprint}, i);
    result.representative_of.push_back(representative->second);
    if (is_new)
      result.representatives.push_back(i);
  }
  return result;
}

int64_t key_lock(std::string_view branch_id, const uuid& idempotency_key) {
  fnv1a hash;
  hash.add("key");
  hash.add(branch_id);
  hash.add(std::string_view{"", 1});
  hash.add(idempotency_key.bytes);
  return mixed(hash);
}

int64_t receipt_lock(const purchase& x) {
  fnv1a hash;
  hash.add("receipt");
  hash.add(x.branch_id);
  hash.add(std::string_view{"", 1});
  hash.add(x.receipt_id);
  return mixed(hash);
}

std::vector<resolution> resolve(const std::vector<const purchase*>& purchases,
                                const std::vector<lookup_row>& rows) {
  assert(purchases.size() == rows.size());
  std::vector<bool> refused(rows.size());
  auto result = resolve_keys(purchases, rows, refused);
  // Each turn refuses one more at least.
  while (refuse_unknown_customers(purchases, rows, result, refused))
    result = resolve_keys(purchases, rows, refused);
  return result;
}

} // namespace tillstream::storage::postgres

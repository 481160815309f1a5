#include "storage/postgres/purchase_batch.hpp"

#include <cassert>
#include <map>
#include <span>
#include <tuple>
#include <unordered_map>

namespace tillstream::storage::postgres {

namespace {

/// FNV-1a, 64 bits. Source: draft-eastlake-fnv-21.
class fnv1a {
public:
  void add(std::span<const uint8_t> bytes) {
    for (auto byte : bytes) {
      state_ ^= byte;
      state_ *= 0x100000001b3u;
    }
  }
  void add(std::string_view text) {
    add({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }

  /// The multiplication leaves the last bytes' traces in the low bits only:
  /// mixes them into all (the finalizer of MurmurHash3).
  int64_t value() const {
    auto x = state_;
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return static_cast<int64_t>(x ^ (x >> 33));
  }

private:
  uint64_t state_ = 0xcbf29ce484222325u;
};

using branch_key = std::tuple<std::string_view, uuid>;
using branch_receipt = std::tuple<std::string_view, std::string_view>;

resolution resolve_held(const purchase& x, const lookup_row& row) {
  resolution result;
  if (row.by_key) {
    if (row.fingerprint_hex == to_hex(x.fingerprint)) {
      result.outcome = verdict::replayed;
      result.purchase = *row.by_key;
    } else {
      result.outcome = verdict::key_reused;
    }
  } else if (row.receipt_holder) {
    result.outcome = verdict::receipt_taken;
    result.purchase.purchase_id = *row.receipt_holder;
  } else {
    result.outcome = verdict::recorded;
  }
  return result;
}

} // namespace

batch_plan plan_batch(const std::vector<purchase_ptr>& batch) {
  batch_plan result;
  result.leader_of.assign(batch.size(), batch_plan::nobody);
  std::map<branch_key, size_t> keys;
  std::map<branch_receipt, size_t> receipts;
  for (size_t i = 0; i < batch.size(); ++i) {
    const auto& x = *batch[i];
    // The first to name a key or a receipt holds it, whatever becomes of it.
    auto [by_key, new_key]
      = keys.emplace(branch_key{x.branch_id, x.idempotency_key}, i);
    auto [by_receipt, new_receipt]
      = receipts.emplace(branch_receipt{x.branch_id, x.receipt_id}, i);
    if (new_key && new_receipt) {
      result.leaders.push_back(i);
      result.leader_of[i] = i;
    } else if (!new_key) {
      auto leader = result.leader_of[by_key->second];
      if (leader != batch_plan::nobody
          && batch[leader]->fingerprint == x.fingerprint)
        result.leader_of[i] = leader;
    }
  }
  return result;
}

int64_t key_lock(const purchase& x) {
  fnv1a hash;
  hash.add("key");
  hash.add(x.branch_id);
  hash.add(std::string_view{"", 1});
  hash.add(x.idempotency_key.bytes);
  return hash.value();
}

int64_t receipt_lock(const purchase& x) {
  fnv1a hash;
  hash.add("receipt");
  hash.add(x.branch_id);
  hash.add(std::string_view{"", 1});
  hash.add(x.receipt_id);
  return hash.value();
}

std::vector<resolution> resolve(const std::vector<const purchase*>& purchases,
                                const std::vector<lookup_row>& rows) {
  assert(purchases.size() == rows.size());
  std::vector<resolution> result;
  result.reserve(rows.size());
  std::unordered_set<uuid> made_known;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& x = *purchases[i];
    result.push_back(resolve_held(x, rows[i]));
    if (result[i].outcome == verdict::recorded && x.new_customer && x.user_id)
      made_known.insert(*x.user_id);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& x = *purchases[i];
    if (result[i].outcome == verdict::recorded && x.user_id
        && !rows[i].customer_known && !made_known.contains(*x.user_id))
      result[i].outcome = verdict::customer_unknown;
  }
  return result;
}

std::string to_hex(const sha256_digest& x) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string result;
  result.reserve(x.size() * 2);
  for (auto byte : x) {
    result += digits[byte >> 4];
    result += digits[byte & 15];
  }
  return result;
}

} // namespace tillstream::storage::postgres

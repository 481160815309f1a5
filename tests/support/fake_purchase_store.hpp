#pragma once

#include "messages/core/error.hpp"
#include "messages/model/purchase.hpp"
#include "storage/ports/purchase_store.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tillstream::tests {

/// What goes wrong with one call of `record`.
enum class store_fault {
  none,
  /// The connection is lost before COMMIT.
  unavailable,
  /// The connection is lost inside COMMIT, and nothing was written.
  in_doubt_lost,
  /// The connection is lost inside COMMIT, and everything was written.
  in_doubt_landed,
  /// The server answers nonsense.
  internal,
};

/// A database in memory. Outlives the stores that are opened on it.
struct fake_database {
  using key = std::pair<std::string, uuid>;

  struct row {
    sha256_digest fingerprint;
    recorded_purchase purchase;
  };

  std::map<key, row> rows;

  /// Faults of the next calls, in order.
  std::deque<store_fault> faults;

  /// Called while a batch is written.
  std::function<void()> on_record = nullptr;

  /// Keys that another client holds.
  std::set<uuid> held;

  /// Keys of purchases that cannot be written.
  std::set<uuid> unwritable;

  /// No connection can be opened, and those that are open fail.
  bool down = false;

  /// The keys of each batch, as asked.
  std::vector<std::vector<uuid>> batches;

  size_t sessions = 0;

  uuid_source ids{1};
};

/// Resolves keys as a real store does; knows nothing of receipts and
/// customers.
class fake_purchase_store : public storage::purchase_store {
public:
  explicit fake_purchase_store(fake_database& db) : db_(db) {
    ++db_.sessions;
  }

  caf::expected<storage::record_batch_result>
  record(const std::vector<purchase_ptr>& batch) override {
    notice(batch);
    if (db_.on_record)
      db_.on_record();
    auto fault = take_fault();
    if (fault == store_fault::unavailable)
      return caf::make_error(errc::unavailable, "fake");
    if (fault == store_fault::internal)
      return caf::make_error(errc::internal, "fake");
    if (fault == store_fault::in_doubt_lost)
      return caf::make_error(errc::in_doubt, "fake");
    storage::record_batch_result result;
    std::set<fake_database::key> ours;
    for (auto& x : batch)
      result.results.push_back(resolve(*x, ours, result.committed));
    result.commit_us = 1000;
    if (fault == store_fault::in_doubt_landed)
      return caf::make_error(errc::in_doubt, "fake");
    return result;
  }

private:
  void notice(const std::vector<purchase_ptr>& batch) {
    std::vector<uuid> keys;
    for (auto& x : batch)
      keys.push_back(x->idempotency_key);
    db_.batches.push_back(std::move(keys));
  }

  store_fault take_fault() {
    if (db_.down)
      return store_fault::unavailable;
    if (db_.faults.empty())
      return store_fault::none;
    auto fault = db_.faults.front();
    db_.faults.pop_front();
    return fault;
  }

  record_result resolve(const purchase& x, std::set<fake_database::key>& ours,
                        std::vector<commit_notice>& committed) {
    if (db_.held.contains(x.idempotency_key))
      return {};
    if (db_.unwritable.contains(x.idempotency_key))
      return {verdict::unavailable, {}};
    fake_database::key key{x.branch_id, x.idempotency_key};
    if (auto i = db_.rows.find(key); i != db_.rows.end()) {
      if (i->second.fingerprint == x.fingerprint)
        return {verdict::replayed, i->second.purchase};
      if (ours.contains(key))
        return {};
      return {verdict::key_reused, {}};
    }
    ours.insert(key);
    return insert(key, x, committed);
  }

  record_result insert(const fake_database::key& key, const purchase& x,
                       std::vector<commit_notice>& committed) {
    recorded_purchase done;
    done.purchase_id = db_.ids.v7(from_ms(1));
    done.event_id = db_.ids.v7(from_ms(1));
    done.branch_id = x.branch_id;
    done.outbox_seq = static_cast<int64_t>(db_.rows.size() + 1);
    db_.rows.emplace(key, fake_database::row{x.fingerprint, done});
    commit_notice notice;
    notice.branch_id = x.branch_id;
    notice.seq = done.outbox_seq;
    notice.event_id = done.event_id;
    committed.push_back(notice);
    return {verdict::recorded, done};
  }

  fake_database& db_;
};

/// Opens a store, or fails as the database says.
inline caf::expected<storage::purchase_store_ptr>
open_fake_store(fake_database& db) {
  if (db.down)
    return caf::make_error(errc::unavailable, "fake database is down");
  return storage::purchase_store_ptr{std::make_unique<fake_purchase_store>(db)};
}

/// A UUID that a test can tell by its number.
inline uuid numbered_uuid(uint64_t n) {
  uuid x;
  for (size_t i = 0; i < 8; ++i)
    x.bytes[15 - i] = static_cast<uint8_t>(n >> (8 * i));
  return x;
}

/// @param content Two purchases with the same content are 'the same'.
inline purchase_ptr make_purchase(uint64_t key, uint8_t content = 0,
                                  const std::string& branch_id = "b1") {
  purchase x;
  x.branch_id = branch_id;
  x.idempotency_key = numbered_uuid(key);
  x.fingerprint[0] = content;
  return std::make_shared<const purchase>(std::move(x));
}

/// The same on its way to a writer.
/// @param deadline The default never comes.
inline submission
make_submission(uint64_t key, uint8_t content = 0,
                std::chrono::steady_clock::time_point deadline
                = std::chrono::steady_clock::time_point::max()) {
  return {make_purchase(key, content), deadline, nullptr};
}

} // namespace tillstream::tests

#pragma once

#include "messages/core/uuid.hpp"
#include "messages/model/purchase.hpp"
#include "storage/postgres/session.hpp"
#include "storage/postgres/stores.hpp"
#include "tests/support/must.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

/// @file tests/support/made_up_purchases.hpp
/// Purchases as the gateway hands them over, and stores to put them in.

namespace tillstream::test {

/// Makes valid purchases that differ from each other. The same seed gives the
/// same purchases.
class purchase_maker {
public:
  explicit purchase_maker(uint64_t seed = 1) : ids_(seed) {
    // nop
  }

  using change = std::function<void(purchase&)>;

  /// A purchase of `items` things by a new customer, changed by `edit`, with
  /// total and fingerprint to match.
  purchase_ptr make(const change& edit = {}, size_t items = 3);

  std::vector<purchase_ptr> make_many(size_t count, size_t items = 3);

  /// A customer whom nobody has heard of.
  uuid new_id() {
    return ids_.v4();
  }

private:
  uuid_source ids_;
  int64_t count_ = 0;
};

/// A changed copy: for a key that is used again.
purchase_ptr changed(const purchase_ptr& x, const purchase_maker::change& edit);

/// The default chain without a catalogue, or what the arguments say.
storage::reference_source
reference_to(tillstream::chain chain = default_chain(),
             storage::catalog products = {});

storage::purchase_store_ptr open_purchases(const std::string& dsn);

/// A session for what psql would do in a test: patient, and never ended for
/// doing nothing.
storage::postgres::session_ptr open_psql(const std::string& dsn);

/// The first column of the first row as an integer.
int64_t number(storage::postgres::session& db, const std::string& sql);

/// The first column of the first row.
std::string text(storage::postgres::session& db, const std::string& sql);

/// Waits until `condition` holds, at most half a minute.
bool eventually(const std::function<bool()>& condition);

} // namespace tillstream::test

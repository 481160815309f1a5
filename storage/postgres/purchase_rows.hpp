#pragma once

#include "messages/model/event.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/pipeline.hpp"
#include "storage/postgres/purchase_batch.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

/// @file storage/postgres/purchase_rows.hpp
/// The statements of the purchase store: what goes to the server for a part of
/// a batch, and what comes back.

namespace tillstream::storage::postgres {

/// A part of a batch, on its way to the database.
struct batch_part {
  const std::vector<purchase_ptr>& batch;
  /// Positions in the batch.
  std::span<const size_t> positions;

  const purchase& operator[](size_t i) const {
    return *batch[positions[i]];
  }
};

/// A purchase that got its locks.
struct claimed_purchase {
  /// Position in the batch.
  size_t at = 0;
  const purchase* wanted = nullptr;
  int64_t seq = 0;
};

struct claimed_batch {
  std::vector<claimed_purchase> purchases;
  /// Positions in the batch of those whose key or receipt somebody holds.
  std::vector<size_t> held;
  /// `known[i]` is what the database knows about `purchases[i]`.
  std::vector<lookup_row> known;
  /// The database's clock.
  timestamp now;
};

/// An accepted purchase, complete.
struct new_sale {
  size_t at = 0;
  const purchase* wanted = nullptr;
  int64_t seq = 0;
  recorded_purchase row;
  business_time when;
  std::shared_ptr<const std::string> payload;
};

/// Throws what keeps purchases from being written at all. Leaves nothing
/// behind.
void check_writable(connection& db);

/// Adds what gives the transaction its id and locks the part's keys and
/// receipts. @returns its place.
size_t add_claims(const batch_part& part, pipeline& to);

/// Adds what reads the purchases, receipts and customers that the part names.
/// @returns its place.
size_t add_look_up(const batch_part& part, pipeline& to);

/// Of those that got no lock, what is known may be old: it is dropped.
claimed_batch
read_claimed(const batch_part& part, const rows& locks, const rows& known);

/// Makes customers known. @returns those that nobody else made known.
std::vector<uuid>
make_known(connection& db, const std::set<uuid>& customers, timestamp now);

/// Adds what writes the sales, with their items, customers and outbox rows.
void add_sales(const std::vector<new_sale>& sales, const std::string& currency,
               timestamp now, pipeline& to);

} // namespace tillstream::storage::postgres

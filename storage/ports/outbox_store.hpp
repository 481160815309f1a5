#pragma once

#include "messages/model/purchase.hpp"

#include <caf/expected.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tillstream::storage {

/// Where a poll may start without missing a row that commits late.
struct outbox_floor {
  /// Every row below is SENT, and no open transaction can still add one.
  int64_t seq = 0;
  /// INTERNAL: a candidate and the transaction id that must have ended before
  /// it holds ('snapshot-safe').
  int64_t candidate = 0;
  uint64_t candidate_xid = 0;
  /// INTERNAL: which generation of the stored floor `seq` belongs to. Another
  /// one, as after `republish` on any node, starts again at the stored floor.
  int64_t generation = 0;
};

/// The row of an event that the broker has.
struct sent_row {
  int64_t seq = 0;
  /// Says which day's partition has the row.
  uuid event_id;
};

struct outbox_backlog {
  /// Rows in status NEW, counted from the floor up to 1,000,000.
  int64_t rows = 0;
  /// Age of the oldest by the database's clock, 0 if none, milliseconds.
  int64_t oldest_age_ms = 0;
};

/// The relay's view of `outbox_events`. Calls block; one thread, one store.
/// `errc::unavailable` means: dead, replace it. Every call may be repeated.
class outbox_store {
public:
  virtual ~outbox_store() = default;

  /// Reads up to `limit` rows in status NEW from `floor` on, in order of
  /// `seq`, and moves the floor up where that is safe. A fresh `outbox_floor`
  /// starts where the relays before it came to. Rows come first that are NEW
  /// below the floor, which should not be; they are looked for once a minute.
  virtual caf::expected<std::vector<commit_notice>>
  poll(outbox_floor& floor, size_t limit) = 0;

  /// Reads up to `limit` rows in status NEW with `seq >= from_seq`, in order of
  /// `seq`, wherever the floor is. For a gap further up; `poll` is what finds
  /// everything.
  virtual caf::expected<std::vector<commit_notice>>
  page(int64_t from_seq, size_t limit) = 0;

  /// Marks rows SENT with the database's time, in one transaction.
  virtual caf::expected<void> confirm_sent(const std::vector<sent_row>& rows)
    = 0;

  virtual caf::expected<outbox_backlog> backlog(const outbox_floor& floor) = 0;

  /// The stream lost data: puts the branch's rows with `seq > after_seq` that
  /// are SENT back to NEW, with a higher `publish_round`.
  /// @returns how many.
  virtual caf::expected<int64_t>
  republish(const std::string& branch_id, int64_t after_seq) = 0;

  /// The payloads of these events of a branch, in the order asked, for the
  /// lake; empty strings where the row is gone.
  virtual caf::expected<std::vector<std::string>>
  payloads(const std::string& branch_id, const std::vector<uuid>& event_ids)
    = 0;
};

using outbox_store_ptr = std::unique_ptr<outbox_store>;

} // namespace tillstream::storage

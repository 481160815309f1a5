#pragma once

#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"

#include <caf/expected.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

/// @file storage/verify/verifier.hpp
/// The data-consistency check behind `tillstream verify`: every number of the
/// analytics database is made again, in SQL, from the purchases.

namespace tillstream::storage {

/// Takes an event's id and its bytes as published.
using stream_visitor = std::function<void(const uuid&, std::string_view)>;

/// Calls `visit` for each event that the stream holds, in any order; an id may
/// come more than once.
using stream_scanner
  = std::function<caf::expected<void>(const stream_visitor& visit)>;

struct verify_options {
  /// How long to wait until what is committed is applied: once before the
  /// comparison, once after it for what was late.
  std::chrono::milliseconds wait_max = std::chrono::seconds{30};
  /// Sentences kept; differences beyond it are only counted.
  size_t difference_max = 100;
  /// Says what is being compared, one short sentence at a time. May be empty.
  std::function<void(const std::string&)> progress;
  /// Empty: the stream is not read.
  stream_scanner scan_stream;
  /// Events that were SENT before are not expected in the stream: the later
  /// one of its creation and of what its age limit still keeps.
  timestamp stream_since;
};

struct verify_report {
  /// One sentence each, at most `verify_options::difference_max`.
  std::vector<std::string> differences;
  /// All of them, also those beyond.
  int64_t differences_count = 0;

  // What was read.
  int64_t purchases = 0;
  int64_t items = 0;
  int64_t outbox_rows = 0;
  int64_t logged_events = 0;
  int64_t stream_events = 0;
  /// Rows of all aggregates.
  int64_t aggregate_rows = 0;
  /// Purchases that were committed and not yet applied when the databases
  /// were read. They are left out of the comparison, and are a difference
  /// only if they are not applied soon after it.
  int64_t late = 0;
  /// Messages set aside. Not a difference by themselves.
  int64_t quarantined = 0;

  bool equal() const {
    return differences_count == 0;
  }
};

/// Compares both databases (and the stream) while they are in use.
///
/// The analytics snapshot is taken first, then that of the purchases: what the
/// event log has is then surely among the purchases, and purchases that it
/// lacks are 'late'. Below the event log's oldest partition everything counts
/// as applied.
///
/// Reads sorted rows of both sides in step, so memory is bounded whatever the
/// number of purchases. Holds one snapshot in each database meanwhile.
///
/// @returns `errc::unavailable` when a server is lost, `errc::invalid` when a
///          schema is not there; differences are no error.
caf::expected<verify_report>
verify(const std::string& oltp_dsn, const std::string& analytics_dsn,
       const verify_options& options);

} // namespace tillstream::storage

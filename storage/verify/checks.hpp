#pragma once

#include <span>

/// @file storage/verify/checks.hpp
/// What `verify` compares, as SQL. Names with a colon are replaced before use:
/// `:log_floor` (first event id of the event log), `:minutes_from` (first day
/// with minutes), `:stream_since`.
///
/// `verify_sold` is a view: the purchases that count as applied.
/// `verify_outbox_days` has the event ids that the outbox reaches, from `low`
/// up to before `high`, one row a partition. The functions `verify_json` (NULL
/// for what is no JSON), `verify_time` and `verify_money` (as the event has
/// them) are there, too.

namespace tillstream::storage::postgres {

/// Rows that must be the same on both sides. Both queries give a text key in
/// ascending order by bytes, then the same columns.
struct comparison {
  /// The table that is checked.
  const char* table;
  /// On the purchases.
  const char* truth;
  /// On the analytics database.
  const char* kept;
};

/// A rule that one database must keep. Each row of the query is a sentence on
/// a broken one.
struct rule {
  const char* name;
  const char* broken;
};

/// Purchases against the event log, for what the log still reaches. Only on
/// the purchases' side: late.
const comparison& event_log_check();

/// Labels of products. The purchases' side has bounds instead of values:
/// `least`, the last sale that surely gave a label, or NULL, and `most`, the
/// last sale at all.
const comparison& label_check();

/// All other aggregates.
std::span<const comparison> aggregate_checks();

/// Rules of the purchases' database.
std::span<const rule> purchase_rules();

/// Rules of the analytics database.
std::span<const rule> analytics_rules();

/// Needs the table `verify_stream`.
const rule& stream_rule();

} // namespace tillstream::storage::postgres

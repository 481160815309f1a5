#pragma once

#include "messages/apply.hpp"
#include "storage/postgres/session.hpp"

#include <pqxx/row>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace tillstream::storage::postgres {

/// One attempt to apply the batches of many branches, inside a transaction
/// that the caller opens and commits (ARCHITECTURE, 10 and 12).
///
/// Locks, always in this order: ownership rows (shared), cursor rows, rows of
/// the own branches, rows of the chain's set. Each kind in key order, so two
/// writers never wait for each other in a circle. Only the chain's set is
/// shared between branches; it comes late, to be held for short.
class apply_transaction {
public:
  /// Whether to ask the event log first what it knows. Redeliveries are rare,
  /// so the first attempt takes all events for new.
  enum class look_up { no, yes };

  /// What the event log's partitions reach: from, up to (exclusive). Asking
  /// the catalogue takes the server longer than a small batch does, so it is
  /// kept from one transaction to the next, and read anew before an event is
  /// turned away for it. An older look can do no harm otherwise: a floor only
  /// rises, and the INSERT of an event whose partition is gone fails.
  struct log_range {
    uuid floor;
    uuid ceiling;
  };

  /// @param range Empty: not known; filled by `run`. To be emptied after an
  ///              attempt that failed.
  apply_transaction(session& on, const std::vector<apply_request_ptr>& requests,
                    std::optional<log_range>& range);

  /// @returns false if the log knows some of the events: nothing may be
  ///          committed then; run another attempt that looks up.
  bool run(look_up mode);

  /// In the order of the requests. @pre `run` returned true
  std::vector<apply_outcome> take_outcomes();

private:
  /// A branch of the batch: what is asked, and what becomes of it.
  struct lane {
    const apply_request* request = nullptr;
    size_t index = 0;
    apply_outcome outcome;
    /// To be applied, in stream order.
    std::vector<const purchase_event*> fresh;
    std::vector<uint64_t> fresh_seqs;
    /// To be set aside, with the reason.
    std::vector<std::pair<const stream_event*, std::string>> refused;
  };

  struct quarantine_columns;

  /// What holds for the whole transaction.
  struct context {
    /// First day of which minutes are kept.
    calendar_day minutes_from;
    timestamp now;
  };

  void lock_owners();
  void lock_cursors();
  void keep_lanes(const std::map<std::string, int64_t>& epochs);
  void read_range();

  void sort_events(look_up mode);
  std::unordered_set<uuid> known_events();
  void sort_event(lane& to, const stream_event& what,
                  const std::unordered_set<uuid>& known,
                  std::unordered_set<uuid>& seen);
  std::string why_not(const purchase_event& event);

  bool log_events();
  void count_events();
  void move_cursor(lane& of) const;

  void write_hours();
  void write_products();
  void write_labels();
  void write_loyalty();
  void write_customers();
  void write_chain_customers();
  void write_days();
  void write_minutes();
  void write_quarantine();
  void write_quarantine(const quarantine_columns& x);
  void write_cursors();

  /// Books a row that RETURNING gave: a new first visit, or one that moved.
  void book_visit(lane& of, const pqxx::row& row, bool of_chain);

  session& session_;
  /// In branch order; stale ones are taken out.
  std::vector<lane> lanes_;
  std::vector<apply_outcome> outcomes_;
  context context_;
  std::optional<log_range>& range_;
  /// Whether this transaction has read it.
  bool range_is_fresh_ = false;
};

} // namespace tillstream::storage::postgres

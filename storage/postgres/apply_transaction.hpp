#pragma once

#include "messages/model/apply.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/pipeline.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace tillstream::storage::postgres {

/// One attempt to apply the batches of many branches, in a transaction of its
/// own (ARCHITECTURE, 10 and 12). Three trips to the server as a rule: locks;
/// rows; totals that need to know who is new, and the commit.
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
  /// turned away for it. An older range can do no harm otherwise: a floor only
  /// rises, and the INSERT of an event whose partition is gone fails.
  struct log_range {
    uuid floor;
    uuid ceiling;
  };

  /// @param range Empty: not known; filled by `run`. To be emptied after an
  ///              attempt that failed.
  apply_transaction(connection& on,
                    const std::vector<apply_request_ptr>& requests,
                    std::optional<log_range>& range);

  /// @returns false if the log knows some of the events: nothing was written
  ///          then; run another attempt that looks up.
  /// @throws as `transaction::commit`
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

  /// A customer's first visit to the chain on a day, and in which branch.
  using chain_visits
    = std::map<std::pair<calendar_day, uuid>, std::pair<int, lane*>>;

  /// What holds for the whole transaction.
  struct context {
    /// First day of which minutes are kept.
    calendar_day minutes_from;
    timestamp now;
  };

  void lock(pipeline& first);
  void keep_owned(const rows& owners);
  void keep_unmoved(const rows& cursors);
  void read_range();

  void sort_events(look_up mode);
  std::unordered_set<uuid> known_events();
  void sort_event(lane& to, const stream_event& what,
                  const std::unordered_set<uuid>& known,
                  std::unordered_set<uuid>& seen);
  std::string why_not(const purchase_event& event);

  void count_events();
  void move_cursor(lane& of) const;

  /// @returns false as `run` does.
  bool write_rows();

  // Each adds its statement to a trip. @returns its place in there.
  size_t log_events(pipeline& to);
  void write_hours(pipeline& to);
  void write_products(pipeline& to);
  void write_labels(pipeline& to);
  size_t write_loyalty(pipeline& to);
  size_t write_customers(pipeline& to);
  size_t write_chain_customers(pipeline& to);
  void write_days(pipeline& to);
  void write_minutes(pipeline& to);
  void write_quarantine(pipeline& to);
  void write_cursors(pipeline& to);

  void read_loyalty(const rows& from);
  void read_customers(const rows& from);
  void read_chain_customers(const rows& from);

  /// Books a row that RETURNING gave: a new first visit, or one that moved.
  void book_visit(lane& of, const row_view& row, bool of_chain);

  lane& lane_of(std::string_view branch_id);

  connection& db_;
  /// In branch order; stale ones are taken out.
  std::vector<lane> lanes_;
  std::vector<apply_outcome> outcomes_;
  context context_;
  size_t fresh_count_ = 0;
  chain_visits chain_visits_;
  std::optional<log_range>& range_;
  /// Whether this transaction has read it.
  bool range_is_fresh_ = false;
};

} // namespace tillstream::storage::postgres

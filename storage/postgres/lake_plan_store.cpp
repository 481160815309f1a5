#include "storage/ports/aggregate_store.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/stores.hpp"
#include "storage/postgres/transaction.hpp"

#include <algorithm>
#include <chrono>

namespace tillstream::storage {

namespace {

using namespace postgres;

// -- statements ---------------------------------------------------------------

// Two nodes that plan at once would plan the same numbers.
constexpr statement lock_plan{"lake_lock_plan", R"(
  SELECT pg_advisory_xact_lock(hashtextextended('tillstream lake plan', 0)))"};

constexpr statement list_planned{"lake_list_planned", R"(
  SELECT branch_id, from_no, to_no
    FROM lake_segments
   WHERE state = 'PLANNED'
   ORDER BY planned_at, branch_id, from_no
   LIMIT $1)"};

// What each branch has beyond its latest segment: the first number that the
// event log still holds, the last one, and whether the first waits too long.
// A lake that was off for longer than the log is kept goes on where that
// begins.
constexpr statement list_waiting{"lake_list_waiting", R"(
  SELECT c.branch_id, first.apply_no, c.apply_no,
         first.applied_at
           < clock_timestamp() - $2::bigint * interval '1 millisecond'
    FROM branch_cursors c
   CROSS JOIN LATERAL (
     SELECT coalesce(max(to_no), 0) AS done_no
       FROM lake_segments
      WHERE branch_id = c.branch_id) last
   CROSS JOIN LATERAL (
     SELECT apply_no, applied_at
       FROM analytics_event_log
      WHERE branch_id = c.branch_id
        AND apply_no > last.done_no
      ORDER BY apply_no
      LIMIT 1) first
   WHERE c.apply_no > last.done_no
     AND (c.apply_no - first.apply_no + 1 >= $1::bigint
          OR first.applied_at
             < clock_timestamp() - $2::bigint * interval '1 millisecond')
   ORDER BY first.applied_at, c.branch_id
   LIMIT $3)"};

constexpr statement add_segments{"lake_add_segments", R"(
  INSERT INTO lake_segments (branch_id, from_no, to_no)
  SELECT *
    FROM unnest($1::text[], $2::bigint[], $3::bigint[]))"};

constexpr statement list_entries{"lake_list_entries", R"(
  SELECT apply_no, event_id, business_day
    FROM analytics_event_log
   WHERE branch_id = $1
     AND apply_no BETWEEN $2::bigint AND $3::bigint
   ORDER BY apply_no)"};

constexpr statement finish_segment{"lake_finish_segment", R"(
  UPDATE lake_segments
     SET state = 'DONE'
   WHERE branch_id = $1
     AND from_no = $2::bigint
     AND to_no = $3::bigint)"};

// The latest segment stays: it says where the next one begins.
constexpr statement forget_finished{"lake_forget_finished", R"(
  DELETE FROM lake_segments
   WHERE branch_id = $1
     AND state = 'DONE'
     AND from_no < (SELECT max(from_no)
                      FROM lake_segments
                     WHERE branch_id = $1))"};

/// Planning waits for another node's planning.
constexpr auto plan_lock_timeout = std::chrono::seconds{5};

// -- the store ----------------------------------------------------------------

class postgres_lake_plan_store final : public lake_plan_store {
public:
  explicit postgres_lake_plan_store(connection_ptr opened)
    : db_(std::move(opened)) {
    // nop
  }

  caf::expected<std::vector<lake_segment>>
  plan(int64_t rows_max, int64_t age_max_ms, size_t segments_max) override {
    using result_type = std::vector<lake_segment>;
    if (rows_max < 1)
      return caf::make_error(errc::invalid, "rows_max is below 1");
    return guarded(*db_, [&]() -> caf::expected<result_type> {
      transaction tx{*db_};
      db_->exec(lock_plan);
      auto result = planned(segments_max);
      auto added
        = next_segments(rows_max, age_max_ms, segments_max - result.size());
      add(added);
      tx.commit();
      result.insert(result.end(), added.begin(), added.end());
      return result;
    });
  }

  caf::expected<std::vector<lake_entry>>
  entries(const lake_segment& segment) override {
    using result_type = std::vector<lake_entry>;
    return guarded(*db_, [&]() -> caf::expected<result_type> {
      result_type result;
      for (const auto& row : db_->exec(list_entries, segment.branch_id,
                                       segment.from_no, segment.to_no))
        result.push_back({as_int(row[0]), as_uuid(row[1]), as_day(row[2])});
      return result;
    });
  }

  caf::expected<void> finish(const lake_segment& segment) override {
    return guarded(*db_, [&]() -> caf::expected<void> {
      transaction tx{*db_};
      db_->exec(lock_plan);
      db_->exec(finish_segment, segment.branch_id, segment.from_no,
                segment.to_no);
      db_->exec(forget_finished, segment.branch_id);
      tx.commit();
      return caf::unit;
    });
  }

private:
  std::vector<lake_segment> planned(size_t count) {
    std::vector<lake_segment> result;
    for (const auto& row : db_->exec(list_planned, count))
      result.push_back({as_text(row[0]), as_int(row[1]), as_int(row[2])});
    return result;
  }

  /// Full segments, and a shorter last one only where numbers wait too long.
  std::vector<lake_segment>
  next_segments(int64_t rows_max, int64_t age_max_ms, size_t count) {
    std::vector<lake_segment> result;
    for (const auto& row :
         db_->exec(list_waiting, rows_max, age_max_ms, count)) {
      auto first = as_int(row[1]);
      auto last = as_int(row[2]);
      auto is_old = as_bool(row[3]);
      while (result.size() < count && first <= last
             && (is_old || last - first + 1 >= rows_max)) {
        auto end = std::min(last, first + rows_max - 1);
        result.push_back({as_text(row[0]), first, end});
        first = end + 1;
      }
    }
    return result;
  }

  void add(const std::vector<lake_segment>& segments) {
    text_array branches;
    array_of<int64_t> from, to;
    for (const auto& x : segments) {
      branches.add(x.branch_id);
      from.add(x.from_no);
      to.add(x.to_no);
    }
    db_->exec(add_segments, branches, from, to);
  }

  connection_ptr db_;
};

} // namespace

caf::expected<lake_plan_store_ptr>
open_lake_plan_store(const std::string& dsn) {
  return open_store<lake_plan_store, postgres_lake_plan_store>(
    dsn,
    {.application_name = "tillstream-lake", .lock_timeout = plan_lock_timeout});
}

} // namespace tillstream::storage

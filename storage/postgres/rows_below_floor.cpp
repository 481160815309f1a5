#include "storage/postgres/rows_below_floor.hpp"

#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"
#include "storage/postgres/array_param.hpp"
#include "storage/postgres/connection.hpp"

#include <algorithm>

namespace tillstream::storage::postgres {

namespace {

constexpr std::string_view log_found = "outbox.rows_below_floor";

// By number, which is the order of the rows on disk. What is NEW, and the
// smallest number. Nothing while the floor is being lowered by `republish`:
// what is NEW there is not lost.
constexpr statement look_below{"look_below_outbox_floor", R"(
  WITH looked AS MATERIALIZED (
    SELECT seq, status
    FROM outbox_events
    WHERE seq < $1 AND (SELECT generation FROM outbox_floor) = $2
    ORDER BY seq DESC
    LIMIT $3)
  SELECT seq, status = 'NEW'
  FROM looked
  WHERE status = 'NEW' OR seq = (SELECT min(seq) FROM looked)
  ORDER BY seq)"};

constexpr statement select_notices{"select_outbox_notices", R"(
  SELECT branch_id, seq, event_id,
         (extract(epoch FROM created_at) * 1000)::bigint AS created_at,
         publish_round, payload
  FROM outbox_events
  WHERE seq = ANY ($1::bigint[]) AND status = 'NEW'
  ORDER BY seq)"};

counter& rows_metric() {
  static counter& instance = metrics().get_counter(
    "tillstream_outbox_rows_below_floor_total",
    "Outbox rows that were not SENT where polls no longer look.");
  return instance;
}

} // namespace

pqxx::result rows_below_floor::find(connection& db, int64_t floor,
                                    int64_t generation, size_t limit) {
  if (generation != generation_) {
    // Polls start again further down.
    found_.clear();
    next_ = 0;
    generation_ = generation;
  }
  auto now = std::chrono::steady_clock::now();
  if (now >= sweep_at_) {
    sweep(db, floor);
    sweep_at_ = now + options_.interval;
  }
  array_of<int64_t> asked;
  auto end = found_.begin();
  for (; end != found_.end() && limit > 0 && *end < floor; ++end, --limit)
    asked.add(*end);
  if (end == found_.begin())
    return {};
  auto result = db.exec(select_notices, asked);
  found_.erase(found_.begin(), end);
  for (auto row : result)
    found_.insert(as_int(row[1]));
  return result;
}

void rows_below_floor::sweep(connection& db, int64_t floor) {
  // More than that wait already.
  if (found_.size() >= options_.rows_max)
    return;
  auto was_clean = found_.empty();
  auto from = look(db, floor);
  if (next_ != 0)
    from = std::min(from, next_);
  next_ = from != 0 ? look(db, from) : 0;
  if (was_clean && !found_.empty())
    log::warning(log_found,
                 {{"rows", found_.size()}, {"first_seq", *found_.begin()}});
}

int64_t rows_below_floor::look(connection& db, int64_t below) {
  auto rows = db.exec(look_below, below, generation_, options_.rows_max);
  for (auto row : rows)
    if (as_bool(row[1]) && found_.insert(as_int(row[0])).second)
      rows_metric().add();
  return rows.empty() ? 0 : as_int(rows[0][0]);
}

} // namespace tillstream::storage::postgres

#include "storage/ports/outbox_store.hpp"

#include "messages/core/limits.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/rows_below_floor.hpp"
#include "storage/postgres/stores.hpp"
#include "storage/postgres/transaction.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <unordered_map>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace postgres;

/// Rows that `backlog` counts at most.
constexpr int64_t backlog_rows_max = 1'000'000;

/// How far the floor moves before the stored one follows: a relay that starts
/// reads at most about this many rows that are SENT already.
constexpr int64_t stored_floor_distance = 1000;

// -- statements ---------------------------------------------------------------

constexpr statement poll_notices{"poll_outbox", R"(
  SELECT branch_id, seq, event_id,
         (extract(epoch FROM created_at) * 1000)::bigint AS created_at,
         publish_round, payload
  FROM outbox_events
  WHERE seq >= $1 AND status = 'NEW'
  ORDER BY seq
  LIMIT $2)"};

constexpr statement snapshot_bounds{"snapshot_bounds", R"(
  SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
         f.seq, f.generation
  FROM outbox_floor f)"};

constexpr statement last_number{"last_outbox_number", R"(
  SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM outbox_seq)"};

// A statement and a transaction of its own after `last_number`: a number that
// that one saw was taken by a transaction which had its id already (`take_id`
// in purchase_rows.cpp), hence a smaller one than this. A snapshot's `xmax`
// would not do: it is the latest *completed* id plus one, so the newest
// transactions of all may be open and not below it. The server refuses it
// during recovery (25006); it writes no more than a commit record, for which
// it does not wait.
constexpr statement take_transaction_id{"take_transaction_id", R"(
  SELECT pg_current_xact_id()::text::bigint)"};

// Never waits: a `republish` that holds the row is about to lower it.
constexpr statement raise_floor{"raise_outbox_floor", R"(
  UPDATE outbox_floor AS f SET seq = $1
  FROM (SELECT FROM outbox_floor FOR UPDATE SKIP LOCKED) AS unlocked
  WHERE f.generation = $2 AND f.seq < $1)"};

constexpr statement select_floor{"select_outbox_floor", R"(
  SELECT seq FROM outbox_floor)"};

// By number, as no other index can serve that, whatever the planner knows of
// the table. The bounds let the server skip partitions.
constexpr statement confirm_rows_sent{"mark_outbox_sent", R"(
  UPDATE outbox_events
  SET status = 'SENT', sent_at = date_trunc('milliseconds', clock_timestamp())
  WHERE seq = ANY ($1::bigint[]) AND event_id BETWEEN $2 AND $3
    AND status = 'NEW')"};

constexpr statement count_backlog{"count_outbox_backlog", R"(
  SELECT count(*), coalesce(
    (extract(epoch FROM clock_timestamp() - min(created_at)) * 1000)::bigint, 0)
  FROM (SELECT created_at FROM outbox_events
        WHERE seq >= $1 AND status = 'NEW' ORDER BY seq LIMIT $2) AS waiting)"};

constexpr statement lower_floor{"lower_outbox_floor", R"(
  UPDATE outbox_floor
  SET seq = least(seq, $1::bigint + 1), generation = generation + 1)"};

constexpr statement publish_again{"publish_outbox_again", R"(
  UPDATE outbox_events
  SET status = 'NEW', sent_at = NULL, publish_round = publish_round + 1
  WHERE branch_id = $1 AND seq > $2 AND status = 'SENT')"};

constexpr statement select_payloads{"select_outbox_payloads", R"(
  SELECT event_id, payload
  FROM outbox_events
  WHERE branch_id = $1 AND event_id = ANY ($2::uuid[])
    AND event_id BETWEEN $3 AND $4)"};

// A week of a busy branch takes longer than a purchase may.
constexpr auto republish_max = std::chrono::minutes{10};
constexpr const char* begin_long
  = "BEGIN; SET LOCAL statement_timeout = '10min'; "
    "SET LOCAL lock_timeout = '10s'";

// -- rows ---------------------------------------------------------------------

std::vector<commit_notice> read_notices(const pqxx::result& rows) {
  std::vector<commit_notice> result;
  for (auto row : rows) {
    auto& notice = result.emplace_back();
    notice.branch_id = as_text(row["branch_id"]);
    notice.seq = as_int(row["seq"]);
    notice.event_id = as_uuid(row["event_id"]);
    notice.recorded_at = as_timestamp(row["created_at"]);
    notice.publish_round = static_cast<int>(as_int(row["publish_round"]));
    notice.payload
      = std::make_shared<const std::string>(as_text(row["payload"]));
  }
  return result;
}

// -- the store ----------------------------------------------------------------

class postgres_outbox_store : public outbox_store {
public:
  explicit postgres_outbox_store(connection_ptr db) : db_(std::move(db)) {
    // nop
  }

  caf::expected<std::vector<commit_notice>>
  poll(outbox_floor& floor, size_t limit) override;

  caf::expected<std::vector<commit_notice>>
  page(int64_t from_seq, size_t limit) override {
    return guarded(*db_, [&]() -> caf::expected<std::vector<commit_notice>> {
      return read_notices(db_->exec(poll_notices, from_seq, limit));
    });
  }

  caf::expected<void> confirm_sent(const std::vector<sent_row>& sent) override;

  caf::expected<outbox_backlog> backlog(const outbox_floor& floor) override {
    return guarded(*db_, [&]() -> caf::expected<outbox_backlog> {
      // A floor that was never polled with knows nothing yet.
      auto from = floor.generation == 0 ? as_int(db_->exec(select_floor)[0][0])
                                        : floor.seq;
      auto row = db_->exec(count_backlog, from, backlog_rows_max)[0];
      auto below = static_cast<int64_t>(below_floor_.size());
      return outbox_backlog{as_int(row[0]) + below,
                            std::max(as_int(row[1]), int64_t{0})};
    });
  }

  caf::expected<int64_t>
  republish(const std::string& branch_id, int64_t after_seq) override;

  caf::expected<std::vector<std::string>>
  payloads(const std::string& branch_id,
           const std::vector<uuid>& event_ids) override;

private:
  struct bounds {
    uint64_t xmin = 0;
    int64_t stored_seq = 0;
    int64_t generation = 0;
  };

  bounds read_bounds();
  void take_candidate(outbox_floor& floor);
  void store_floor(const outbox_floor& floor, const bounds& now);

  connection_ptr db_;
  rows_below_floor below_floor_;
};

postgres_outbox_store::bounds postgres_outbox_store::read_bounds() {
  auto row = db_->exec(snapshot_bounds)[0];
  return {static_cast<uint64_t>(as_int(row[0])), as_int(row[1]),
          as_int(row[2])};
}

void postgres_outbox_store::take_candidate(outbox_floor& floor) {
  floor.candidate = as_int(db_->exec(last_number)[0][0]);
  floor.candidate_xid
    = static_cast<uint64_t>(as_int(db_->exec(take_transaction_id)[0][0]));
}

/// How the floor moves, with `xmin` as the oldest open transaction:
///
/// ```
///   candidate = last number, candidate_xid = an id taken after it
///                                                     at one poll
///   xmin >= candidate_xid                             at a later one:
///     whoever took a number up to the candidate has ended, so the rows that
///     this poll sees up to there are all that will ever be; the floor moves
///     to the first of them that is NEW, or beyond the candidate.
/// ```
///
/// A transaction that stays open keeps the floor where it is, no more: rows
/// above it are found all the same.
caf::expected<std::vector<commit_notice>>
postgres_outbox_store::poll(outbox_floor& floor, size_t limit) {
  return guarded(*db_, [&]() -> caf::expected<std::vector<commit_notice>> {
    // The rows are read last: their snapshot is the youngest, so what had
    // ended for `xmin` has ended for them.
    auto now = read_bounds();
    auto moved = floor;
    if (moved.generation != now.generation)
      moved = {now.stored_seq, 0, 0, now.generation};
    auto result = read_notices(
      below_floor_.find(*db_, moved.seq, moved.generation, limit / 2));
    auto above
      = read_notices(db_->exec(poll_notices, moved.seq, limit - result.size()));
    if (moved.candidate != 0 && now.xmin >= moved.candidate_xid) {
      auto settled = moved.candidate + 1;
      auto first_new = above.empty() ? settled : above.front().seq;
      moved.seq = std::max(moved.seq, std::min(first_new, settled));
      moved.candidate = 0;
    }
    if (moved.candidate == 0)
      take_candidate(moved);
    store_floor(moved, now);
    floor = moved;
    std::ranges::move(above, std::back_inserter(result));
    return result;
  });
}

void postgres_outbox_store::store_floor(const outbox_floor& floor,
                                        const bounds& now) {
  if (floor.seq >= now.stored_seq + stored_floor_distance)
    db_->exec(raise_floor, floor.seq, floor.generation);
}

caf::expected<void>
postgres_outbox_store::confirm_sent(const std::vector<sent_row>& sent) {
  if (sent.empty())
    return caf::unit;
  return guarded(*db_, [&]() -> caf::expected<void> {
    array_of<int64_t> seqs;
    for (const auto& x : sent)
      seqs.add(x.seq);
    auto [low, high]
      = std::ranges::minmax_element(sent, {}, &sent_row::event_id);
    db_->exec(confirm_rows_sent, seqs, low->event_id, high->event_id);
    return caf::unit;
  });
}

caf::expected<int64_t>
postgres_outbox_store::republish(const std::string& branch_id,
                                 int64_t after_seq) {
  return guarded(*db_, [&]() -> caf::expected<int64_t> {
    answer_timeout_scope longer{*db_, republish_max};
    transaction tx{*db_, begin_long};
    // The floor first: that holds off a relay that is about to raise it.
    db_->exec(lower_floor, after_seq);
    auto rows = db_->exec(publish_again, branch_id, after_seq);
    tx.commit();
    return static_cast<int64_t>(rows.affected_rows());
  });
}

caf::expected<std::vector<std::string>>
postgres_outbox_store::payloads(const std::string& branch_id,
                                const std::vector<uuid>& event_ids) {
  std::vector<std::string> result(event_ids.size());
  if (event_ids.empty())
    return result;
  return guarded(*db_, [&]() -> caf::expected<std::vector<std::string>> {
    std::unordered_map<uuid, std::string> found;
    auto [low, high] = std::minmax_element(event_ids.begin(), event_ids.end());
    for (auto row : db_->exec(select_payloads, branch_id, to_array(event_ids),
                              *low, *high))
      found.emplace(as_uuid(row[0]), as_text(row[1]));
    for (size_t i = 0; i < event_ids.size(); ++i)
      if (auto x = found.find(event_ids[i]); x != found.end())
        result[i] = x->second;
    return result;
  });
}

} // namespace

caf::expected<outbox_store_ptr> open_outbox_store(const std::string& dsn) {
  return open_store<outbox_store, postgres_outbox_store>(
    dsn, {.application_name = "tillstream-outbox", .pinned_plans = true});
}

} // namespace tillstream::storage

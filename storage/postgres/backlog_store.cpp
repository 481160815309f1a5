#include "storage/ports/backlog_store.hpp"

#include "storage/postgres/connection.hpp"
#include "storage/postgres/stores.hpp"

#include <algorithm>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace postgres;

// -- statements ---------------------------------------------------------------

constexpr statement oldest_event{"oldest_outbox_event", R"(
  SELECT purchase_id
  FROM outbox_events
  WHERE branch_id = $1 AND event_id >= $2
  ORDER BY event_id
  LIMIT 1)"};

// From the purchases, of which each was written with its event: a third of the
// pages, and after a start each page costs more than all rows in it. In the
// order of the primary key, so that the server stops at the limit.
constexpr statement recent_notices{"recent_outbox", R"(
  SELECT outbox_seq, event_id,
         (extract(epoch FROM recorded_at) * 1000)::bigint AS recorded_at
  FROM purchases
  WHERE branch_id = $1 AND purchase_id >= $2 AND recorded_at >= $3::timestamptz
  ORDER BY purchase_id
  LIMIT $4)"};

constexpr statement select_sent_age{"select_outbox_sent_age", R"(
  SELECT CASE WHEN status = 'NEW' THEN -1 ELSE greatest(0,
    (extract(epoch FROM clock_timestamp() - sent_at) * 1000)::bigint) END
  FROM outbox_events
  WHERE branch_id = $1 AND event_id = $2)"};

/// The smallest id with the time of `x`, whose version does not count.
uuid floor_of(uuid x) {
  constexpr size_t time_bytes = 6;
  std::fill(x.bytes.begin() + time_bytes, x.bytes.end(), uint8_t{0});
  return x;
}

// -- the store ----------------------------------------------------------------

class postgres_backlog_store final : public backlog_store {
public:
  explicit postgres_backlog_store(connection_ptr db) : db_(std::move(db)) {
    // nop
  }

  caf::expected<std::vector<commit_notice>>
  recent(const std::string& branch_id, timestamp since, size_t limit) override {
    return guarded(*db_, [&]() -> caf::expected<std::vector<commit_notice>> {
      std::vector<commit_notice> result;
      // Purchases are kept, their events are not.
      auto from = uuid7_floor(std::max(since, timestamp{}));
      auto oldest = db_->exec(oldest_event, branch_id, from);
      if (oldest.empty())
        return result;
      from = std::max(from, floor_of(as_uuid(oldest[0][0])));
      for (auto row :
           db_->exec(recent_notices, branch_id, from, since, limit)) {
        auto& notice = result.emplace_back();
        notice.branch_id = branch_id;
        notice.seq = as_int(row[0]);
        notice.event_id = as_uuid(row[1]);
        notice.recorded_at = as_timestamp(row[2]);
      }
      return result;
    });
  }

  caf::expected<std::optional<int64_t>>
  sent_age(const std::string& branch_id, const uuid& event_id) override {
    return guarded(*db_, [&]() -> caf::expected<std::optional<int64_t>> {
      auto rows = db_->exec(select_sent_age, branch_id, event_id);
      if (rows.empty())
        return std::optional<int64_t>{};
      return std::optional<int64_t>{as_int(rows[0][0])};
    });
  }

private:
  connection_ptr db_;
};

} // namespace

caf::expected<backlog_store_ptr> open_backlog_store(const std::string& dsn) {
  return open_store<backlog_store, postgres_backlog_store>(
    dsn, {.application_name = "tillstream-backlog", .pinned_plans = true});
}

} // namespace tillstream::storage

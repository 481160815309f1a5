#include "storage/postgres/partitions.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/schemas.hpp"
#include "storage/postgres/transaction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <optional>
#include <set>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace postgres;

// -- statements ---------------------------------------------------------------

// Keys beside that of the migrations (migrate.cpp).
constexpr const char* lock_partitions
  = "SELECT pg_advisory_xact_lock(1953066092, 2)";
constexpr const char* try_lock_retention
  = "SELECT pg_try_advisory_lock(1953066092, 3)";

constexpr statement select_partitions{"select_partitions", R"(
  SELECT c.relname, i.inhdetachpending
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = to_regclass($1)
  ORDER BY c.relname)"};

// What was detached and not dropped, by a node that died in between.
constexpr statement select_detached{"select_detached", R"(
  SELECT relname FROM pg_class
  WHERE relkind = 'r' AND NOT relispartition AND pg_table_is_visible(oid)
    AND relname ~ ('^' || $1 || '_[0-9]{8}$')
  ORDER BY relname)"};

constexpr statement select_today{"select_today", R"(
  SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date)"};

// -- days and partitions ------------------------------------------------------

/// A table with a partition for each day of the event ids.
struct daily_table {
  std::string_view schema;
  std::string name;
  /// Of the partitions, as LIKE does not copy it.
  std::string storage;
  /// Whether rows must be SENT before they may go.
  bool has_status;
  /// The log refuses what is older than its oldest partition, so it starts
  /// with all that the stream may still hold; the outbox starts now.
  bool starts_in_the_past;
};

const std::array<daily_table, 2>& daily_tables() {
  // Half of an outbox page stays free for the one update of each row, so there
  // is nothing for vacuum to win: what it frees is below the half, and the
  // update touches no index. Left to the rule for all tables, it goes through a
  // few hundred megabytes each minute of a busy day. The threshold is the
  // largest there is; no setting prevents freezing, if it ever comes to that
  // before a partition is dropped.
  static const std::array<daily_table, 2> result{{
    {"oltp", "outbox_events",
     "WITH (fillfactor = 50, autovacuum_vacuum_threshold = 2147483647, "
     "autovacuum_vacuum_insert_threshold = -1)",
     true, false},
    {"analytics", "analytics_event_log", "", false, true},
  }};
  return result;
}

const daily_table* find_daily_table(std::string_view schema) {
  for (const auto& x : daily_tables())
    if (x.schema == schema)
      return &x;
  return nullptr;
}

constexpr std::chrono::days one_day{1};

std::string partition_name(const daily_table& table, calendar_day day) {
  auto digits = to_string(day);
  std::erase(digits, '-');
  return fmt::format("{}_{}", table.name, digits);
}

/// @returns nothing for a table that somebody else made.
std::optional<calendar_day>
partition_day(const daily_table& table, std::string_view name) {
  if (name.size() != table.name.size() + 9 || !name.starts_with(table.name))
    return std::nullopt;
  auto digits = name.substr(table.name.size() + 1);
  return parse_day(fmt::format("{}-{}-{}", digits.substr(0, 4),
                               digits.substr(4, 2), digits.substr(6)));
}

struct partitions {
  std::set<calendar_day> days;
  /// Its detaching began and did not end.
  std::optional<calendar_day> pending;
};

partitions load_partitions(connection& db, const daily_table& table) {
  partitions result;
  for (auto row : db.exec(select_partitions, table.name)) {
    auto day = partition_day(table, as_text(row[0]));
    if (!day)
      continue;
    result.days.insert(*day);
    if (as_bool(row[1]))
      result.pending = day;
  }
  return result;
}

calendar_day today(connection& db) {
  return as_day(db.exec(select_today)[0][0]);
}

/// The first day that must have a partition. Never one before the oldest that
/// is there: its predecessors were dropped, and with them the knowledge of
/// which events were seen.
calendar_day first_wanted(const daily_table& table, const partitions& there,
                          calendar_day now, int retention_days) {
  auto result = table.starts_in_the_past ? now - one_day * (retention_days + 1)
                                         : now - one_day;
  return there.days.empty() ? result : std::max(result, *there.days.begin());
}

/// In two steps: CREATE … PARTITION OF would lock the whole table, ATTACH lets
/// readers and writers go on.
void attach(connection& db, const daily_table& table, calendar_day day) {
  auto name = partition_name(table, day);
  db.run(fmt::format("CREATE TABLE IF NOT EXISTS {0} "
                     "(LIKE {1} INCLUDING ALL) {2}",
                     name, table.name, table.storage));
  db.run(fmt::format("ALTER TABLE {} ATTACH PARTITION {} "
                     "FOR VALUES FROM ('{}') TO ('{}')",
                     table.name, name, to_string(uuid7_floor(timestamp{day})),
                     to_string(uuid7_floor(timestamp{day + one_day}))));
}

std::vector<std::string>
attach_missing(connection& db, const daily_table& table, int retention_days) {
  std::vector<std::string> result;
  transaction tx{db};
  db.run(lock_partitions);
  auto there = load_partitions(db, table);
  auto now = today(db);
  auto last = now + one_day * limits::partitions_ahead_days;
  for (auto day = first_wanted(table, there, now, retention_days); day <= last;
       day += one_day) {
    if (there.days.contains(day))
      continue;
    attach(db, table, day);
    result.push_back(fmt::format("attached {}", partition_name(table, day)));
  }
  tx.commit();
  return result;
}

bool has_unsent(connection& db, const daily_table& table,
                const std::string& name) {
  if (!table.has_status)
    return false;
  auto rows = db.run(
    fmt::format("SELECT EXISTS (SELECT FROM {} WHERE status = 'NEW')", name));
  return as_bool(rows[0][0]);
}

/// Drops a detached partition, or attaches it again if the stream lost some of
/// its events meanwhile, so that they are NEW again.
std::string
drop_detached(connection& db, const daily_table& table, calendar_day day) {
  auto name = partition_name(table, day);
  transaction tx{db};
  auto unsent = has_unsent(db, table, name);
  if (unsent)
    attach(db, table, day);
  else
    db.run(fmt::format("DROP TABLE {}", name));
  tx.commit();
  return unsent ? fmt::format("attached {} again: not all is sent", name)
                : fmt::format("dropped {}", name);
}

/// Outside of a transaction: the server begins two of its own, and waits in
/// between for those who still read the partition.
void detach(connection& db, const daily_table& table, calendar_day day,
            bool pending) {
  db.run(fmt::format("ALTER TABLE {} DETACH PARTITION {} {}", table.name,
                     partition_name(table, day),
                     pending ? "FINALIZE" : "CONCURRENTLY"));
}

std::set<calendar_day> detached_days(connection& db, const daily_table& table) {
  std::set<calendar_day> result;
  for (auto row : db.exec(select_detached, table.name))
    if (auto day = partition_day(table, as_text(row[0])))
      result.insert(*day);
  return result;
}

/// Removes what is older than `oldest_kept`, oldest first.
void drop_old(connection& db, const daily_table& table,
              calendar_day oldest_kept, std::vector<std::string>& changes) {
  auto there = load_partitions(db, table);
  if (there.pending)
    detach(db, table, *there.pending, true);
  for (auto day : detached_days(db, table))
    if (day < oldest_kept)
      changes.push_back(drop_detached(db, table, day));
  for (auto day : there.days) {
    if (day >= oldest_kept)
      break;
    if (day == there.pending)
      continue;
    auto name = partition_name(table, day);
    if (has_unsent(db, table, name)) {
      changes.push_back(fmt::format("kept {}: not all is sent", name));
      continue;
    }
    detach(db, table, day, false);
    changes.push_back(drop_detached(db, table, day));
  }
}

/// One node at a time; a reader that stands in the way is no error, the next
/// call goes on where this one stopped.
void drop_old_if_free(connection& db, const daily_table& table,
                      calendar_day oldest_kept,
                      std::vector<std::string>& changes) {
  if (!as_bool(db.run(try_lock_retention)[0][0]))
    return;
  try {
    drop_old(db, table, oldest_kept, changes);
  } catch (const std::exception& x) {
    if (classify(db, x) != failure::contention)
      throw;
    changes.push_back(fmt::format("left old partitions of {} for later: an "
                                  "open transaction still reads them",
                                  table.name));
  }
}

} // namespace

std::vector<std::string>
attach_partitions(connection& db, std::string_view schema, int retention_days) {
  const auto* table = find_daily_table(schema);
  assert(table != nullptr);
  return attach_missing(db, *table, retention_days);
}

caf::expected<std::vector<std::string>>
maintain_partitions(const std::string& dsn, std::string_view schema,
                    int retention_days) {
  const auto* table = find_daily_table(schema);
  if (table == nullptr)
    return unknown_schema(schema);
  if (retention_days < 1)
    return caf::make_error(errc::invalid, "retention is one day at least");
  auto db = open_connection(dsn, maintenance_options());
  if (!db)
    return db.error();
  return guarded(**db, [&]() -> caf::expected<std::vector<std::string>> {
    auto changes = attach_missing(**db, *table, retention_days);
    // One day of grace for the log: an event of the outbox's last day may
    // still be on its way.
    auto kept = retention_days + (table->starts_in_the_past ? 1 : 0);
    drop_old_if_free(**db, *table, today(**db) - one_day * kept, changes);
    return changes;
  });
}

} // namespace tillstream::storage

#include "storage/verify/verifier.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/purchase.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/transaction.hpp"
#include "storage/verify/checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <exception>
#include <map>
#include <optional>
#include <thread>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace postgres;
using namespace std::chrono_literals;

// -- statements ---------------------------------------------------------------

// The latest event of each branch: events of a branch are applied in order, so
// when it is applied, so are those before.
constexpr const char* latest_events_sql = R"(
  SELECT e.event_id
    FROM branches b
   CROSS JOIN LATERAL (
     SELECT event_id
       FROM outbox_events o
      WHERE o.branch_id = b.branch_id
      ORDER BY event_id DESC
      LIMIT 1) e)";

constexpr statement known_events_sql{"verify_known_events", R"(
  SELECT event_id
    FROM analytics_event_log
   WHERE event_id = ANY ($1::uuid[]))"};

constexpr statement analytics_context_sql{"verify_analytics_context", R"(
  SELECT floor, (clock_timestamp() AT TIME ZONE 'UTC')::date - $1::int
    FROM event_log_range())"};

constexpr const char* prepare_purchases_sql = R"(
  CREATE TEMP TABLE verify_late (event_id uuid NOT NULL) ON COMMIT DROP;
  CREATE TEMP TABLE verify_outbox_days ON COMMIT DROP AS
    SELECT ends[1]::uuid AS low, ends[2]::uuid AS high
      FROM pg_inherits i
      JOIN pg_class c ON c.oid = i.inhrelid
     CROSS JOIN LATERAL regexp_match(
       pg_get_expr(c.relpartbound, c.oid),
       'FROM \(''([0-9a-f-]{36})''\) TO \(''([0-9a-f-]{36})''\)') AS ends
     WHERE i.inhparent = 'outbox_events'::regclass
       AND NOT i.inhdetachpending;
  CREATE TEMP VIEW verify_sold AS
    SELECT *
      FROM purchases p
     WHERE NOT EXISTS (SELECT
                         FROM verify_late l
                        WHERE l.event_id = p.event_id);
  CREATE OR REPLACE FUNCTION pg_temp.verify_json(x text) RETURNS jsonb
  LANGUAGE plpgsql AS $$
  BEGIN
    RETURN x::jsonb;
  EXCEPTION WHEN data_exception THEN
    RETURN NULL;
  END
  $$;
  CREATE OR REPLACE FUNCTION pg_temp.verify_time(x timestamptz) RETURNS text
  LANGUAGE sql AS $$
    SELECT to_char(x AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
  $$;
  CREATE OR REPLACE FUNCTION pg_temp.verify_day_start(
    x timestamptz, zone text, minute_of_day smallint) RETURNS int
  LANGUAGE sql AS $$
    SELECT (trunc(extract(epoch FROM (x AT TIME ZONE zone)::time) / 60)::int
            - minute_of_day + 1440) % 1440
  $$;
  CREATE OR REPLACE FUNCTION pg_temp.verify_money(x bigint, digits int)
  RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN digits > 0
                THEN overlay(lpad(x::text, greatest(length(x::text),
                                                    digits + 1), '0')
                             PLACING '.' FROM
                             greatest(length(x::text), digits + 1) - digits + 1
                             FOR 0)
                ELSE x::text END
  $$)";

constexpr statement add_late_sql{"verify_add_late", R"(
  INSERT INTO verify_late (event_id)
  SELECT unnest($1::uuid[]))"};

constexpr const char* prepare_stream_sql
  = "CREATE TEMP TABLE verify_stream (event_id uuid NOT NULL, "
    "digest text NOT NULL) ON COMMIT DROP";

constexpr statement add_stream_sql{"verify_add_stream", R"(
  INSERT INTO verify_stream (event_id, digest)
  SELECT * FROM unnest($1::uuid[], $2::text[]))"};

constexpr const char* count_purchases_sql = "SELECT count(*) FROM purchases";
constexpr const char* count_items_sql = "SELECT count(*) FROM purchase_items";
constexpr const char* count_outbox_sql = "SELECT count(*) FROM outbox_events";
constexpr const char* count_quarantined_sql
  = "SELECT count(*) FROM quarantined_events";

// A snapshot for all that follows. Cursors are read to their end, so the
// planner must not prefer a quick first row; sorts get room.
constexpr const char* begin_snapshot
  = "BEGIN ISOLATION LEVEL REPEATABLE READ; "
    "SET LOCAL cursor_tuple_fraction = 1; SET LOCAL work_mem = '64MB'";

// -- bounds -------------------------------------------------------------------

/// One statement over all purchases may take long; a lost server is noticed
/// through the connection's own time-outs.
constexpr auto statement_max = 1h;
constexpr auto lock_wait_max = 60s;

/// Rows of a cursor, and ids of an array, in memory at once.
constexpr size_t rows_at_once = 5000;

/// Late events that are followed up. Beyond it the system is so far behind
/// that there is nothing to compare yet.
constexpr size_t late_max = 100'000;

constexpr auto poll_interval = 100ms;

// -- small helpers ------------------------------------------------------------

connection_options patient_options() {
  connection_options result;
  result.application_name = "tillstream-verify";
  result.statement_timeout = statement_max;
  result.lock_timeout = lock_wait_max;
  // One database waits while the other works.
  result.idle_in_transaction_timeout = statement_max;
  return result;
}

/// Product ids are text from outside; a difference is one line.
std::string one_line(std::string text) {
  std::ranges::replace_if(
    text, [](unsigned char c) { return std::iscntrl(c) != 0; }, '?');
  return text;
}

// -- sorted rows --------------------------------------------------------------

/// Reads a query's rows in portions. One at a time for a connection.
class row_stream {
public:
  row_stream(connection& from, const std::string& sql) : db_(from) {
    db_.run("DECLARE verify_rows NO SCROLL CURSOR FOR " + sql);
    fetch();
  }

  ~row_stream() {
    try {
      db_.run("CLOSE verify_rows");
    } catch (const std::exception&) {
      // The transaction failed, and with it the cursor is gone.
    }
  }

  row_stream(const row_stream&) = delete;
  row_stream& operator=(const row_stream&) = delete;

  bool at_end() const {
    return rows_.empty();
  }

  pqxx::row row() const {
    return rows_[index_];
  }

  std::string_view key() const {
    const auto field = rows_[index_][0];
    return {field.c_str(), field.size()};
  }

  void next() {
    if (++index_ == rows_.size())
      fetch();
  }

private:
  void fetch() {
    rows_ = db_.run(fmt::format("FETCH {} FROM verify_rows", rows_at_once));
    index_ = 0;
  }

  connection& db_;
  pqxx::result rows_;
  pqxx::result::size_type index_ = 0;
};

/// `revenue_sum 120, items_sum 3`
std::string render(const pqxx::row& row) {
  std::string result;
  for (pqxx::row::size_type i = 1; i < row.size(); ++i)
    result += fmt::format("{}{} {}", i > 1 ? ", " : "", row[i].name(),
                          as_text(row[i]));
  return result;
}

/// `revenue_sum is 120, should be 110`, of the columns that differ.
std::string render_differences(const pqxx::row& truth, const pqxx::row& kept) {
  std::string result;
  for (pqxx::row::size_type i = 1; i < truth.size(); ++i) {
    if (as_text(truth[i]) == as_text(kept[i]))
      continue;
    result
      += fmt::format("{}{} is {}, should be {}", result.empty() ? "" : "; ",
                     kept[i].name(), as_text(kept[i]), as_text(truth[i]));
  }
  return result;
}

// -- the check ----------------------------------------------------------------

class verifier {
public:
  verifier(connection& purchases, connection& analytics,
           const verify_options& options)
    : purchases_(purchases),
      analytics_(analytics),
      options_(options) {
    // nop
  }

  caf::expected<verify_report> run() {
    wait_for_latest();
    if (auto err = compare_snapshots(); err)
      return err;
    follow_up_late();
    return std::move(report_);
  }

private:
  void say(const std::string& sentence) {
    if (options_.progress)
      options_.progress(sentence);
  }

  void differ(std::string sentence) {
    ++report_.differences_count;
    if (report_.differences.size() < options_.difference_max)
      report_.differences.push_back(one_line(std::move(sentence)));
  }

  // -- waiting ----------------------------------------------------------------

  std::vector<uuid> unknown_to_log(const std::vector<uuid>& ids) {
    std::vector<uuid> result;
    for (size_t begin = 0; begin < ids.size(); begin += rows_at_once) {
      auto end = std::min(ids.size(), begin + rows_at_once);
      std::vector<uuid> part(ids.begin() + static_cast<ptrdiff_t>(begin),
                             ids.begin() + static_cast<ptrdiff_t>(end));
      std::ranges::sort(part);
      std::vector<uuid> known;
      for (const auto& row : analytics_.exec(known_events_sql, to_array(part)))
        known.push_back(as_uuid(row[0]));
      std::ranges::sort(known);
      std::ranges::set_difference(part, known, std::back_inserter(result));
    }
    return result;
  }

  /// @returns those that are not applied in time.
  std::vector<uuid> wait_for(std::vector<uuid> ids) {
    auto deadline = std::chrono::steady_clock::now() + options_.wait_max;
    while (true) {
      ids = unknown_to_log(ids);
      if (ids.empty() || std::chrono::steady_clock::now() >= deadline)
        return ids;
      say(fmt::format("waiting: {} events are not applied yet", ids.size()));
      std::this_thread::sleep_for(poll_interval);
    }
  }

  /// So that little is late when the snapshots are taken.
  void wait_for_latest() {
    std::vector<uuid> latest;
    for (const auto& row : purchases_.run(latest_events_sql))
      latest.push_back(as_uuid(row[0]));
    wait_for(std::move(latest));
  }

  // -- snapshots --------------------------------------------------------------

  caf::error compare_snapshots() {
    transaction analytics{analytics_, begin_snapshot};
    // The first query takes the snapshot.
    read_analytics_context();
    say("counting the purchases");
    transaction purchases{purchases_, begin_snapshot};
    read_purchases_context();
    compare_events();
    compare_labels();
    for (const auto& x : aggregate_checks())
      report_.aggregate_rows += compare(x);
    for (const auto& x : purchase_rules())
      check(purchases_, x);
    for (const auto& x : analytics_rules())
      check(analytics_, x);
    auto err = check_stream();
    // Takes the temporary view with it, too.
    purchases.rollback();
    analytics.rollback();
    return err;
  }

  void read_analytics_context() {
    auto row = analytics_.exec(analytics_context_sql, limits::minute_days)[0];
    bind(":log_floor", as_text(row[0]));
    bind(":minutes_from", as_text(row[1]));
    report_.quarantined = count(analytics_, count_quarantined_sql);
  }

  void read_purchases_context() {
    bind(":stream_since", to_rfc3339(options_.stream_since));
    purchases_.run(prepare_purchases_sql);
    report_.purchases = count(purchases_, count_purchases_sql);
    report_.items = count(purchases_, count_items_sql);
    report_.outbox_rows = count(purchases_, count_outbox_sql);
  }

  static int64_t count(connection& where, const char* sql) {
    return as_int(where.run(sql)[0][0]);
  }

  /// Values are dates, times and ids of the databases' own.
  void bind(const char* name, const std::string& value) {
    names_[name] = value.empty() ? "NULL" : fmt::format("'{}'", value);
  }

  std::string bound(std::string sql) const {
    for (const auto& [name, value] : names_)
      for (auto at = sql.find(name); at != std::string::npos;
           at = sql.find(name, at))
        sql.replace(at, name.size(), value);
    return sql;
  }

  // -- comparing --------------------------------------------------------------

  /// Walks two sorted streams in step.
  template <class OnlyTruth, class OnlyKept, class Both>
  void walk(const comparison& what, OnlyTruth only_truth, OnlyKept only_kept,
            Both both) {
    say(fmt::format("comparing {}", what.table));
    row_stream truth{purchases_, bound(what.truth)};
    row_stream kept{analytics_, bound(what.kept)};
    while (!truth.at_end() || !kept.at_end()) {
      int order = truth.at_end()  ? 1
                  : kept.at_end() ? -1
                                  : truth.key().compare(kept.key());
      if (order < 0) {
        only_truth(truth.row());
        truth.next();
      } else if (order > 0) {
        only_kept(kept.row());
        kept.next();
      } else {
        both(truth.row(), kept.row());
        truth.next();
        kept.next();
      }
    }
  }

  void only_kept(const comparison& what, const pqxx::row& row) {
    differ(fmt::format("{}: {} should not be; it has {}", what.table,
                       as_text(row[0]), render(row)));
  }

  void
  both(const comparison& what, const pqxx::row& truth, const pqxx::row& kept) {
    auto text = render_differences(truth, kept);
    if (!text.empty())
      differ(fmt::format("{}: {}: {}", what.table, as_text(truth[0]), text));
  }

  /// @returns the number of rows.
  int64_t compare(const comparison& what) {
    int64_t rows = 0;
    walk(
      what,
      [&](const pqxx::row& row) {
        ++rows;
        differ(fmt::format("{}: {} is missing; should have {}", what.table,
                           as_text(row[0]), render(row)));
      },
      [&](const pqxx::row& row) { only_kept(what, row); },
      [&](const pqxx::row& truth, const pqxx::row& kept) {
        ++rows;
        both(what, truth, kept);
      });
    return rows;
  }

  /// Labels against the bounds that the purchases have.
  void compare_labels() {
    walk(
      label_check(),
      [&](const pqxx::row& row) {
        if (!row["least"].is_null())
          differ(fmt::format("product_labels: {} is missing; should have {}",
                             as_text(row[0]), render(row)));
      },
      [&](const pqxx::row& row) {
        ++report_.aggregate_rows;
        only_kept(label_check(), row);
      },
      [&](const pqxx::row& bounds, const pqxx::row& kept) {
        ++report_.aggregate_rows;
        auto most = as_int(bounds["most"]);
        auto least = bounds["least"].is_null() ? 0 : as_int(bounds["least"]);
        auto seq = as_int(kept["outbox_seq"]);
        if (seq < least || seq > most)
          differ(fmt::format("product_labels: {}: outbox_seq is {}, should be "
                             "from {} to {}",
                             as_text(kept[0]), seq, least, most));
      });
  }

  /// Purchases against the event log; fills `verify_late`.
  void compare_events() {
    const auto& what = event_log_check();
    std::vector<uuid> portion;
    walk(
      what,
      [&](const pqxx::row& row) {
        portion.push_back(as_uuid(row[0]));
        notice_late(portion.back());
        if (portion.size() == rows_at_once)
          add_ids(add_late_sql, portion);
      },
      [&](const pqxx::row& row) {
        ++report_.logged_events;
        only_kept(what, row);
      },
      [&](const pqxx::row& truth, const pqxx::row& kept) {
        ++report_.logged_events;
        both(what, truth, kept);
      });
    add_ids(add_late_sql, portion);
  }

  void notice_late(const uuid& id) {
    ++report_.late;
    if (late_.size() < late_max)
      late_.push_back(id);
  }

  void add_ids(const statement& how, std::vector<uuid>& ids) {
    if (!ids.empty())
      purchases_.exec(how, to_array(ids));
    ids.clear();
  }

  void check(connection& where, const rule& what) {
    say(fmt::format("checking {}", what.name));
    for (row_stream rows{where, bound(what.broken)}; !rows.at_end();
         rows.next())
      differ(std::string{rows.key()});
  }

  /// Columns of `verify_stream`.
  struct stream_rows {
    std::vector<uuid> ids;
    std::vector<std::string> digests;
  };

  void add_stream(const stream_rows& rows) {
    if (!rows.ids.empty())
      purchases_.exec(add_stream_sql, to_array(rows.ids),
                      to_array(rows.digests));
  }

  /// The stream is read after the snapshot, so it has what was SENT then.
  caf::error check_stream() {
    if (!options_.scan_stream)
      return caf::none;
    say("reading the stream");
    purchases_.run(prepare_stream_sql);
    stream_rows portion;
    // What the database throws must not pass through the stream's library.
    std::exception_ptr failed;
    auto visit = [&](const uuid& id, std::string_view payload) {
      ++report_.stream_events;
      portion.ids.push_back(id);
      portion.digests.push_back(to_hex(sha256(payload)));
      if (portion.ids.size() < rows_at_once)
        return;
      try {
        if (!failed)
          add_stream(portion);
      } catch (...) {
        failed = std::current_exception();
      }
      portion = {};
    };
    auto scanned = options_.scan_stream(visit);
    if (failed)
      std::rethrow_exception(failed);
    if (!scanned)
      return scanned.error();
    add_stream(portion);
    purchases_.run("ANALYZE verify_stream");
    check(purchases_, stream_rule());
    return caf::none;
  }

  // -- what was late ----------------------------------------------------------

  /// An event may be late, but not lost.
  void follow_up_late() {
    auto beyond = report_.late - static_cast<int64_t>(late_.size());
    for (const auto& id : wait_for(std::move(late_)))
      differ(fmt::format("analytics_event_log: {} is missing: its purchase is "
                         "committed and not applied",
                         to_string(id)));
    if (beyond > 0)
      differ(fmt::format("analytics_event_log: {} more purchases were not "
                         "applied when the databases were read",
                         beyond));
  }

  connection& purchases_;
  connection& analytics_;
  const verify_options& options_;
  verify_report report_;
  std::map<std::string, std::string> names_;
  std::vector<uuid> late_;
};

caf::error explain(const connection& purchases, const connection& analytics,
                   const std::exception& what) {
  auto sqlstate = sqlstate_of(what);
  if (sqlstate == "42P01" || sqlstate == "42883")
    return caf::make_error(errc::invalid,
                           fmt::format("a schema is not there, run `tillstream "
                                       "migrate`: {}",
                                       what.what()));
  return to_error(classify(purchases.broken() ? purchases : analytics, what),
                  what);
}

} // namespace

caf::expected<verify_report>
verify(const std::string& oltp_dsn, const std::string& analytics_dsn,
       const verify_options& options) {
  auto purchases = open_connection(oltp_dsn, patient_options());
  if (!purchases)
    return std::move(purchases.error());
  auto analytics = open_connection(analytics_dsn, patient_options());
  if (!analytics)
    return std::move(analytics.error());
  try {
    return verifier{**purchases, **analytics, options}.run();
  } catch (const std::exception& x) {
    return explain(**purchases, **analytics, x);
  }
}

} // namespace tillstream::storage

#pragma once

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"
#include "storage/postgres/array_param.hpp"

#include <caf/error.hpp>
#include <caf/expected.hpp>

#include <pqxx/version>

#if PQXX_VERSION_MAJOR < 7
#include <pqxx/binarystring>
#endif
#include <pqxx/connection>
#include <pqxx/except>
#include <pqxx/nontransaction>
#include <pqxx/result>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

struct pg_conn;

/// @file storage/postgres/session.hpp
/// What all stores on PostgreSQL share: a connection with our time-outs,
/// transactions whose COMMIT can be in doubt, array literals, and the way from
/// an exception to an `errc`. The only place that knows which libpqxx it is.

namespace tillstream::storage::postgres {

/// A named SQL statement, a constant beside its use. It is prepared when a
/// session needs it first. `name` tells statements of a program apart.
struct statement {
  const char* name;
  const char* sql;
};

struct session_options {
  /// Shown by `pg_stat_activity`.
  std::string application_name = "tillstream";
  /// Zero: none.
  std::chrono::milliseconds statement_timeout = limits::statement_timeout;
  std::chrono::milliseconds lock_timeout = limits::lock_timeout;
  std::chrono::milliseconds idle_in_transaction_timeout
    = limits::idle_in_transaction_timeout;
  /// For statements that look rows of big tables up: always by index, and
  /// planned seldom. A plan that is kept was made for the tables of its time:
  /// on an empty one every index looks equally good, and the wrong one then
  /// reads a whole branch for each row (measured: ten times slower after
  /// 10,000 purchases). So plans are made anew as the tables may have grown:
  /// with each eighth more statements than there were before, and once a
  /// second. Planning at each run instead takes a quarter of what a
  /// batch of 64 purchases costs the server (benchmarks/LOG.md).
  bool pinned_plans = false;
};

#if PQXX_VERSION_MAJOR < 7
/// INTERNAL: a text or NULL, as libpqxx 6 knows no `std::optional`.
struct nullable_text {
  std::string value;
  bool null;
};
#endif

#if PQXX_VERSION_MAJOR < 7
/// INTERNAL: connects as always, and keeps what it got.
class raw_connection_policy : public pqxx::connect_direct {
public:
  using pqxx::connect_direct::connect_direct;

  handle do_startconnect(handle before) override;

  /// What this thread's last connection is to libpq. (The policy's object is
  /// out of reach inside of the connection.)
  static thread_local handle last;
};
#endif

/// A connection. After an error that broke it, it stays broken: everything
/// throws. Throws libpqxx's exceptions; stores turn them into an `errc` with
/// `guarded`. One thread at a time.
class session {
public:
  /// Connects. The DSN may be a URL or `key=value` pairs; what it says wins
  /// over our defaults for connect_timeout, keepalives and tcp_user_timeout.
  /// @throws pqxx::broken_connection
  explicit session(const std::string& dsn, const session_options& options = {});

  session(const session&) = delete;
  session& operator=(const session&) = delete;

  /// Runs a prepared statement. Arguments: strings, integers, bool,
  /// `std::optional` of these (empty: NULL), uuid, timestamp, array_of.
  template <class... Ts>
  pqxx::result exec(const statement& what, const Ts&... xs) {
    prepare(what);
    renew_plans();
#if PQXX_VERSION_MAJOR >= 7
    return tx_.exec(pqxx::prepped{what.name}, pqxx::params{to_param(xs)...});
#else
    return tx_.exec_prepared(what.name, to_param(xs)...);
#endif
  }

  /// Runs SQL as it is; may hold several statements. Never with anything in
  /// it that came from outside.
  pqxx::result run(const std::string& sql) {
    return tx_.exec(sql);
  }

  /// Whether the connection is lost.
  bool broken() const {
    return !connection_.is_open();
  }

private:
  friend class pipeline;
  friend class transaction;

  void prepare(const statement& what);

  /// Whether the server is inside a transaction, also one that has failed.
  bool in_transaction() const;

  /// Drops plans that may have outlived the tables they were made for.
  void renew_plans();

  static const std::string& to_param(const std::string& x) {
    return x;
  }
  static std::string to_param(std::string_view x) {
    return std::string{x};
  }
  static std::string to_param(const char* x) {
    return x;
  }
  static std::string to_param(bool x) {
    return x ? "t" : "f";
  }
  static std::string to_param(const uuid& x) {
    return tillstream::to_string(x);
  }
  static std::string to_param(timestamp x) {
    return to_rfc3339(x);
  }
  static std::string to_param(calendar_day x) {
    return tillstream::to_string(x);
  }
  /// In binary form.
  static auto to_param(const array_param& x) {
#if PQXX_VERSION_MAJOR >= 7
    return pqxx::binary_cast(x.data());
#else
    return pqxx::binarystring{x.data().data(), x.data().size()};
#endif
  }
  template <class T>
  requires std::is_integral_v<T>
  static std::string to_param(T x) {
    return std::to_string(x);
  }
  template <class T>
  static auto to_param(const std::optional<T>& x) {
#if PQXX_VERSION_MAJOR >= 7
    return x ? std::make_optional(std::string{to_param(*x)}) : std::nullopt;
#else
    return nullable_text{x ? std::string{to_param(*x)} : std::string{}, !x};
#endif
  }

  // libpq's, for what libpqxx does not offer. Usable unless `broken`.
  pg_conn* raw_ = nullptr;
#if PQXX_VERSION_MAJOR < 7
  pqxx::basic_connection_base<raw_connection_policy> connection_;
#else
  pqxx::connection connection_;
#endif
  // Begins and ends nothing by itself: `transaction` does, in plain sight.
  pqxx::nontransaction tx_;
  std::unordered_set<std::string_view> prepared_;
  bool pinned_plans_;
  uint64_t runs_ = 0;
  uint64_t renew_at_run_ = 1;
  std::chrono::steady_clock::time_point renew_at_;
};

using session_ptr = std::unique_ptr<session>;

class pipeline;
class rows;

/// A transaction. Rolls back unless committed.
class transaction {
public:
  /// @param begin May hold more statements after `BEGIN`, e.g. `SET LOCAL`.
  explicit transaction(session& on, const std::string& begin = "BEGIN");

  /// Begins with the first of its statements. @pre `first` is empty
  transaction(session& on, pipeline& first);

  ~transaction();

  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;

  /// @throws pqxx::in_doubt_error when the session ended inside COMMIT;
  ///         anything else: it was rolled back.
  void commit();

  /// Commits with the last of its statements. @returns what they returned.
  std::vector<rows> commit(pipeline& last);

  /// Gives up. Throws when the session is broken.
  void rollback();

private:
  void give_up() noexcept;

  /// Turns the exception of a COMMIT into what it means.
  [[noreturn]] void refuse(const std::exception& what);

  session& session_;
  bool open_ = true;
};

// -- errors -------------------------------------------------------------------

/// What an exception means for whoever has to decide what to do next.
enum class failure : uint8_t {
  /// COMMIT was sent and never answered.
  in_doubt,
  /// The session is lost, or the server goes away.
  broken,
  /// A lock time-out, a deadlock, a serialization failure, or no room left in
  /// the lock table: a smaller transaction, or a later one, may succeed.
  contention,
  /// A unique index refused a row.
  duplicate,
  /// The server refused a value: class 22, and 23 without `duplicate`.
  bad_data,
  /// The server lacks something for now: disk, memory, time, or it is a
  /// standby.
  exhausted,
  /// Ours.
  bug,
};

failure classify(const session& on, const std::exception& what);

/// SQLSTATE of an exception, or an empty string.
std::string sqlstate_of(const std::exception& what);

/// `errc::in_doubt`, `errc::unavailable` or `errc::internal`.
caf::error to_error(failure why, const std::exception& what);

/// Runs `f`, which returns some `caf::expected`, and turns what it throws into
/// an error.
template <class F>
auto guarded(const session& on, F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception& x) {
    return to_error(classify(on, x), x);
  }
}

/// Opens a session. `errc::unavailable` when the server cannot be reached or
/// lets nobody in; `errc::invalid` when the DSN cannot be read.
caf::expected<session_ptr>
open_session(const std::string& dsn, const session_options& options = {});

// -- arrays -------------------------------------------------------------------

/// Builds the text form of a PostgreSQL array, one column of many rows, for a
/// parameter like `$1::text[]`. Valid at any time, also when empty.
class array_literal {
public:
  /// @param bytes About how long it will become.
  explicit array_literal(size_t bytes = 0);

  /// Any text without U+0000; quoted and escaped.
  void add(std::string_view x);
  void add(const std::string& x) {
    add(std::string_view{x});
  }
  void add(const char* x) {
    add(std::string_view{x});
  }
  void add(const uuid& x) {
    add_bare(tillstream::to_string(x));
  }
  void add(timestamp x) {
    add_bare(to_rfc3339(x));
  }
  void add(calendar_day x) {
    add_bare(tillstream::to_string(x));
  }
  void add(bool x) {
    add_bare(x ? "t" : "f");
  }
  template <class T>
  requires std::is_integral_v<T>
  void add(T x) {
    add_bare(std::to_string(x));
  }
  template <class T>
  void add(const std::optional<T>& x) {
    if (x)
      add(*x);
    else
      add_bare("NULL");
  }

  const std::string& str() const {
    return text_;
  }

private:
  /// Opens a place for the next element.
  void next();
  void add_bare(std::string_view x);

  std::string text_;
};

/// An array literal of all of `xs`.
template <class Container>
std::string to_array(const Container& xs) {
  array_literal result;
  for (const auto& x : xs)
    result.add(x);
  return result.str();
}

// -- values -------------------------------------------------------------------

/// A column's value in a row, in text form. Lives as long as its row.
struct value_view {
  value_view(const char* x, size_t bytes, bool null, const char* name)
    : data(x),
      size(bytes),
      is_null(null),
      column(name) {
    // nop
  }

  // NOLINTNEXTLINE: either kind of row may be read.
  value_view(const pqxx::field& x)
    : value_view(x.c_str(), x.size(), x.is_null(), x.name()) {
    // nop
  }

  std::string_view text() const {
    return {data, size};
  }

  const char* data;
  size_t size;
  bool is_null;
  const char* column;
};

/// Reads a `uuid` column. @throws std::runtime_error
uuid as_uuid(const value_view& x);

/// Reads a `bigint` of milliseconds since 1970. In SQL:
/// `(extract(epoch FROM t) * 1000)::bigint`, which is exact.
timestamp as_timestamp(const value_view& x);

/// Reads a `date` column (ISO style, which every session sets).
calendar_day as_day(const value_view& x);

int64_t as_int(const value_view& x);
bool as_bool(const value_view& x);
std::string as_text(const value_view& x);

} // namespace tillstream::storage::postgres

#if PQXX_VERSION_MAJOR < 7
template <>
struct pqxx::string_traits<tillstream::storage::postgres::nullable_text> {
  using type = tillstream::storage::postgres::nullable_text;
  static bool is_null(const type& x) {
    return x.null;
  }
  static std::string to_string(const type& x) {
    return x.value;
  }
};
#endif

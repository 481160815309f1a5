#pragma once

#include "messages/core/limits.hpp"
#include "storage/postgres/call_deadline.hpp"
#include "storage/postgres/failure.hpp"
#include "storage/postgres/pqxx_compat.hpp"
#include "storage/postgres/values.hpp"

#include <caf/expected.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

/// @file storage/postgres/connection.hpp
/// A connection with our time-outs and prepared statements.

namespace tillstream::storage::postgres {

/// A named SQL statement, a constant beside its use. It is prepared when a
/// connection needs it first. `name` tells statements of a program apart.
struct statement {
  const char* name;
  const char* sql;
};

struct connection_options {
  /// Shown by `pg_stat_activity`.
  std::string application_name = "tillstream";
  /// Zero: none.
  std::chrono::milliseconds statement_timeout = limits::statement_timeout;
  std::chrono::milliseconds lock_timeout = limits::lock_timeout;
  std::chrono::milliseconds idle_in_transaction_timeout
    = limits::idle_in_transaction_timeout;
  /// How long a call waits for the server's answer before the connection is
  /// given up. Nothing: `limits::answer_grace` more than `statement_timeout`;
  /// zero: for ever.
  std::optional<std::chrono::milliseconds> answer_timeout = std::nullopt;
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

/// A connection. After an error that broke it, it stays broken: everything
/// throws. So it is after a call that the server did not answer in time, whose
/// outcome is as open as that of a lost connection. Throws libpqxx's
/// exceptions; stores turn them into an `errc` with `guarded`. One thread at a
/// time.
class connection {
public:
  /// Connects. The DSN may be a URL or `key=value` pairs; what it says wins
  /// over our defaults for connect_timeout, keepalives and tcp_user_timeout.
  /// @throws pqxx::broken_connection
  explicit connection(const std::string& dsn, const connection_options& options
                                              = {});

  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  /// Runs a prepared statement. Arguments: strings, integers, bool,
  /// `std::optional` of these (empty: NULL), uuid, timestamp, array_of.
  template <class... Ts>
  pqxx::result exec(const statement& what, const Ts&... xs) {
    prepare(what);
    renew_plans();
    return bounded(
      [&] { return exec_prepared(tx_, what.name, to_param(xs)...); });
  }

  /// Runs SQL as it is; may hold several statements. Never with anything in
  /// it that came from outside.
  pqxx::result run(const std::string& sql) {
    return bounded([&] { return tx_.exec(sql); });
  }

  /// Whether the connection is lost.
  bool broken() const {
    return !pqxx_.is_open();
  }

  /// Whether the server is inside a transaction, also one that has failed.
  bool in_transaction() const;

private:
  friend class pipeline;
  friend class answer_timeout_scope;

  /// Runs `f`, which waits for the server, for `answer_timeout_` at most.
  template <class F>
  auto bounded(F&& f) -> decltype(f()) {
    call_deadline deadline{socket_, answer_timeout_};
    try {
      return f();
    } catch (const std::exception&) {
      if (deadline.passed())
        throw_unanswered();
      throw;
    }
  }

  /// @throws pqxx::broken_connection
  [[noreturn]] void throw_unanswered() const;

  void prepare(const statement& what);

  /// Drops plans that may have outlived the tables they were made for.
  void renew_plans();

  pqxx_connection pqxx_;
  watched_socket socket_;
  std::chrono::milliseconds answer_timeout_;
  // Begins and ends nothing by itself: `transaction` does, in plain sight.
  pqxx::nontransaction tx_;
  std::unordered_set<std::string_view> prepared_;
  bool pinned_plans_;
  uint64_t runs_ = 0;
  uint64_t renew_at_run_ = 1;
  std::chrono::steady_clock::time_point renew_at_;
};

/// For statements with a time-out of their own: waits this much longer than
/// `answer_grace` for answers while it lives.
class answer_timeout_scope {
public:
  answer_timeout_scope(connection& on,
                       std::chrono::milliseconds statement_timeout)
    : on_(on),
      before_(std::exchange(on.answer_timeout_,
                            statement_timeout + limits::answer_grace)) {
    // nop
  }

  answer_timeout_scope(const answer_timeout_scope&) = delete;
  answer_timeout_scope& operator=(const answer_timeout_scope&) = delete;
  ~answer_timeout_scope() {
    on_.answer_timeout_ = before_;
  }

private:
  connection& on_;
  std::chrono::milliseconds before_;
};

using connection_ptr = std::unique_ptr<connection>;

inline failure classify(const connection& on, const std::exception& what) {
  return classify(on.broken(), what);
}

/// Runs `f`, which returns some `caf::expected`, and turns what it throws into
/// an error.
template <class F>
auto guarded(const connection& on, F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception& x) {
    return to_error(classify(on, x), x);
  }
}

/// Opens a connection. `errc::unavailable` when the server cannot be reached or
/// lets nobody in, or the DSN cannot be read.
caf::expected<connection_ptr>
open_connection(const std::string& dsn, const connection_options& options = {});

/// Opens a `Store`, which is a `Port`, on a connection of its own.
template <class Port, class Store, class... Ts>
caf::expected<std::unique_ptr<Port>>
open_store(const std::string& dsn, const connection_options& options,
           Ts&&... xs) {
  auto db = open_connection(dsn, options);
  if (!db)
    return db.error();
  return std::unique_ptr<Port>{
    std::make_unique<Store>(std::move(*db), std::forward<Ts>(xs)...)};
}

} // namespace tillstream::storage::postgres

#include "storage/postgres/session.hpp"

#include "storage/postgres/pipeline.hpp"

#include <fmt/format.h>

#include <libpq-fe.h>

#include <cassert>
#include <charconv>
#include <cstring>
#include <stdexcept>

namespace tillstream::storage::postgres {

namespace {

/// How long a plan is kept: new ones take about two milliseconds a session.
constexpr auto plan_age_max = std::chrono::seconds{1};

/// A dead peer is noticed within a statement's time-out, also while we wait
/// for an answer: keepalives when nothing is in flight, the user time-out when
/// something is.
std::string connection_defaults(const session_options& options, char joint) {
  return fmt::format(
    "connect_timeout={1}{0}application_name={2}{0}"
    "keepalives_idle=5{0}keepalives_interval=2{0}"
    "keepalives_count=3{0}tcp_user_timeout={3}",
    joint, limits::connect_timeout.count(), options.application_name,
    std::chrono::milliseconds{limits::statement_timeout}.count());
}

bool is_url(std::string_view dsn) {
  return dsn.starts_with("postgresql://") || dsn.starts_with("postgres://");
}

/// Our defaults come first, as of two equal keys the later wins.
std::string
with_defaults(const std::string& dsn, const session_options& options) {
  if (!is_url(dsn))
    return connection_defaults(options, ' ') + ' ' + dsn;
  auto query = dsn.find('?');
  auto head = dsn.substr(0, query);
  auto result = head + '?' + connection_defaults(options, '&');
  if (query != std::string::npos)
    result += '&' + dsn.substr(query + 1);
  return result;
}

std::string session_settings(const session_options& options) {
  auto result = fmt::format(
    "SET statement_timeout = {}; SET lock_timeout = {}; "
    "SET idle_in_transaction_session_timeout = {}; "
    "SET client_encoding = 'UTF8'; SET timezone = 'UTC'; "
    "SET datestyle = 'ISO'; SET client_min_messages = warning; "
    "SET default_transaction_isolation = 'read committed'; SET jit = off",
    options.statement_timeout.count(), options.lock_timeout.count(),
    options.idle_in_transaction_timeout.count());
  if (options.pinned_plans)
    result += "; SET plan_cache_mode = force_generic_plan; "
              "SET enable_seqscan = off; SET enable_hashjoin = off; "
              "SET enable_mergejoin = off; "
              "SET max_parallel_workers_per_gather = 0";
  return result;
}

#if PQXX_VERSION_MAJOR >= 7
PGconn* connect(const std::string& dsn) {
  auto* result = PQconnectdb(dsn.c_str());
  if (result != nullptr && PQstatus(result) == CONNECTION_OK)
    return result;
  std::string reason = result != nullptr ? PQerrorMessage(result) : "no memory";
  PQfinish(result);
  throw pqxx::broken_connection(reason);
}
#endif

bool in_class(const std::string& sqlstate, std::string_view prefix) {
  return std::string_view{sqlstate}.starts_with(prefix);
}

failure classify_sqlstate(const std::string& sqlstate) {
  if (in_class(sqlstate, "08") || in_class(sqlstate, "57P")
      || sqlstate == "25P03")
    return failure::broken;
  // 53200 is what a full lock table says: half a batch needs half the locks.
  if (in_class(sqlstate, "40") || sqlstate == "55P03" || sqlstate == "53200")
    return failure::contention;
  if (sqlstate == "23505")
    return failure::duplicate;
  if (in_class(sqlstate, "22") || in_class(sqlstate, "23"))
    return failure::bad_data;
  if (in_class(sqlstate, "53") || in_class(sqlstate, "58")
      || sqlstate == "57014" || sqlstate == "25006")
    return failure::exhausted;
  return failure::bug;
}

} // namespace

// -- session ------------------------------------------------------------------

#if PQXX_VERSION_MAJOR < 7
thread_local raw_connection_policy::handle raw_connection_policy::last;

raw_connection_policy::handle
raw_connection_policy::do_startconnect(handle before) {
  last = pqxx::connect_direct::do_startconnect(before);
  return last;
}
#endif

session::session(const std::string& dsn, const session_options& options)
#if PQXX_VERSION_MAJOR < 7
  : connection_(with_defaults(dsn, options)),
#else
  : raw_(connect(with_defaults(dsn, options))),
    connection_(pqxx::connection::seize_raw_connection(raw_)),
#endif
    tx_(connection_),
    pinned_plans_(options.pinned_plans) {
#if PQXX_VERSION_MAJOR < 7
  raw_ = raw_connection_policy::last;
  // libpqxx 6 connects again in silence, and with that loses our settings and
  // an open transaction. Deprecated, as libpqxx 7 has no such trap.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  connection_.inhibit_reactivation(true);
#pragma GCC diagnostic pop
#endif
  tx_.exec(session_settings(options));
}

void session::prepare(const statement& what) {
  if (prepared_.contains(what.name))
    return;
  connection_.prepare(what.name, what.sql);
#if PQXX_VERSION_MAJOR < 7
  // libpqxx 6 only notices it until the first `exec_prepared`.
  connection_.prepare_now(what.name);
#endif
  prepared_.insert(what.name);
}

bool session::in_transaction() const {
  return !broken() && PQtransactionStatus(raw_) != PQTRANS_IDLE;
}

void session::renew_plans() {
  if (!pinned_plans_)
    return;
  ++runs_;
  auto now = std::chrono::steady_clock::now();
  if (runs_ < renew_at_run_ && now < renew_at_)
    return;
  tx_.exec("DISCARD PLANS");
  renew_at_run_ = runs_ + runs_ / 8 + 1;
  renew_at_ = now + plan_age_max;
}

// -- transaction --------------------------------------------------------------

transaction::transaction(session& on, const std::string& begin) : session_(on) {
  try {
    session_.run(begin);
  } catch (const std::exception&) {
    // What follows BEGIN may have failed.
    give_up();
    throw;
  }
}

transaction::transaction(session& on, pipeline& first) : session_(on) {
  assert(first.size() == 0);
  first.add_sql("BEGIN");
}

transaction::~transaction() {
  if (open_)
    give_up();
}

void transaction::give_up() noexcept {
  if (!session_.in_transaction())
    return;
  try {
    session_.run("ROLLBACK");
  } catch (const std::exception&) {
    // The session is lost, and with it the transaction.
  }
}

void transaction::commit() {
  open_ = false;
  try {
    session_.run("COMMIT");
  } catch (const std::exception& x) {
    refuse(x);
  }
}

std::vector<rows> transaction::commit(pipeline& last) {
  last.add_sql("COMMIT");
  try {
    auto result = last.run();
    open_ = false;
    return result;
  } catch (const std::exception& x) {
    // A statement before the COMMIT may have failed: then we still are inside.
    refuse(x);
  }
}

/// A server that lives on and says no has rolled back, or will. Everything else
/// leaves the outcome open.
void transaction::refuse(const std::exception& what) {
  auto sqlstate = sqlstate_of(what);
  if (!session_.broken() && !sqlstate.empty()
      && classify_sqlstate(sqlstate) != failure::broken)
    throw;
  throw pqxx::in_doubt_error(what.what());
}

void transaction::rollback() {
  open_ = false;
  session_.run("ROLLBACK");
}

// -- errors -------------------------------------------------------------------

std::string sqlstate_of(const std::exception& what) {
  if (auto* x = dynamic_cast<const pqxx::sql_error*>(&what))
    return x->sqlstate();
  // libpqxx 6 leaves the state out of these.
  if (dynamic_cast<const pqxx::deadlock_detected*>(&what) != nullptr)
    return "40P01";
  if (dynamic_cast<const pqxx::statement_completion_unknown*>(&what) != nullptr)
    return "40003";
  if (dynamic_cast<const pqxx::transaction_rollback*>(&what) != nullptr)
    return "40001";
  return "";
}

failure classify(const session& on, const std::exception& what) {
  if (dynamic_cast<const pqxx::in_doubt_error*>(&what) != nullptr)
    return failure::in_doubt;
  if (on.broken()
      || dynamic_cast<const pqxx::broken_connection*>(&what) != nullptr)
    return failure::broken;
  return classify_sqlstate(sqlstate_of(what));
}

caf::error to_error(failure why, const std::exception& what) {
  std::string text = what.what();
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.pop_back();
  switch (why) {
    case failure::in_doubt:
      return caf::make_error(errc::in_doubt, std::move(text));
    case failure::broken:
    case failure::contention:
    case failure::exhausted:
      return caf::make_error(errc::unavailable, std::move(text));
    case failure::duplicate:
    case failure::bad_data:
    case failure::bug:
      break;
  }
  return caf::make_error(errc::internal, std::move(text));
}

caf::expected<session_ptr>
open_session(const std::string& dsn, const session_options& options) {
  try {
    return std::make_unique<session>(dsn, options);
  } catch (const pqxx::broken_connection& x) {
    return to_error(failure::broken, x);
  } catch (const pqxx::sql_error& x) {
    return to_error(classify_sqlstate(x.sqlstate()), x);
  } catch (const std::exception& x) {
    return to_error(failure::bug, x);
  }
}

// -- arrays -------------------------------------------------------------------

array_literal::array_literal(size_t bytes) {
  text_.reserve(bytes + 2);
  text_ = "{}";
}

void array_literal::next() {
  if (text_.size() == 2)
    text_.pop_back();
  else
    text_.back() = ',';
}

void array_literal::add(std::string_view x) {
  next();
  text_ += '"';
  while (true) {
    // Copies in runs: most texts need no escape, an event has many.
    auto stop = x.find_first_of("\"\\");
    if (stop == std::string_view::npos)
      break;
    text_.append(x.substr(0, stop));
    text_ += '\\';
    text_ += x[stop];
    x.remove_prefix(stop + 1);
  }
  text_.append(x);
  text_ += "\"}";
}

void array_literal::add_bare(std::string_view x) {
  next();
  text_.append(x);
  text_ += '}';
}

// -- values -------------------------------------------------------------------

uuid as_uuid(const value_view& x) {
  auto result = parse_uuid(x.text());
  if (!result)
    throw std::runtime_error("not a UUID in column " + std::string{x.column});
  return *result;
}

timestamp as_timestamp(const value_view& x) {
  return from_ms(as_int(x));
}

calendar_day as_day(const value_view& x) {
  auto result = parse_day(x.text());
  if (!result)
    throw std::runtime_error("not a day in column " + std::string{x.column});
  return *result;
}

int64_t as_int(const value_view& x) {
  int64_t result = 0;
  const auto* end = x.data + x.size;
  auto [rest, error] = std::from_chars(x.data, end, result);
  if (x.is_null || error != std::errc{} || rest != end)
    throw std::runtime_error("not an integer in column "
                             + std::string{x.column});
  return result;
}

bool as_bool(const value_view& x) {
  return !x.is_null && x.data[0] == 't';
}

std::string as_text(const value_view& x) {
  return x.is_null ? std::string{} : std::string{x.text()};
}

} // namespace tillstream::storage::postgres

#include "storage/postgres/connection.hpp"

#include <fmt/format.h>

#include <libpq-fe.h>

#include <pqxx/except>

namespace tillstream::storage::postgres {

namespace {

/// How long a plan is kept: new ones take about two milliseconds a
/// connection.
constexpr auto plan_age_max = std::chrono::seconds{1};

/// A dead peer is noticed within a statement's time-out, also while we wait
/// for an answer: keepalives when nothing is in flight, the user time-out when
/// something is.
std::string connection_defaults(const connection_options& options, char joint) {
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
with_defaults(const std::string& dsn, const connection_options& options) {
  if (!is_url(dsn))
    return connection_defaults(options, ' ') + ' ' + dsn;
  auto query = dsn.find('?');
  auto head = dsn.substr(0, query);
  auto result = head + '?' + connection_defaults(options, '&');
  if (query != std::string::npos)
    result += '&' + dsn.substr(query + 1);
  return result;
}

std::string settings_of(const connection_options& options) {
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

std::chrono::milliseconds answer_timeout_of(const connection_options& options) {
  if (options.answer_timeout)
    return *options.answer_timeout;
  if (options.statement_timeout.count() == 0)
    return {};
  return options.statement_timeout + limits::answer_grace;
}

} // namespace

// libpq bounds connecting by `connect_timeout` with all that is said until the
// server is ready.
connection::connection(const std::string& dsn,
                       const connection_options& options)
  : pqxx_(with_defaults(dsn, options)),
    socket_(PQsocket(pqxx_.raw())),
    answer_timeout_(answer_timeout_of(options)),
    tx_(pqxx_.native()),
    pinned_plans_(options.pinned_plans) {
  run(settings_of(options));
}

void connection::throw_unanswered() const {
  throw pqxx::broken_connection(fmt::format(
    "the server did not answer within {} ms", answer_timeout_.count()));
}

void connection::prepare(const statement& what) {
  if (prepared_.contains(what.name))
    return;
  bounded([&] { pqxx_.prepare(what.name, what.sql); });
  prepared_.insert(what.name);
}

bool connection::in_transaction() const {
  return !broken() && PQtransactionStatus(pqxx_.raw()) != PQTRANS_IDLE;
}

void connection::renew_plans() {
  if (!pinned_plans_)
    return;
  ++runs_;
  auto now = std::chrono::steady_clock::now();
  if (runs_ < renew_at_run_ && now < renew_at_)
    return;
  run("DISCARD PLANS");
  renew_at_run_ = runs_ + runs_ / 8 + 1;
  renew_at_ = now + plan_age_max;
}

caf::expected<connection_ptr>
open_connection(const std::string& dsn, const connection_options& options) {
  try {
    return std::make_unique<connection>(dsn, options);
  } catch (const pqxx::broken_connection& x) {
    return to_error(failure::broken, x);
  } catch (const pqxx::sql_error& x) {
    return to_error(classify_sqlstate(x.sqlstate()), x);
  } catch (const std::exception& x) {
    return to_error(failure::bug, x);
  }
}

} // namespace tillstream::storage::postgres

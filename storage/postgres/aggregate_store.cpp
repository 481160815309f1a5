#include "storage/ports/aggregate_store.hpp"

#include "messages/core/limits.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"
#include "storage/postgres/aggregate_slices.hpp"
#include "storage/postgres/apply_transaction.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/stores.hpp"
#include "storage/postgres/transaction.hpp"

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace postgres;

// -- statements ---------------------------------------------------------------

// Branch by branch, so that each part is a short piece of the primary key.
constexpr statement prune_minutes{"aggregate_prune_minutes", R"(
  DELETE FROM minute_sales_by_branch
   WHERE ctid = ANY (ARRAY(
     SELECT old.ctid
       FROM branch_cursors c
      CROSS JOIN LATERAL (
        SELECT m.ctid
          FROM minute_sales_by_branch m
         WHERE m.branch_id = c.branch_id
           AND m.day < (clock_timestamp() AT TIME ZONE 'UTC')::date - $1::int
         LIMIT $2) old
      LIMIT $2)))"};

constexpr const char* begin_snapshot
  = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

// -- bounds -------------------------------------------------------------------

/// How long an apply waits for a lock. Writers meet in the chain's set, where
/// one waits for the other's commit as a matter of course; giving up early
/// would only do the work twice. Nobody stays longer than this: a connection
/// that stops inside its transaction is ended after 2 s, a statement after 10
/// s.
constexpr auto apply_lock_timeout = std::chrono::seconds{5};

/// Attempts of one transaction before it is an error. An attempt fails on a
/// deadlock or a lock time-out, or finds that events are known.
constexpr int attempts_max = 5;

/// Between two attempts; times the number of the attempt.
constexpr auto attempt_pause = std::chrono::milliseconds{10};

// -- metrics and log ----------------------------------------------------------

constexpr const char* retries_metric
  = "tillstream_analytics_transaction_retries_total";
constexpr const char* retries_help
  = "Analytics transactions that were run again after a deadlock or a lock "
    "time-out.";

void notice_retry(const std::exception& what) {
  metrics().get_counter(retries_metric, retries_help).add();
  log::info("aggregate_store.transaction_retried", {{"reason", what.what()}});
}

/// 23514: the partition was detached between reading the log's range and
/// the INSERT. The next attempt sees the new range.
bool worth_another_try(const connection& on, const std::exception& what) {
  return classify(on, what) == failure::contention
         || sqlstate_of(what) == "23514";
}

/// Runs `f` until it returns something, again when another try can help.
/// @returns what is inside of what `f` returned.
template <class F>
auto with_retries(const connection& on, F&& f) ->
  typename decltype(f())::value_type {
  for (int attempt = 1;; ++attempt) {
    try {
      if (auto result = f(); result)
        return *std::move(result);
      if (attempt == attempts_max)
        throw std::runtime_error("the event log changes under our lock");
    } catch (const std::exception& x) {
      if (attempt == attempts_max || !worth_another_try(on, x))
        throw;
      notice_retry(x);
    }
    std::this_thread::sleep_for(attempt * attempt_pause);
  }
}

// -- the store ----------------------------------------------------------------

class postgres_aggregate_store final : public aggregate_store {
public:
  explicit postgres_aggregate_store(connection_ptr opened)
    : db_(std::move(opened)) {
    // nop
  }

  caf::expected<std::vector<apply_outcome>>
  apply(const std::vector<apply_request_ptr>& requests) override {
    using result_type = std::vector<apply_outcome>;
    return guarded(*db_, [&]() -> caf::expected<result_type> {
      auto mode = apply_transaction::look_up::no;
      return with_retries(*db_, [&]() -> std::optional<result_type> {
        // Whatever this attempt meets, another must not rely on an old range.
        auto range = std::exchange(log_range_, std::nullopt);
        apply_transaction work{*db_, requests, range};
        if (!work.run(mode)) {
          mode = apply_transaction::look_up::yes;
          return std::nullopt;
        }
        log_range_ = range;
        return work.take_outcomes();
      });
    });
  }

  caf::expected<branch_state> load(const std::string& branch_id) override {
    return guarded(*db_, [&]() -> caf::expected<branch_state> {
      transaction tx{*db_, begin_snapshot};
      auto result = read_state(*db_, branch_id);
      tx.rollback();
      return result;
    });
  }

  caf::expected<slice> load_slice(const slice_request& request) override {
    if (!request.until_minutes.empty()
        && request.until_minutes.size() != request.branch_ids.size())
      return caf::make_error(errc::invalid,
                             "one minute for each branch, or none");
    return guarded(*db_, [&]() -> caf::expected<slice> {
      transaction tx{*db_, begin_snapshot};
      auto result = read_slice(*db_, request);
      tx.rollback();
      return result;
    });
  }

  caf::expected<int64_t> prune(int64_t rows_max) override {
    return guarded(*db_, [&]() -> caf::expected<int64_t> {
      auto result = db_->exec(prune_minutes, limits::minute_days, rows_max);
      return static_cast<int64_t>(result.affected_rows());
    });
  }

private:
  connection_ptr db_;
  /// As the last apply knew it.
  std::optional<apply_transaction::log_range> log_range_;
};

} // namespace

caf::expected<aggregate_store_ptr>
open_aggregate_store(const std::string& dsn) {
  return open_store<aggregate_store, postgres_aggregate_store>(
    dsn, {.application_name = "tillstream-analytics",
          .lock_timeout = apply_lock_timeout});
}

} // namespace tillstream::storage

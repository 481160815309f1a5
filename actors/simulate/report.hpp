#pragma once

#include "messages/core/money.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

/// @file actors/simulate/report.hpp
/// What a simulation counts, and how it reports it.

namespace tillstream::commands {

using duration_us = std::chrono::microseconds;

/// Latencies in fixed memory: exact below 128 us, then 64 buckets for each
/// power of two, so that a value is off by less than 1.6 %.
class latency_histogram {
public:
  void add(duration_us latency);

  uint64_t count() const {
    return count_;
  }

  /// @param share 0 to 1, e.g. 0.99. @returns the least value that so many do
  ///              not exceed, rounded up to the end of its bucket; zero when
  ///              nothing was added.
  duration_us quantile(double share) const;

  duration_us max() const {
    return duration_us{max_};
  }

private:
  static constexpr size_t exact = 128;
  static constexpr size_t steps = 64;
  /// Enough for 2^40 us: two weeks.
  static constexpr size_t buckets = exact + (40 - 7) * steps;

  static size_t bucket_of(uint64_t value);
  static uint64_t end_of(size_t bucket);

  std::array<uint64_t, buckets> counts_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

/// How the posting of one sale ended.
struct sale_result {
  enum class kind {
    /// Durable with this call.
    recorded,
    /// It was durable before.
    replayed,
    /// A definite no to this sale.
    refused,
    /// No definite answer, or one that says that the simulation is set up
    /// wrongly.
    failed,
  };
  kind what = kind::failed;
  /// Why not: a problem's name and its first pointer, or what went wrong.
  std::string reason;
  /// Of what is recorded.
  minor_units total = 0;
  /// Whom the server gave the sale to, when it was a new customer.
  std::string new_customer;
  /// How often it was posted, at least once.
  unsigned attempts = 1;
};

struct branch_tally {
  int64_t recorded = 0;
  minor_units revenue = 0;
  int64_t replayed = 0;
  int64_t refused = 0;
  int64_t failed = 0;

  friend bool operator==(const branch_tally&, const branch_tally&) = default;
};

struct tally {
  branch_tally total;
  std::map<std::string, branch_tally> branches;
  std::map<std::string, int64_t> refusals;
  std::map<std::string, int64_t> failures;
  /// Posts beyond the first of each sale.
  int64_t retries = 0;
  /// Replays that followed a retry: an earlier answer was lost.
  int64_t settled = 0;
  /// Failures since the last answer.
  int64_t failures_in_a_row = 0;
  /// Of sales that got an answer.
  latency_histogram latency;

  int64_t sales() const {
    return total.recorded + total.replayed + total.refused + total.failed;
  }
};

/// Counts for all tills at once. Thread-safe.
class scoreboard {
public:
  /// Branches and reasons counted by name; more come from a hostile file or
  /// server and share one line.
  static constexpr size_t names_max = 200;

  /// @param branch_id As the sale names it.
  void add(const std::string& branch_id, const sale_result& result,
           duration_us latency);

  tally snapshot() const;

  int64_t sales() const;

  /// Sales that failed since the last one that got an answer.
  int64_t failures_in_a_row() const;

private:
  mutable std::mutex mutex_;
  tally tally_;
};

/// What a run was, for the report's first line.
struct run_facts {
  std::chrono::milliseconds elapsed{0};
  size_t tills = 0;
  tillstream::currency currency;
};

/// Renders the final report, several lines.
std::string render_report(const tally& counts, const run_facts& facts);

/// Renders one line of progress.
/// @param share How much is done, 0 to 1; nothing: nobody knows.
/// @param bar   With a bar in front, for a terminal.
std::string
render_progress(const tally& counts, std::chrono::milliseconds elapsed,
                std::optional<double> share, bool bar);

/// Groups digits by thousands: `1234567.89` to `1,234,567.89`.
std::string grouped(std::string digits);

/// Replaces what would act on a terminal and cuts what is too long.
std::string printable(std::string_view text, size_t size_max = 80);

} // namespace tillstream::commands

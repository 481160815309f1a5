#pragma once

#include "actors/http/client.hpp"
#include "actors/simulate/report.hpp"
#include "actors/simulate/sale.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/money.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <string>

namespace tillstream::commands {

/// How patient a till is.
struct retry_policy {
  /// Posts of one sale. With the times below about 40 s: a server that
  /// restarts, or a database that fails over, is back by then.
  unsigned attempts_max = 12;

  /// Doubles with each attempt up to `backoff_max`; half of it is random, so
  /// that tills do not come back all at once.
  std::chrono::milliseconds backoff_min{100};
  std::chrono::milliseconds backoff_max{5000};

  /// A server that asks for more than this is not obeyed.
  std::chrono::milliseconds retry_after_max{30'000};
};

/// What all tills of a simulation share.
struct till_options {
  std::string host;
  uint16_t port = 0;
  /// Secrets by branch. Never empty.
  std::map<std::string, std::string> keys;
  tillstream::currency currency;
  retry_policy retry;
  /// Ends waits early when true.
  const std::atomic<bool>* stop = nullptr;
};

/// One till: posts sales over one connection and does not let go of one until
/// it has a definite answer.
///
/// It posts the same bytes under the same key again when the connection broke,
/// no answer came, or the server said that the trouble was its own (5xx), that
/// it is busy (429) or that the same sale is still on its way (409
/// `request-in-progress`); never after any other 4xx.
///
/// Blocks; belongs to one thread.
class till {
public:
  /// @param options Must outlive the till.
  /// @param seed    Of the random part of its waits.
  till(const till_options& options, uint64_t seed);

  /// Posts until there is an answer, timeout ends or `stop` is set.
  sale_result post(const sale& what);

private:
  /// What one answer means.
  struct reading {
    bool again = false;
    std::chrono::milliseconds retry_after{0};
    sale_result result;
  };

  reading post_once(const sale& what);
  reading read_recorded(const http_response& answer);
  reading read_problem(const http_response& answer);
  const std::string& key_of(const std::string& branch_id) const;
  std::chrono::milliseconds pause_after(unsigned attempt, const reading& last);

  const till_options& options_;
  http_client client_;
  json_document document_;
  std::mt19937_64 prng_;
};

/// Sleeps until `when` in small steps. @returns false when `stop` was set.
bool sleep_until(std::chrono::steady_clock::time_point when,
                 const std::atomic<bool>* stop);

} // namespace tillstream::commands

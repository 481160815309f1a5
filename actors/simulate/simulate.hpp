#pragma once

#include "actors/simulate/till.hpp"
#include "messages/model/chain.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <string>

namespace tillstream::commands {

/// What `simulate` is to do.
struct simulate_options {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  /// Secrets by branch; at least one.
  std::map<std::string, std::string> till_keys;
  /// Whose chain the shoppers go to; its currency reads the totals.
  tillstream::chain chain;

  /// The sales to play; absent: made-up shoppers.
  std::optional<std::string> csv_path;
  /// To be watched: a history that ends now is posted at once, then `rate`
  /// sales a second, `live_rate` unless said, happen now.
  bool live = false;
  /// Purchases a second, all tills together; 0: as fast as answers come.
  double rate = 0;
  /// Connections, 1 to `tills_max`.
  size_t tills = 8;
  /// Seconds, without a history's; 0: until the CSV ends, or for ever.
  unsigned duration_s = 0;
  uint64_t seed = 1;
  retry_policy retry;

  /// Report progress on `progress_out`.
  bool progress = true;
  std::ostream* progress_out = &std::cerr;
  std::ostream* report_out = &std::cout;
  /// Set by somebody else to end it: what is being posted is finished, nothing
  /// is posted after. May be null.
  const std::atomic<bool>* stop = nullptr;

  /// More threads than a simulation needs to load one server.
  static constexpr size_t tills_max = 1000;

  /// Numbers that move every other second can still be read.
  static constexpr double live_rate = 2;
};

/// How a simulation ended.
enum class simulate_outcome {
  /// Every sale got its answer; refusals are answers.
  done,
  /// A sale got no answer, or no server is there.
  failed,
  /// The options or the CSV make no sense; nothing was posted.
  invalid,
};

/// Plays tills over HTTP and reports.
///
/// ```
///  CSV or shoppers ──> pump ──> lane 1 ──> till 1 ──HTTP──> server
///  (one thread: this)       ├─> lane 2 ──> till 2 ──HTTP──>
///                           └─> …          (a thread each)
/// ```
/// A POS keeps its lane, so that its sales stay in order; with more POS than
/// lanes some share one. With a rate the loop is open: a sale is due at its
/// time whether or not earlier ones are answered, and its latency counts from
/// then, so that a slow server cannot hide by slowing its tills.
///
/// Blocks.
simulate_outcome simulate(const simulate_options& options);

} // namespace tillstream::commands

#pragma once

#include "messages/protocol/upkeep.hpp"

#include <caf/expected.hpp>
#include <caf/timespan.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace tillstream {

/// Tuning of the JANITOR.
struct janitor_options {
  /// Attaches and detaches a schema's partitions; returns a sentence on each
  /// change. Runs on the janitor's own thread.
  std::function<caf::expected<std::vector<std::string>>(
    const std::string& schema)>
    maintain = nullptr;

  std::vector<std::string> schemas = {"oltp", "analytics"};

  /// Partitions are attached a week ahead: an hour is soon enough.
  caf::timespan interval = std::chrono::hours{1};

  /// The wait after a round that failed.
  caf::timespan retry_interval = std::chrono::minutes{1};
};

/// State of the JANITOR.
struct janitor_state {
  janitor_state() = default;

  static inline const char* name = "janitor";

  janitor_options options;
};

/// Keeps the partitions of both databases ahead of time and within their
/// retention.
///
/// - Promise: does its round at start and each `interval`.
/// - Thread: `caf::detached`, because the databases block.
/// - Limits: nobody sends it anything but itself.
/// - Failure: a schema that fails is logged and tried again after
///   `retry_interval`; the other one is maintained all the same.
/// @param self The actor handle.
/// @param options Moved into the state.
janitor_actor::behavior_type
janitor(janitor_actor::stateful_pointer<janitor_state> self,
        janitor_options options);

} // namespace tillstream

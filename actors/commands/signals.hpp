#pragma once

#include <chrono>

namespace tillstream::commands {

/// Turns SIGINT and SIGTERM into something to wait for. Make it before any
/// thread starts: threads inherit that both are blocked.
class stop_signals {
public:
  stop_signals();

  /// @returns true when a signal came within `timeout`.
  bool wait(std::chrono::milliseconds timeout);

  /// From now on a signal ends the process at once, with exit code 1: the
  /// second Ctrl-C of somebody who will not wait.
  void release();
};

} // namespace tillstream::commands

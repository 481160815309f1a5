#pragma once

#include "actors/node/settings.hpp"

#include <caf/expected.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace tillstream {

/// One running node: its actors, its HTTP edge, its sessions.
///
/// - Limits: sessions and threads are bounded by the settings, whatever the
///   number of branches.
/// - Failure: a part that cannot be mended by restarting it ends the node:
///   `on_give_up` gets the reason, once, from any thread.
/// - Shutdown: `stop` drains the gateway, finishes what was accepted, publishes
///   and applies what is at hand, hands ownership back and closes the
///   sessions, in this order, within the grace period.
class node {
public:
  /// Checks both databases and the stream, then starts everything that the
  /// roles ask for.
  /// @param on_give_up May be called from any thread, at most once.
  /// @returns `errc::invalid` when a server is not safe to use, with what is
  ///          wrong and how to mend it; `errc::unavailable` when one is away.
  static caf::expected<std::unique_ptr<node>>
  start(const settings& how, std::function<void(std::string)> on_give_up);

  virtual ~node() = default;

  /// The port that it listens on.
  virtual uint16_t port() const = 0;

  /// Ends the node in order. @returns false when the grace period was over.
  virtual bool stop() = 0;
};

} // namespace tillstream

#pragma once

#include "messages/model/peer.hpp"
#include "storage/ports/event_stream.hpp"

#include <caf/expected.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// @file storage/ports/peer_link.hpp
/// Messages between nodes over the broker's plain subjects: nothing is stored,
/// nothing is sent twice. A node listens to one subject of its own, to one
/// that is everybody's, and to its inbox, whatever the number of branches.

namespace tillstream::storage {

/// The subject that everybody listens to.
constexpr std::string_view peer_notices_subject = "tillstream.notes";

/// The subject of a node. Names may hold what a subject can't, so all but
/// letters, digits, `-` and `_` is written `=XX`.
std::string peer_subject(std::string_view node);

/// Calls fail at once with `errc::unavailable` while there is no connection;
/// nothing is kept for later.
class peer_link {
public:
  /// Runs on a thread of the link's own: it may do nothing but hand its
  /// argument to an actor.
  using message_handler = std::function<void(std::vector<peer_message>)>;

  /// After the destructor no handler runs any more.
  virtual ~peer_link() = default;

  /// Sends a query to a node; each message of its answer comes with this token.
  virtual caf::expected<void>
  ask(const std::string& node, uint64_t token, std::string_view payload) = 0;

  /// Sends a part of an answer to where the query said. `errc::invalid`:
  /// that is no inbox.
  virtual caf::expected<void>
  answer(const std::string& reply_to, std::string_view payload) = 0;

  /// Sends to all other nodes.
  virtual caf::expected<void> tell_all(std::string_view payload) = 0;

  virtual bool connected() const = 0;
};

using peer_link_ptr = std::unique_ptr<peer_link>;

/// Connects a node to the others.
caf::expected<peer_link_ptr>
connect_peers(const nats_settings& settings, const std::string& node,
              peer_link::message_handler on_message);

} // namespace tillstream::storage

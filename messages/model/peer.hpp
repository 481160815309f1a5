#pragma once

#include "messages/core/error.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/purchase.hpp"
#include "messages/model/queries.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

/// @file messages/model/peer.hpp
/// What nodes say to each other.

namespace tillstream {

/// A query from one node to another, for all branches of it at once.
struct peer_query {
  enum class kind : uint8_t {
    /// Each branch's part of a query of the dashboard.
    ask,
    /// Whether one of the branches has the event; waits for it.
    after,
  };

  kind what = kind::ask;
  /// After this the answer is of no use.
  std::chrono::milliseconds timeout{0};
  std::vector<std::string> branches;
  /// `ask`: one for each of `branches`; many of them the same one.
  std::vector<shard_query_ptr> queries;
  /// `after`
  uuid event_id;
};

/// One branch's part.
struct peer_part {
  /// `none`: there is an answer.
  errc error = errc::none;
  shard_answer_ptr answer;
};

struct peer_answer {
  /// `ask`: by branch. Those that are missing were not answered.
  std::map<std::string, peer_part> parts;
  /// `after`
  bool applied = false;
};

/// What a commit told: one document for all of its events, without payload.
struct peer_notices {
  /// Who committed.
  std::string node;
  std::vector<commit_notice> notices;
};

using peer_query_ptr = std::shared_ptr<const peer_query>;
using peer_answer_ptr = std::shared_ptr<const peer_answer>;

/// A message that came from another node, or the broker's word that there is
/// none.
struct peer_message {
  enum class kind : uint8_t {
    /// A query to this node.
    query,
    /// Part of an answer to the query of this `token`.
    answer,
    /// The node that was asked does not listen.
    nobody,
    /// What another node tells all.
    notice,
    /// Messages may be missing: the connection was lost for a while.
    gap,
  };

  kind what = kind::query;
  uint64_t token = 0;
  /// `query`: where to answer.
  std::string reply_to;
  std::string payload;
};

using peer_messages_ptr = std::shared_ptr<const std::vector<peer_message>>;

} // namespace tillstream

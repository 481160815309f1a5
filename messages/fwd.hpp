#pragma once

#include "messages/apply.hpp"
#include "messages/http.hpp"
#include "messages/purchase.hpp"
#include "messages/stream.hpp"

#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/atom.hpp>
#include <caf/fwd.hpp>
#include <caf/type_id.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

/// @file messages/fwd.hpp
/// Type IDs and atoms of everything that travels between actors. Nodes speak
/// over NATS in versioned JSON, never in CAF's own format, so no message of
/// an actor leaves its process: the types need no serialization and are
/// declared 'unsafe' to CAF, which lets them move and share without a copy.

namespace tillstream {

using notes_ptr = std::shared_ptr<const std::vector<outbox_note>>;
using publish_acks_ptr = std::shared_ptr<const std::vector<publish_ack>>;
using deliveries_ptr = std::shared_ptr<const std::vector<delivery>>;
using delivery_ptr = std::shared_ptr<const delivery>;
using purchase_details_ptr = std::shared_ptr<const purchase_details>;
using http_reply_ptr = std::shared_ptr<const http_reply>;
using strings_ptr = std::shared_ptr<const std::vector<std::string>>;

/// What the PURCHASE READER is asked.
struct purchase_lookup {
  /// Where to look.
  std::vector<std::string> branches;
  /// Exactly one of both is set.
  std::optional<uuid> purchase_id;
  std::optional<uuid> idempotency_key;
};

struct customer_page_request {
  std::optional<uuid> after;
  size_t limit = 100;
};

struct known_customer {
  uuid user_id;
  timestamp since;
};

using customer_page_ptr = std::shared_ptr<const std::vector<known_customer>>;

/// What an actor says of itself, for `/readyz`.
struct readiness {
  std::string part;
  bool ready = false;
  /// Why not.
  std::string reason;
};

/// A question of the dashboard that passed authentication.
struct analytics_question {
  http_request_ptr request;
  /// Last segment of the path, e.g. `summary`.
  std::string name;
  std::string trace_id;
};

using analytics_question_ptr = std::shared_ptr<const analytics_question>;

/// A page that wants to be told what changes; see actors/live_feed.hpp.
struct live_listener;
using live_listener_ptr = std::shared_ptr<live_listener>;

/// The digest of a one-time sign-in link.
struct sign_in_link {
  sha256_digest digest{};
};

/// A session of the page that is to end before its time.
struct session_end {
  uuid session_id;
  timestamp expires_at;
};

// The shard's side of a question; see messages/questions.hpp.
struct shard_question;
struct shard_answer;
using shard_question_ptr = std::shared_ptr<const shard_question>;
using shard_answer_ptr = std::shared_ptr<const shard_answer>;

// What nodes say to each other; see messages/peer.hpp.
struct peer_question;
struct peer_answer;
using peer_question_ptr = std::shared_ptr<const peer_question>;
using peer_answer_ptr = std::shared_ptr<const peer_answer>;

/// A message that came from another node, or the broker's word that there is
/// none.
struct peer_message {
  enum class kind : uint8_t {
    /// A question to this node.
    question,
    /// Part of an answer to the question of this `token`.
    answer,
    /// The node that was asked does not listen.
    nobody,
    /// What another node tells all.
    note,
    /// Messages may be missing: the connection was lost for a while.
    gap,
  };

  kind what = kind::question;
  uint64_t token = 0;
  /// `question`: where to answer.
  std::string reply_to;
  std::string payload;
};

using peer_messages_ptr = std::shared_ptr<const std::vector<peer_message>>;

} // namespace tillstream

CAF_BEGIN_TYPE_ID_BLOCK(tillstream_types, caf::first_custom_type_id)

  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::uuid))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::purchase_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::record_result))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::notes_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::publish_acks_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::deliveries_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::delivery_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::stream_state))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::purchase_lookup))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::purchase_details_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::customer_page_request))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::customer_page_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::apply_request_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::apply_outcome_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::branch_state_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::chunk_request))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::chunk_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::http_exchange_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::http_reply_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::strings_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::readiness))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::timestamp))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::analytics_question_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::live_listener_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::sign_in_link))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::session_end))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::shard_question_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::shard_answer_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::ownerships_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::peer_question_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::peer_answer_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::peer_messages_ptr))

CAF_END_TYPE_ID_BLOCK(tillstream_types)

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::uuid)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::purchase_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::record_result)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::notes_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::publish_acks_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::deliveries_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::delivery_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::stream_state)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::purchase_lookup)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::purchase_details_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::customer_page_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::customer_page_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::apply_request_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::apply_outcome_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::branch_state_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::chunk_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::chunk_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::http_exchange_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::http_reply_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::strings_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::readiness)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::timestamp)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::analytics_question_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::live_listener_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::sign_in_link)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::session_end)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::shard_question_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::shard_answer_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::ownerships_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::peer_question_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::peer_answer_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::peer_messages_ptr)

// Atoms: ten characters at most.
namespace tillstream::atom {

#define TILLSTREAM_ATOM(name)                                                  \
  using name = caf::atom_constant<caf::atom(#name)>;                           \
  constexpr auto name##_v = name {                                             \
  }

TILLSTREAM_ATOM(submit);
TILLSTREAM_ATOM(flush);
TILLSTREAM_ATOM(reopen);
TILLSTREAM_ATOM(request);
TILLSTREAM_ATOM(find);
TILLSTREAM_ATOM(list);
TILLSTREAM_ATOM(committed);
TILLSTREAM_ATOM(acked);
TILLSTREAM_ATOM(poll);
TILLSTREAM_ATOM(tick);
TILLSTREAM_ATOM(republish);
TILLSTREAM_ATOM(open);
TILLSTREAM_ATOM(close);
TILLSTREAM_ATOM(fetch);
TILLSTREAM_ATOM(ack);
TILLSTREAM_ATOM(deliver);
TILLSTREAM_ATOM(state);
TILLSTREAM_ATOM(apply);
TILLSTREAM_ATOM(load);
TILLSTREAM_ATOM(recent);
TILLSTREAM_ATOM(ask);
TILLSTREAM_ATOM(after);
TILLSTREAM_ATOM(update);
TILLSTREAM_ATOM(ready);
TILLSTREAM_ATOM(drain);

#undef TILLSTREAM_ATOM

} // namespace tillstream::atom

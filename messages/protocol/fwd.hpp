#pragma once

#include "messages/core/time.hpp"

#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/atom.hpp>
#include <caf/fwd.hpp>
#include <caf/type_id.hpp>

#include <memory>
#include <string>
#include <vector>

/// @file messages/protocol/fwd.hpp
/// Type IDs and atoms of everything that travels between actors. Nodes speak
/// over NATS in versioned JSON, never in CAF's own format, so no message of
/// an actor leaves its process: the types need no serialization and are
/// declared 'unsafe' to CAF, which lets them move and share without a copy.
/// Only forward declarations stand here; the types are in messages/model.

namespace tillstream {

struct analytics_query;
struct apply_outcome;
struct apply_request;
struct branch_state;
struct slice;
struct slice_request;
struct customer_page_request;
struct delivery;
struct http_reply;
struct known_customer;
struct live_listener;
struct commit_notice;
struct ownership;
struct peer_answer;
struct peer_message;
struct peer_query;
struct publish_ack;
struct purchase_details;
struct purchase_key;
struct query_reply;
struct readiness;
struct record_result;
struct session_end;
struct shard_answer;
struct shard_answers;
struct shard_queries;
struct shard_query;
struct sign_in_link;
struct stream_state;
struct submission;
struct uuid;
class http_exchange;

using commit_notices_ptr = std::shared_ptr<const std::vector<commit_notice>>;
using publish_acks_ptr = std::shared_ptr<const std::vector<publish_ack>>;
using deliveries_ptr = std::shared_ptr<const std::vector<delivery>>;
using delivery_ptr = std::shared_ptr<const delivery>;
using purchase_details_ptr = std::shared_ptr<const purchase_details>;
using customer_page_ptr = std::shared_ptr<const std::vector<known_customer>>;
using apply_request_ptr = std::shared_ptr<const apply_request>;
using apply_outcome_ptr = std::shared_ptr<const apply_outcome>;
using branch_state_ptr = std::shared_ptr<const branch_state>;
using slice_ptr = std::shared_ptr<const slice>;
using http_reply_ptr = std::shared_ptr<const http_reply>;
using strings_ptr = std::shared_ptr<const std::vector<std::string>>;
using analytics_query_ptr = std::shared_ptr<const analytics_query>;
using shard_query_ptr = std::shared_ptr<const shard_query>;
using shard_answer_ptr = std::shared_ptr<const shard_answer>;
using shard_answers_ptr = std::shared_ptr<const shard_answers>;
using shard_queries_ptr = std::shared_ptr<const shard_queries>;
using ownerships_ptr = std::shared_ptr<const std::vector<ownership>>;
using peer_query_ptr = std::shared_ptr<const peer_query>;
using peer_answer_ptr = std::shared_ptr<const peer_answer>;
using peer_messages_ptr = std::shared_ptr<const std::vector<peer_message>>;
using http_exchange_ptr = std::shared_ptr<http_exchange>;
using live_listener_ptr = std::shared_ptr<live_listener>;

} // namespace tillstream

CAF_BEGIN_TYPE_ID_BLOCK(tillstream_types, caf::first_custom_type_id)

  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::uuid))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::submission))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::record_result))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::commit_notices_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::publish_acks_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::deliveries_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::delivery_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::stream_state))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::purchase_key))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::purchase_details_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::customer_page_request))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::customer_page_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::apply_request_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::apply_outcome_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::branch_state_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::slice_request))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::slice_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::http_exchange_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::http_reply_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::strings_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::readiness))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::timestamp))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::analytics_query_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::query_reply))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::live_listener_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::sign_in_link))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::session_end))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::shard_query_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::shard_answer_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::shard_answers_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::shard_queries_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::ownerships_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::peer_query_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::peer_answer_ptr))
  CAF_ADD_TYPE_ID(tillstream_types, (tillstream::peer_messages_ptr))

CAF_END_TYPE_ID_BLOCK(tillstream_types)

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::uuid)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::submission)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::record_result)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::commit_notices_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::publish_acks_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::deliveries_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::delivery_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::stream_state)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::purchase_key)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::purchase_details_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::customer_page_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::customer_page_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::apply_request_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::apply_outcome_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::branch_state_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::slice_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::slice_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::http_exchange_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::http_reply_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::strings_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::readiness)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::timestamp)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::analytics_query_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::query_reply)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::live_listener_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::sign_in_link)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::session_end)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::shard_query_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::shard_answer_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::shard_answers_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::shard_queries_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::ownerships_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(tillstream::peer_query_ptr)
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

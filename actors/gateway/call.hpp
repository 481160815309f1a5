#pragma once

#include "actors/gateway/gateway.hpp"
#include "messages/codec/problem.hpp"
#include "messages/model/http.hpp"

#include <caf/actor_clock.hpp>
#include <caf/error.hpp>
#include <caf/stateful_actor.hpp>

#include <memory>
#include <string>
#include <string_view>

/// @file actors/gateway/call.hpp
/// A request on its way through the GATEWAY, and how it is answered. Between
/// the gateway's own files only.

namespace tillstream {

/// One request on its way.
struct gateway_call {
  http_exchange_ptr exchange;
  trace_context trace;
  caf::actor_clock::time_point began;
  /// Null until routed, and for what is no route.
  const route* where = nullptr;
  /// What stood for `{…}` in the path.
  std::string_view segment;
  /// Set where the route needs a key.
  principal who;
  directory_ptr directory;

  const http_request& request() const {
    return exchange->request;
  }
};

using gateway_pointer = gateway_actor::stateful_pointer<gateway_state>;

/// Answers; the one place from which replies leave, streams excepted.
void answer(gateway_pointer self, const gateway_call& call, http_reply reply);

/// Answers 200.
void answer_json(gateway_pointer self, const gateway_call& call,
                 std::string body);

/// Answers with a problem.
void fail(gateway_pointer self, const gateway_call& call, const problem& why);

/// Answers with trouble of ours. Only what somebody has to mend is a log line:
/// a database that is away shows in the metrics and in `/readyz`, and a line
/// for each till that asks again would bury the rest.
void fail(gateway_pointer self, const gateway_call& call,
          const caf::error& err);

/// Counts what became of a POST /purchases.
counter& purchase_counter(std::string_view outcome);

void count_answer(gateway_pointer self, const gateway_call& call, int status);

/// `application/json`, in UTF-8 where it says so, and not compressed. Other
/// parameters mean nothing for JSON (RFC 8259, 11).
bool is_json(const http_request& request);

} // namespace tillstream

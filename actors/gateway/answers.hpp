#pragma once

#include "actors/gateway/state.hpp"
#include "messages/codec/problem.hpp"
#include "messages/model/http.hpp"

#include <caf/error.hpp>

#include <string>
#include <string_view>

/// @file actors/gateway/answers.hpp
/// How the GATEWAY answers a call. Between the gateway's own files only.

namespace tillstream {

/// Answers; the one place from which replies leave, live replies excepted.
void answer(gateway_pointer self, const gateway_call& call, http_reply reply);

/// Answers 200.
void answer_json(gateway_pointer self, const gateway_call& call,
                 std::string body);

/// Answers with a problem.
void fail(gateway_pointer self, const gateway_call& call, const problem& why);

/// Answers with trouble of ours. Only what somebody has to mend is a log line:
/// a database that is away shows in the metrics and in `/readyz`, and a line
/// for each till that tries again would bury the rest.
void fail(gateway_pointer self, const gateway_call& call,
          const caf::error& err);

/// Counts the outcome of a POST /purchases.
counter& purchase_counter(std::string_view outcome);

void count_answer(gateway_pointer self, const gateway_call& call, int status);

} // namespace tillstream

#pragma once

#include "actors/gateway/state.hpp"

/// @file actors/gateway/operations.hpp
/// What operators and load balancers read. Between the gateway's own files
/// only.

namespace tillstream {

/// Requests the readiness of all parts, once for all calls that come meanwhile:
/// nobody needs a key for this, so it must not be an amplifier.
void collect_readiness(gateway_pointer self, const gateway_call_ptr& call);

void answer_metrics(gateway_pointer self, const gateway_call& call);

} // namespace tillstream

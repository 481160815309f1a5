#pragma once

#include "actors/gateway/state.hpp"

/// @file actors/gateway/analytics.hpp
/// The dashboard's queries and its live reply. Between the gateway's own files
/// only.

namespace tillstream {

void send_query(gateway_pointer self, const gateway_call_ptr& call);

/// Opens a live reply, or says that this node has enough of them.
void open_live_reply(gateway_pointer self, const gateway_call_ptr& call);

} // namespace tillstream

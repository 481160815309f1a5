#pragma once

#include "actors/gateway/state.hpp"
#include "messages/codec/problem.hpp"

#include <optional>

/// @file actors/gateway/purchases.hpp
/// `POST /purchases`. Between the gateway's own files only.

namespace tillstream {

/// Puts the counters of the usual outcomes into the registry, before the first
/// sale.
void prepare_purchase_counters();

/// @returns why this key has to wait, if it does.
std::optional<problem>
check_rate(gateway_pointer self, const gateway_call& call);

void record_purchase(gateway_pointer self, const gateway_call_ptr& call);

/// Fails the purchases whose deadline has passed.
void fail_late_purchases(gateway_pointer self);

} // namespace tillstream

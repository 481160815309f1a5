#pragma once

#include "actors/gateway/state.hpp"

/// @file actors/gateway/lookups.hpp
/// Reading purchases, customers and branches. Between the gateway's own files
/// only.

namespace tillstream {

void get_purchase(gateway_pointer self, const gateway_call_ptr& call);

void find_by_key(gateway_pointer self, const gateway_call_ptr& call);

void list_customers(gateway_pointer self, const gateway_call_ptr& call);

void list_branches(gateway_pointer self, const gateway_call& call);

} // namespace tillstream

#pragma once

#include "actors/gateway/state.hpp"

/// @file actors/gateway/sign_in.hpp
/// The sign-in of people to the owner's page (decision 0008). Between the
/// gateway's own files only.

namespace tillstream {

/// Says who calls. Being nobody is an answer, too: a page that asks before it
/// shows its sign-in form has done nothing wrong.
void show_sign_in(gateway_pointer self, const gateway_call& call);

/// `{"key": "tsk_owner_…"}` or `{"link": "tsl_…"}`
void sign_in(gateway_pointer self, const gateway_call_ptr& call);

/// Ends the sign-in on every node. By a key there is none to end.
void sign_out(gateway_pointer self, const gateway_call_ptr& call);

} // namespace tillstream

#pragma once

#include "actors/gateway/call.hpp"
#include "messages/codec/problem.hpp"
#include "messages/model/http.hpp"

#include <optional>
#include <string_view>

/// @file actors/gateway/sign_in.hpp
/// Who calls: credentials of a request, and the page's sessions
/// (decision 0008). Between the gateway's own files only.

namespace tillstream {

/// The credentials of `Authorization: Bearer …` (RFC 6750, 2.1).
std::string_view bearer_of(const http_request& request);

/// The value of the page's cookie (RFC 6265, 4.2); empty: none.
std::string_view session_token_of(const http_request& request);

/// Fills in who calls by the page's cookie.
std::optional<problem> authorize_page(gateway_state& state, gateway_call& call,
                                      std::string_view token);

/// Tells who calls. Being nobody is an answer, too: a page that asks before it
/// shows its door has done nothing wrong.
void show_session(gateway_pointer self, const gateway_call& call);

/// `{"key": "tsk_owner_…"}` or `{"link": "tsl_…"}`
void sign_in(gateway_pointer self, const gateway_call_ptr& call);

/// Ends the session on every node. By a key there is none to end.
void sign_out(gateway_pointer self, const gateway_call_ptr& call);

} // namespace tillstream

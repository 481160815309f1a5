#pragma once

#include "actors/gateway/call.hpp"
#include "actors/gateway/state.hpp"
#include "messages/codec/problem.hpp"
#include "messages/model/http.hpp"

#include <optional>
#include <string_view>

/// @file actors/gateway/authorization.hpp
/// Who calls, and whether he may. Between the gateway's own files only.

namespace tillstream {

/// The page's cookie.
constexpr std::string_view sign_in_cookie = "tillstream_session";

/// The credentials of `Authorization: Bearer …` (RFC 6750, 2.1).
std::string_view bearer_of(const http_request& request);

/// The value of the page's cookie (RFC 6265, 4.2); empty: none.
std::string_view sign_in_token_of(const http_request& request);

/// Whether a browser says that another site is behind the request. Programs
/// say nothing of the kind.
bool is_cross_site(const http_request& request);

/// Fills in who calls. @returns why the call ends here, if it does.
std::optional<problem> authorize(gateway_state& state, gateway_call& call);

} // namespace tillstream

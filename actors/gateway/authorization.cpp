#include "actors/gateway/authorization.hpp"

#include "actors/gateway/problems.hpp"
#include "actors/http/header_values.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace tillstream {

namespace {

bool allows(audience who, storage::key_role role) {
  using storage::key_role;
  switch (who) {
    case audience::anyone:
    case audience::any_key:
      return true;
    case audience::till:
      return role == key_role::till;
    case audience::till_or_owner:
      return role == key_role::till || role == key_role::owner;
    case audience::owner:
      return role == key_role::owner;
    case audience::operator_or_loopback:
      return role == key_role::operator_;
  }
  return false;
}

bool needs_key(const gateway_state& state, const gateway_call& call) {
  switch (call.where->who) {
    case audience::anyone:
      return false;
    case audience::operator_or_loopback:
      return !state.options.loopback_only || !call.request().from_loopback;
    default:
      return true;
  }
}

bool is_safe(std::string_view method) {
  return method == "GET" || method == "HEAD";
}

/// Fills in who calls by the page's cookie.
std::optional<problem> authorize_page(gateway_state& state, gateway_call& call,
                                      std::string_view token) {
  auto now = state.options.directory->now();
  auto who = call.directory->authenticate_session(token, now);
  if (!who)
    return problems::session_over();
  if (!is_safe(call.request().method) && is_cross_site(call.request()))
    return problems::forbidden("This has to come from the page itself.");
  call.who = std::move(*who);
  return std::nullopt;
}

} // namespace

std::string_view bearer_of(const http_request& request) {
  constexpr std::string_view scheme = "bearer ";
  auto value = request.header("authorization").value_or(std::string_view{});
  if (!same_word(value.substr(0, scheme.size()), scheme))
    return {};
  value.remove_prefix(scheme.size());
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  return value;
}

std::string_view sign_in_token_of(const http_request& request) {
  auto rest = request.header("cookie").value_or(std::string_view{});
  while (!rest.empty()) {
    auto end = rest.find(';');
    auto pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{}
                                         : rest.substr(end + 1);
    pair.remove_prefix(std::min(pair.find_first_not_of(' '), pair.size()));
    if (pair.starts_with(sign_in_cookie)
        && pair.substr(sign_in_cookie.size()).starts_with('='))
      return pair.substr(sign_in_cookie.size() + 1);
  }
  return {};
}

bool is_cross_site(const http_request& request) {
  auto site = request.header("sec-fetch-site");
  if (site)
    return *site != "same-origin" && *site != "none";
  auto origin = request.header("origin");
  if (!origin)
    return false;
  auto host = origin->find("://");
  return host == std::string_view::npos
         || origin->substr(host + 3)
              != request.header("host").value_or(std::string_view{});
}

std::optional<problem> authorize(gateway_state& state, gateway_call& call) {
  call.directory = state.options.directory->get();
  if (!needs_key(state, call))
    return std::nullopt;
  // Without the database we cannot tell a good key from a bad one.
  if (call.directory == nullptr)
    return problems::unavailable();
  auto token = sign_in_token_of(call.request());
  if (!token.empty() && !call.request().header("authorization")) {
    if (auto refused = authorize_page(state, call, token))
      return refused;
  } else {
    auto secret = bearer_of(call.request());
    auto who = call.directory->authenticate(secret);
    if (!who)
      return problems::unauthorized(!secret.empty());
    call.who = std::move(*who);
  }
  if (!allows(call.where->who, call.who.role))
    return problems::forbidden("This key has the role "
                               + to_string(call.who.role)
                               + ", which may not do this.");
  return std::nullopt;
}

} // namespace tillstream

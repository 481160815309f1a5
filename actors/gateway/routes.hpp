#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

/// @file actors/gateway/routes.hpp
/// The one table of paths: 404, 405 and `Allow`, who may call what, the names
/// in the metrics and `docs/openapi.json` all follow it.

namespace tillstream {

/// Who may call a route.
enum class audience : uint8_t {
  /// No key needed.
  anyone,
  /// Any key that is valid.
  any_key,
  till,
  till_or_owner,
  owner,
  /// The operator; anyone when the listener is loopback-only.
  operator_or_loopback,
};

/// What answers a route.
enum class endpoint : uint8_t {
  record_purchase,
  get_purchase,
  find_purchase,
  list_customers,
  list_branches,
  analytics,
  live,
  sign_in,
  show_session,
  sign_out,
  health,
  ready,
  metrics,
  openapi,
  asyncapi,
  page,
};

struct route {
  std::string_view method;
  /// Literal segments; `{…}` stands for one segment.
  std::string_view pattern;
  endpoint target;
  audience who;
};

/// Every route. `HEAD` is not listed: it goes where `GET` goes.
std::span<const route> gateway_routes();

/// Where a request belongs.
struct route_match {
  /// Null: 405 when `allow` has methods, else 404.
  const route* where = nullptr;
  /// Methods of the path, for `Allow`.
  std::string allow;
  /// What stood for `{…}`, or the last segment.
  std::string_view segment;
};

/// @param path Must outlive the result.
route_match match_route(std::string_view method, std::string_view path);

} // namespace tillstream

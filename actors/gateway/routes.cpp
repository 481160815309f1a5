#include "actors/gateway/routes.hpp"

namespace tillstream {

namespace {

constexpr route table[] = {
  {"POST", "/purchases", endpoint::record_purchase, audience::till},
  {"GET", "/purchases", endpoint::find_purchase, audience::till_or_owner},
  {"GET", "/purchases/{id}", endpoint::get_purchase, audience::till_or_owner},
  {"GET", "/customers", endpoint::list_customers, audience::till_or_owner},
  {"GET", "/branches", endpoint::list_branches, audience::any_key},
  {"GET", "/analytics/summary", endpoint::analytics, audience::owner},
  {"GET", "/analytics/revenue", endpoint::analytics, audience::owner},
  {"GET", "/analytics/top-products", endpoint::analytics, audience::owner},
  {"GET", "/analytics/loyal-customers", endpoint::analytics, audience::owner},
  {"GET", "/analytics/unique-customers", endpoint::analytics, audience::owner},
  {"GET", "/analytics/product", endpoint::analytics, audience::owner},
  {"GET", "/analytics/heatmap", endpoint::analytics, audience::owner},
  {"GET", "/analytics/live", endpoint::live, audience::owner},
  {"POST", "/session", endpoint::sign_in, audience::anyone},
  {"GET", "/session", endpoint::show_session, audience::anyone},
  {"DELETE", "/session", endpoint::sign_out, audience::owner},
  {"GET", "/healthz", endpoint::health, audience::anyone},
  {"GET", "/readyz", endpoint::ready, audience::anyone},
  {"GET", "/metrics", endpoint::metrics, audience::operator_or_loopback},
  {"GET", "/openapi.json", endpoint::openapi, audience::anyone},
  {"GET", "/asyncapi.json", endpoint::asyncapi, audience::anyone},
  {"GET", "/", endpoint::page, audience::anyone},
};

std::string_view last_segment(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

bool fits(std::string_view pattern, std::string_view path) {
  auto hole = pattern.find('{');
  if (hole == std::string_view::npos)
    return pattern == path;
  // Holes stand last, and for one segment that is not empty.
  return path.size() > hole && path.substr(0, hole) == pattern.substr(0, hole)
         && path.find('/', hole) == std::string_view::npos;
}

void add_method(std::string& allow, std::string_view method) {
  if (!allow.empty())
    allow += ", ";
  allow += method;
  if (method == "GET")
    allow += ", HEAD";
}

} // namespace

std::span<const route> gateway_routes() {
  return table;
}

route_match match_route(std::string_view method, std::string_view path) {
  auto wanted = method == "HEAD" ? std::string_view{"GET"} : method;
  route_match result;
  for (const auto& row : table) {
    if (!fits(row.pattern, path))
      continue;
    add_method(result.allow, row.method);
    if (row.method == wanted) {
      result.where = &row;
      result.segment = last_segment(path);
    }
  }
  return result;
}

} // namespace tillstream

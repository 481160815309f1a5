#pragma once

#include "actors/directory/view.hpp"
#include "actors/query/plan.hpp"
#include "messages/model/http.hpp"

#include <memory>
#include <string>
#include <utility>

/// @file tests/support/dashboard.hpp
/// Queries as the gateway passes them on.

namespace tillstream::test {

/// New York, Kolkata, and two in Berlin, of which one begins its day at 04:00.
inline chain far_flung_chain() {
  chain result;
  result.branches = {
    {"ber", "Berlin", "Europe/Berlin", 0},
    {"ber-night", "Berlin \"Night\"", "Europe/Berlin", 240},
    {"kol", "Kolkata", "Asia/Kolkata", 0},
    {"nyc", "New York, NY", "America/New_York", 0},
  };
  return result;
}

inline directory_ptr directory_of(const tillstream::chain& chain) {
  storage::directory_snapshot snapshot;
  snapshot.chain = chain;
  return std::make_shared<const directory>(snapshot);
}

inline analytics_query
query(std::string name, header_list query = {}, std::string accept = {}) {
  auto request = std::make_shared<http_request>();
  request->method = "GET";
  request->path = "/analytics/" + name;
  request->query = std::move(query);
  if (!accept.empty())
    request->headers.emplace_back("accept", std::move(accept));
  analytics_query result;
  result.request = std::move(request);
  result.name = std::move(name);
  result.trace_id = "00000000000000000000000000000001";
  return result;
}

} // namespace tillstream::test

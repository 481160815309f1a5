#pragma once

#include "actors/directory/view.hpp"
#include "actors/gateway/routes.hpp"
#include "messages/model/http.hpp"

#include <caf/actor_clock.hpp>

#include <memory>
#include <string_view>

namespace tillstream {

/// One request that the GATEWAY answers.
struct gateway_call {
  http_exchange_ptr exchange;
  trace_context trace;
  caf::actor_clock::time_point began;
  /// Null until routed, and for what is no route.
  const route* where = nullptr;
  /// The part of the path that stands for `{…}`.
  std::string_view segment;
  /// Set where the route needs a key.
  principal who;
  directory_ptr directory;

  const http_request& request() const {
    return exchange->request;
  }
};

using gateway_call_ptr = std::shared_ptr<gateway_call>;

} // namespace tillstream

#include "actors/gateway/gateway.hpp"

#include "actors/gateway/analytics.hpp"
#include "actors/gateway/answers.hpp"
#include "actors/gateway/authorization.hpp"
#include "actors/gateway/documents.hpp"
#include "actors/gateway/lookups.hpp"
#include "actors/gateway/operations.hpp"
#include "actors/gateway/page.hpp"
#include "actors/gateway/problems.hpp"
#include "actors/gateway/purchases.hpp"
#include "actors/gateway/sign_in.hpp"
#include "messages/core/log.hpp"

#include <cassert>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace tillstream {

namespace {

/// Whether a node that goes down still answers this.
bool answers_to_the_end(endpoint target) {
  return target == endpoint::health || target == endpoint::ready
         || target == endpoint::metrics;
}

/// What a node without the role says: another one will do it.
std::optional<problem>
check_role(const gateway_state& state, const gateway_call& call) {
  if (call.where->target == endpoint::record_purchase && !state.options.intake)
    return problems::retry_later(
      503, "unavailable", "This node takes no purchases; another one does.");
  if (call.where->target == endpoint::analytics && !state.options.query)
    return problems::retry_later(
      503, "unavailable", "This node answers no questions; another one does.");
  return std::nullopt;
}

/// The checks that all routes share, in the contract's order.
std::optional<problem> check(gateway_pointer self, gateway_call& call) {
  auto& state = self->state;
  if (state.draining && !answers_to_the_end(call.where->target))
    return problems::shutting_down();
  if (auto refused = authorize(state, call))
    return refused;
  if (auto lacking = check_role(state, call))
    return lacking;
  if (auto refused = check_rate(self, call))
    return refused;
  if (call.request().body_too_large)
    return problem{
      413, "body-too-large", "The body is larger than 64 KiB.", {}, {}};
  return std::nullopt;
}

void run(gateway_pointer self, const gateway_call_ptr& call) {
  switch (call->where->target) {
    case endpoint::record_purchase:
      return record_purchase(self, call);
    case endpoint::get_purchase:
      return get_purchase(self, call);
    case endpoint::find_purchase:
      return find_by_key(self, call);
    case endpoint::list_customers:
      return list_customers(self, call);
    case endpoint::list_branches:
      return list_branches(self, *call);
    case endpoint::analytics:
      return send_query(self, call);
    case endpoint::live:
      return open_live_reply(self, call);
    case endpoint::sign_in:
      return sign_in(self, call);
    case endpoint::show_session:
      return show_sign_in(self, *call);
    case endpoint::sign_out:
      return sign_out(self, call);
    case endpoint::health:
      return answer_json(self, *call, R"({"status":"ok"})");
    case endpoint::ready:
      return collect_readiness(self, call);
    case endpoint::metrics:
      return answer_metrics(self, *call);
    case endpoint::openapi:
      return answer_json(self, *call, std::string{openapi_document()});
    case endpoint::asyncapi:
      return answer_json(self, *call, std::string{asyncapi_document()});
    case endpoint::page:
      return answer_page(self, *call);
  }
}

void serve(gateway_pointer self, const gateway_call_ptr& call) {
  const auto& request = call->request();
  auto match = match_route(request.method, request.path);
  if (match.where == nullptr)
    return serve_unrouted(self, *call, std::move(match.allow));
  call->where = match.where;
  call->segment = match.segment;
  if (auto refused = check(self, *call))
    return fail(self, *call, *refused);
  run(self, call);
}

gateway_call_ptr make_call(gateway_pointer self, http_exchange_ptr exchange) {
  auto result = std::make_shared<gateway_call>();
  result->trace = take_trace(exchange->request);
  result->began = self->clock().now();
  result->exchange = std::move(exchange);
  return result;
}

} // namespace

gateway_impl::behavior_type
gateway(gateway_pointer self, gateway_options options) {
  assert(options.directory != nullptr);
  self->state.limiter = rate_limiter{options.rate_limit};
  self->state.options = std::move(options);
  prepare_purchase_counters();
  return {
    [self](atom::request, http_exchange_ptr& exchange) {
      auto call = make_call(self, std::move(exchange));
      try {
        serve(self, call);
      } catch (const std::exception& failure) {
        // One request must not take down those that wait beside it; dropped,
        // its exchange answers 500.
        log::error("gateway.exception", {{"reason", failure.what()},
                                         {"trace_id", call->trace.trace_id}});
      }
    },
    [self](atom::drain) { self->state.draining = true; },
    [self](atom::tick) { fail_late_purchases(self); },
  };
}

} // namespace tillstream

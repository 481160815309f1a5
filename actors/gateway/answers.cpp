#include "actors/gateway/answers.hpp"

#include "actors/gateway/problems.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

namespace tillstream {

namespace {

constexpr auto requests_metric = "tillstream_http_requests_total";
constexpr auto requests_help = "Answered requests by route and status.";
constexpr auto seconds_metric = "tillstream_http_request_seconds";
constexpr auto seconds_help
  = "From a request's arrival at the gateway to its answer.";
constexpr auto purchases_metric = "tillstream_purchases_total";
constexpr auto purchases_help = "Answers to POST /purchases by outcome.";

counter&
request_counter(gateway_state& state, const gateway_call& call, int status) {
  auto& slot = state.request_counters[{call.where, status}];
  if (slot == nullptr) {
    // What is no route has names that anybody may choose.
    auto labels
      = metric_label("method", call.where ? call.where->method : "-") + ","
        + metric_label("route", call.where ? call.where->pattern : "-") + ","
        + metric_label("status", std::to_string(status));
    slot = &metrics().get_counter(requests_metric, requests_help, labels);
  }
  return *slot;
}

histogram& request_histogram(gateway_state& state, const gateway_call& call) {
  auto& slot = state.request_seconds[call.where];
  if (slot == nullptr) {
    auto labels
      = metric_label("method", call.where ? call.where->method : "-") + ","
        + metric_label("route", call.where ? call.where->pattern : "-");
    slot = &metrics().get_histogram(seconds_metric, seconds_help, 1e6, labels);
  }
  return *slot;
}

} // namespace

void count_answer(gateway_pointer self, const gateway_call& call, int status) {
  auto took = std::chrono::duration_cast<std::chrono::microseconds>(
    self->clock().now() - call.began);
  request_counter(self->state, call, status).add();
  request_histogram(self->state, call)
    .observe(static_cast<uint64_t>(std::max<int64_t>(took.count(), 0)));
}

void answer(gateway_pointer self, const gateway_call& call, http_reply reply) {
  count_answer(self, call, reply.status);
  reply.headers.emplace_back("traceparent", call.trace.traceparent);
  if (call.where != nullptr && call.where->who != audience::anyone)
    reply.headers.emplace_back("Cache-Control", "no-store");
  call.exchange->reply(std::move(reply));
}

void answer_json(gateway_pointer self, const gateway_call& call,
                 std::string body) {
  answer(self, call, {200, "application/json", {}, std::move(body)});
}

counter& purchase_counter(std::string_view outcome) {
  return metrics().get_counter(purchases_metric, purchases_help,
                               metric_label("outcome", outcome));
}

void fail(gateway_pointer self, const gateway_call& call, const problem& why) {
  if (call.where && call.where->target == endpoint::record_purchase)
    purchase_counter(why.name).add();
  answer(self, call, render_problem(why, call.trace.trace_id));
}

void fail(gateway_pointer self, const gateway_call& call,
          const caf::error& err) {
  assert(call.where != nullptr);
  auto why = problems::problem_of(err);
  if (why.name == "outcome-unknown"
      && call.where->target != endpoint::record_purchase)
    why = problems::unavailable(); // Nothing was to be done, only read.
  auto level = why.status == 500 ? log::level::error : log::level::debug;
  log::write(level, "gateway.trouble",
             {{"route", call.where->pattern},
              {"status", why.status},
              {"reason", describe(err)},
              {"trace_id", call.trace.trace_id}});
  fail(self, call, why);
}

} // namespace tillstream

#include "actors/gateway/analytics.hpp"

#include "actors/gateway/answers.hpp"
#include "actors/gateway/parameters.hpp"
#include "actors/gateway/problems.hpp"
#include "actors/http/gzip.hpp"
#include "actors/query/live_feed.hpp"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

namespace tillstream {

namespace {

/// A query may wait for an event first. A little more than the query's own
/// bounds, so that it can answer by itself.
constexpr auto analytics_wait_max
  = limits::query_answer_max + limits::after_wait_max + std::chrono::seconds{1};

/// How long a page waits before it connects again.
constexpr auto live_retry = std::chrono::milliseconds{2000};

} // namespace

void send_query(gateway_pointer self, const gateway_call_ptr& call) {
  auto query = std::make_shared<analytics_query>();
  // Shares the exchange's request instead of copying it.
  query->request = http_request_ptr{call->exchange, &call->request()};
  query->name = std::string{call->segment};
  query->trace_id = call->trace.trace_id;
  self
    ->request(self->state.options.query, caf::duration{analytics_wait_max},
              atom::ask_v, analytics_query_ptr{std::move(query)})
    .then(
      [self, call](const http_reply_ptr& reply) {
        if (reply == nullptr)
          return fail(self, *call, problems::internal_error());
        answer(self, *call,
               reply->status == 200 ? pack(*reply, call->request()) : *reply);
      },
      [self, call](const caf::error& err) { fail(self, *call, err); });
}

void open_live_reply(gateway_pointer self, const gateway_call_ptr& call) {
  if (auto wrong = take_parameters(call->request(), {}))
    return fail(self, *call, *wrong);
  auto& state = self->state;
  if (!state.options.live)
    return fail(self, *call, problems::unavailable());
  http_reply head{200, "text/event-stream; charset=utf-8", {}, {}};
  head.headers = {{"Cache-Control", "no-store"},
                  {"X-Accel-Buffering", "no"},
                  {"traceparent", call->trace.traceparent}};
  head.body = fmt::format("retry: {}\n\n", live_retry.count());
  auto stream = call->exchange->stream(std::move(head));
  if (stream == nullptr)
    return fail(
      self, *call,
      problems::retry_later(503, "overloaded",
                            "This node has too many pages that listen.",
                            std::chrono::seconds{10}));
  count_answer(self, *call, 200);
  auto listener = std::make_shared<live_listener>();
  listener->stream = std::move(stream);
  listener->who = call->who;
  listener->known_id
    = call->request().header("last-event-id").value_or(std::string_view{});
  self->send(state.options.live, atom::open_v, std::move(listener));
}

} // namespace tillstream

#include "actors/gateway/operations.hpp"

#include "actors/gateway/answers.hpp"
#include "actors/gateway/problems.hpp"
#include "messages/codec/json.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace tillstream {

namespace {

std::string json_parts(const std::vector<readiness>& parts) {
  std::string result;
  json_writer out{result};
  out.begin_array();
  for (const auto& x : parts) {
    out.begin_object().field("part", x.part).field("ready", x.ready);
    if (!x.ready)
      out.field("reason", x.reason);
    out.end_object();
  }
  out.end_array();
  return result;
}

/// Ends a round: everybody who waits gets the same answer.
void answer_ready(gateway_pointer self) {
  auto& state = self->state;
  auto calls = std::exchange(state.ready_calls, {});
  auto parts = std::exchange(state.ready_parts, {});
  if (state.draining)
    parts.push_back({"gateway", false, "shutting down"});
  auto by_name = [](const auto& x, const auto& y) { return x.part < y.part; };
  std::sort(parts.begin(), parts.end(), by_name);
  auto is_ready = [](const auto& x) { return x.ready; };
  auto all_ready = std::all_of(parts.begin(), parts.end(), is_ready);
  auto rendered = json_parts(parts);
  for (const auto& call : calls) {
    if (all_ready) {
      answer_json(self, *call, R"({"ready":true,"parts":)" + rendered + "}");
      continue;
    }
    auto why
      = problems::retry_later(503, "not-ready", "Some parts are not ready.");
    why.members.emplace_back("parts", rendered);
    fail(self, *call, why);
  }
}

} // namespace

void collect_readiness(gateway_pointer self, const gateway_call_ptr& call) {
  auto& state = self->state;
  state.ready_calls.push_back(call);
  if (state.ready_calls.size() > 1)
    return;
  if (state.options.parts.empty())
    return answer_ready(self);
  for (const auto& part : state.options.parts)
    part.request_readiness(self, [self](readiness x) {
      auto& parts = self->state.ready_parts;
      parts.push_back(std::move(x));
      if (parts.size() == self->state.options.parts.size())
        answer_ready(self);
    });
}

void answer_metrics(gateway_pointer self, const gateway_call& call) {
  answer(
    self, call,
    {200, "text/plain; version=0.0.4; charset=utf-8", {}, metrics().render()});
}

} // namespace tillstream

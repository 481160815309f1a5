#include "actors/gateway/purchases.hpp"

#include "actors/gateway/answers.hpp"
#include "actors/gateway/problems.hpp"
#include "actors/http/header_values.hpp"
#include "messages/codec/purchase_codec.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <variant>

namespace tillstream {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// How late it may be noticed that a purchase got no answer.
constexpr auto late_check_interval = milliseconds{500};

/// A writer answers to a purchase's deadline unless its database session
/// blocks; the gateway waits a little longer, then nobody knows the outcome.
constexpr auto answer_grace = limits::write_answer_max - limits::write_wait_max;
static_assert(answer_grace > milliseconds{0});

/// The header as received; more than one makes a value that is no UUID.
std::optional<std::string> idempotency_header(const http_request& request) {
  std::optional<std::string> result;
  for (const auto& [name, value] : request.headers)
    if (name == "idempotency-key")
      result = result ? *result + ", " + value : value;
  return result;
}

problem problem_of(const refused_purchase& refused) {
  switch (refused.why) {
    case refusal::malformed_json:
      return {400, "malformed-json", refused.detail, {}, {}};
    case refusal::idempotency_key_missing:
      return {400, "idempotency-key-missing", refused.detail, {}, {}};
    case refusal::idempotency_key_mismatch:
      return {400, "idempotency-key-mismatch", refused.detail, {}, {}};
    case refusal::branch_forbidden:
      return problems::forbidden(refused.detail);
    case refusal::branch_unknown:
    case refusal::validation_failed:
      return problems::validation_failed(refused.detail, refused.errors);
  }
  return problems::internal_error();
}

void answer_recorded(gateway_pointer self, const gateway_call& call,
                     const recorded_purchase& x, bool replayed) {
  // Looking a counter up takes a lock, and making its name more than counting.
  static auto& recorded_count = purchase_counter("recorded");
  static auto& replayed_count = purchase_counter("replayed");
  (replayed ? replayed_count : recorded_count).add();
  const auto& unit = call.directory->chain()->currency;
  http_reply reply{201, "application/json", {}, encode_recorded(x, unit)};
  reply.headers.emplace_back("Location",
                             "/purchases/" + to_string(x.purchase_id));
  if (replayed)
    reply.headers.emplace_back("Idempotent-Replayed", "true");
  answer(self, call, std::move(reply));
}

/// Why a purchase was not recorded. @pre neither recorded nor replayed
problem problem_of(const record_result& result) {
  switch (result.outcome) {
    case verdict::key_reused:
      return {422,
              "idempotency-key-reused",
              "Another purchase was recorded under this idempotency key.",
              {},
              {}};
    case verdict::receipt_taken: {
      auto holder = to_string(result.purchase.purchase_id);
      return {409,
              "receipt-already-used",
              "The branch has a purchase with this receipt_id, under another "
              "idempotency key.",
              {{"purchase_id", problems::json_string(holder)}},
              {}};
    }
    case verdict::customer_unknown:
      return problems::validation_failed(
        "The purchase breaks a rule.",
        {{"/user_id", "is not a known customer; send "
                      "\"new_customer\": true if the till made the "
                      "id"}});
    case verdict::in_progress:
      return problems::in_progress();
    case verdict::unavailable:
      return problems::unavailable();
    case verdict::recorded:
    case verdict::replayed:
      break;
  }
  return problems::internal_error();
}

/// @returns the call of a purchase that was submitted; null when it was
/// failed already, at its deadline.
gateway_call_ptr take_submitted(gateway_state& state, uint64_t id) {
  auto node = state.submits.extract(id);
  return node ? std::move(node.mapped().call) : nullptr;
}

/// Schedules the next check of the deadlines, if none is scheduled.
void schedule_check(gateway_pointer self) {
  if (!std::exchange(self->state.tick_sent, true))
    self->delayed_send(self, late_check_interval, atom::tick_v);
}

void submit(gateway_pointer self, const gateway_call_ptr& call, purchase x) {
  auto& state = self->state;
  auto permit = state.options.intake->admit(x.branch_id);
  if (!permit)
    return fail(self, *call, permit.error());
  schedule_check(self);
  auto id = ++state.last_submit;
  submission what{std::make_shared<const purchase>(std::move(x)),
                  self->clock().now() + limits::write_wait_max, *permit};
  state.submits.emplace(id, gateway_state::submitted{
                              what.deadline + answer_grace, call, what.what});
  self
    ->request((*permit)->writer(), caf::infinite, atom::submit_v,
              std::move(what))
    .then(
      [self, id](const record_result& result) {
        auto waiting = take_submitted(self->state, id);
        if (!waiting)
          return;
        if (result.outcome == verdict::recorded
            || result.outcome == verdict::replayed)
          answer_recorded(self, *waiting, result.purchase,
                          result.outcome == verdict::replayed);
        else
          fail(self, *waiting, problem_of(result));
      },
      [self, id](const caf::error& err) {
        if (auto waiting = take_submitted(self->state, id))
          fail(self, *waiting, err);
      });
  (*permit)->sent();
}

} // namespace

void prepare_purchase_counters() {
  for (auto outcome : {"recorded", "replayed"})
    purchase_counter(outcome);
}

std::optional<problem>
check_rate(gateway_pointer self, const gateway_call& call) {
  if (call.where->target != endpoint::record_purchase)
    return std::nullopt;
  auto wait = self->state.limiter.take(call.who.key_id, self->clock().now());
  if (wait == milliseconds{0})
    return std::nullopt;
  return problems::retry_later(429, "too-many-requests",
                               "This key has used up its rate of purchases.",
                               std::chrono::ceil<seconds>(wait));
}

void record_purchase(gateway_pointer self, const gateway_call_ptr& call) {
  const auto& request = call->request();
  if (!is_json(request))
    return fail(self, *call, problems::unsupported_media_type());
  purchase_context context;
  context.idempotency_header = idempotency_header(request);
  context.till_branch = call->who.branch_id;
  context.traceparent = call->trace.traceparent;
  context.now = self->state.options.directory->now();
  auto decoded
    = decode_purchase(request.body, *call->directory->chain(), context);
  if (auto* refused = std::get_if<refused_purchase>(&decoded))
    fail(self, *call, problem_of(*refused));
  else
    submit(self, call, std::move(std::get<purchase>(decoded)));
}

void fail_late_purchases(gateway_pointer self) {
  self->state.tick_sent = false;
  auto& submits = self->state.submits;
  auto now = self->clock().now();
  while (!submits.empty() && submits.begin()->second.deadline <= now) {
    auto call = take_submitted(self->state, submits.begin()->first);
    fail(self, *call, caf::make_error(errc::timeout));
  }
  if (!submits.empty())
    schedule_check(self);
}

} // namespace tillstream

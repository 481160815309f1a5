#include "actors/gateway/lookups.hpp"

#include "actors/gateway/answers.hpp"
#include "actors/gateway/parameters.hpp"
#include "actors/gateway/problems.hpp"
#include "messages/codec/json.hpp"
#include "messages/codec/purchase_codec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tillstream {

namespace {

void find_purchase(gateway_pointer self, const gateway_call_ptr& call,
                   purchase_key lookup) {
  self
    ->request(self->state.options.reader,
              caf::duration{limits::query_answer_max}, atom::find_v,
              std::move(lookup))
    .then(
      [self, call](const purchase_details_ptr& found) {
        if (found == nullptr)
          return fail(self, *call,
                      problems::not_found("There is no such purchase."));
        const auto& unit = call->directory->chain()->currency;
        answer_json(self, *call, encode_details(*found, unit));
      },
      [self, call](const caf::error& err) { fail(self, *call, err); });
}

/// Whether the writers have a purchase with this key, begun or not.
bool is_submitted(const gateway_state& state, std::string_view branch_id,
                  const uuid& key) {
  return std::any_of(
    state.submits.begin(), state.submits.end(), [&](const auto& x) {
      const auto& what = *x.second.what;
      return what.idempotency_key == key && what.branch_id == branch_id;
    });
}

/// The till's branch, or all for the owner.
std::vector<std::string> visible_branches(const gateway_call& call) {
  if (call.who.role == storage::key_role::till)
    return {call.who.branch_id};
  std::vector<std::string> result;
  for (const auto& branch : call.directory->chain()->branches)
    result.push_back(branch.id);
  return result;
}

std::string
encode_customers(const std::vector<known_customer>& page, size_t limit) {
  std::string result;
  json_writer out{result};
  out.begin_object().key("customers").begin_array();
  for (const auto& x : page)
    out.begin_object()
      .field("user_id", to_string(x.user_id))
      .field("since", to_rfc3339(x.since))
      .end_object();
  out.end_array().key("next");
  // A full page: there may be more.
  if (!page.empty() && page.size() >= limit)
    out.string(to_string(page.back().user_id));
  else
    out.null();
  out.end_object();
  return result;
}

/// Reads 1..`limits::customers_page_max`.
std::optional<size_t> parse_limit(std::string_view text) {
  size_t result = 0;
  auto last = text.data() + text.size();
  auto [end, err] = std::from_chars(text.data(), last, result);
  if (err != std::errc{} || end != last || result < 1
      || result > limits::customers_page_max)
    return std::nullopt;
  return result;
}

} // namespace

void get_purchase(gateway_pointer self, const gateway_call_ptr& call) {
  if (auto wrong = take_parameters(call->request(), {}))
    return fail(self, *call, *wrong);
  auto purchase_id = parse_uuid(call->segment);
  if (!purchase_id)
    return fail(self, *call, problems::not_found("There is no such purchase."));
  purchase_key lookup;
  lookup.branches = visible_branches(*call);
  lookup.purchase_id = *purchase_id;
  find_purchase(self, call, std::move(lookup));
}

void find_by_key(gateway_pointer self, const gateway_call_ptr& call) {
  parameter known[] = {{"branch_id", {}}, {"idempotency_key", {}}};
  if (auto wrong = take_parameters(call->request(), known))
    return fail(self, *call, *wrong);
  auto& [branch_id, key] = known;
  if (!branch_id.value
      || call->directory->chain()->find(*branch_id.value) == nullptr)
    return fail(
      self, *call,
      problems::bad_parameter("branch_id", "Names a branch of the chain."));
  auto parsed = key.value ? parse_uuid(*key.value) : std::nullopt;
  if (!parsed)
    return fail(self, *call,
                problems::bad_parameter("idempotency_key", "Must be a UUID."));
  if (call->who.role == storage::key_role::till
      && call->who.branch_id != *branch_id.value)
    return fail(self, *call,
                problems::forbidden("This key is for another branch."));
  if (is_submitted(self->state, *branch_id.value, *parsed))
    return fail(self, *call, problems::in_progress());
  purchase_key lookup;
  lookup.branches = {*branch_id.value};
  lookup.idempotency_key = *parsed;
  find_purchase(self, call, std::move(lookup));
}

void list_customers(gateway_pointer self, const gateway_call_ptr& call) {
  parameter known[] = {{"after", {}}, {"limit", {}}};
  if (auto wrong = take_parameters(call->request(), known))
    return fail(self, *call, *wrong);
  auto& [after, limit] = known;
  customer_page_request page;
  if (after.value && !(page.after = parse_uuid(*after.value)))
    return fail(self, *call,
                problems::bad_parameter("after", "Must be a UUID."));
  if (limit.value) {
    auto parsed = parse_limit(*limit.value);
    if (!parsed)
      return fail(
        self, *call,
        problems::bad_parameter("limit", "Must be a number from 1 to 1000."));
    page.limit = *parsed;
  }
  self
    ->request(self->state.options.reader,
              caf::duration{limits::query_answer_max}, atom::list_v, page)
    .then(
      [self, call, n = page.limit](const customer_page_ptr& found) {
        if (found == nullptr)
          return fail(self, *call, problems::internal_error());
        answer_json(self, *call, encode_customers(*found, n));
      },
      [self, call](const caf::error& err) { fail(self, *call, err); });
}

void list_branches(gateway_pointer self, const gateway_call& call) {
  if (auto wrong = take_parameters(call.request(), {}))
    return fail(self, call, *wrong);
  const auto& chain = *call.directory->chain();
  std::string body;
  json_writer out{body};
  out.begin_object()
    .field("name", chain.name)
    .field("currency", chain.currency.code)
    .key("branches")
    .begin_array();
  for (const auto& branch : chain.branches)
    out.begin_object()
      .field("id", branch.id)
      .field("name", branch.name)
      .field("time_zone", branch.time_zone)
      .field("day_start",
             fmt::format("{:02}:{:02}", branch.day_start_minutes / 60,
                         branch.day_start_minutes % 60))
      .end_object();
  out.end_array().end_object();
  answer_json(self, call, std::move(body));
}

} // namespace tillstream

#include "actors/gateway/gateway.hpp"

#include "actors/gateway/call.hpp"
#include "actors/gateway/documents.hpp"
#include "actors/gateway/problems.hpp"
#include "actors/gateway/sign_in.hpp"
#include "actors/http/gzip.hpp"
#include "actors/query/live_feed.hpp"
#include "messages/codec/json.hpp"
#include "messages/codec/purchase_codec.hpp"
#include "messages/core/log.hpp"

#include <caf/actor_clock.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <charconv>
#include <chrono>
#include <exception>
#include <optional>
#include <variant>

namespace tillstream {

namespace {

using self_pointer = gateway_pointer;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// A query may wait for an event first. A little more than the query's own
/// bounds, so that it can answer by itself.
constexpr auto analytics_wait_max
  = limits::query_answer_max + limits::after_wait_max + seconds{1};

/// How late it may be seen that a purchase got no answer.
constexpr auto submits_interval = milliseconds{500};

/// How long a page waits before it connects again.
constexpr auto live_retry = milliseconds{2000};

// -- keys and roles -----------------------------------------------------------

bool allows(audience who, storage::key_role role) {
  using storage::key_role;
  switch (who) {
    case audience::anyone:
    case audience::any_key:
      return true;
    case audience::till:
      return role == key_role::till;
    case audience::till_or_owner:
      return role == key_role::till || role == key_role::owner;
    case audience::owner:
      return role == key_role::owner;
    case audience::operator_or_loopback:
      return role == key_role::operator_;
  }
  return false;
}

bool needs_key(const gateway_state& state, const gateway_call& call) {
  switch (call.where->who) {
    case audience::anyone:
      return false;
    case audience::operator_or_loopback:
      return !state.options.loopback_only || !call.request().from_loopback;
    default:
      return true;
  }
}

/// Fills in who calls. @returns why the call ends here, if it does.
std::optional<problem> authorize(gateway_state& state, gateway_call& call) {
  call.directory = state.options.directory->get();
  if (!needs_key(state, call))
    return std::nullopt;
  // Without the database we cannot tell a good key from a bad one.
  if (call.directory == nullptr)
    return problems::unavailable();
  auto token = session_token_of(call.request());
  if (!token.empty() && !call.request().header("authorization")) {
    if (auto refused = authorize_page(state, call, token))
      return refused;
  } else {
    auto secret = bearer_of(call.request());
    auto who = call.directory->authenticate(secret);
    if (!who)
      return problems::unauthorized(!secret.empty());
    call.who = std::move(*who);
  }
  if (!allows(call.where->who, call.who.role))
    return problems::forbidden("This key has the role "
                               + to_string(call.who.role)
                               + ", which may not do this.");
  return std::nullopt;
}

// -- POST /purchases ----------------------------------------------------------

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

void answer_recorded(self_pointer self, const gateway_call& call,
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
/// answered already, for want of an answer.
gateway_call_ptr take_submitted(gateway_state& state, uint64_t id) {
  auto node = state.submits.extract(id);
  return node ? std::move(node.mapped().call) : nullptr;
}

/// Sees to it that somebody looks after those who wait.
void watch_submits(self_pointer self) {
  if (!std::exchange(self->state.tick_sent, true))
    self->delayed_send(self, submits_interval, atom::tick_v);
}

void submit(self_pointer self, const gateway_call_ptr& call, purchase x) {
  auto& state = self->state;
  watch_submits(self);
  auto id = ++state.last_submit;
  state.submits.emplace(
    id, gateway_state::submitted{self->clock().now() + limits::write_answer_max,
                                 call});
  self
    ->request(state.options.intake, caf::infinite, atom::submit_v,
              std::make_shared<const purchase>(std::move(x)))
    .then(
      [self, id](const record_result& result) {
        auto asked = take_submitted(self->state, id);
        if (!asked)
          return;
        if (result.outcome == verdict::recorded
            || result.outcome == verdict::replayed)
          answer_recorded(self, *asked, result.purchase,
                          result.outcome == verdict::replayed);
        else
          fail(self, *asked, problem_of(result));
      },
      [self, id](const caf::error& err) {
        if (auto asked = take_submitted(self->state, id))
          fail(self, *asked, err);
      });
}

/// Answers those whose answer did not come in time.
void look_after_submits(self_pointer self) {
  self->state.tick_sent = false;
  auto& submits = self->state.submits;
  auto now = self->clock().now();
  while (!submits.empty() && submits.begin()->second.deadline <= now) {
    auto call = take_submitted(self->state, submits.begin()->first);
    fail(self, *call, caf::make_error(errc::timeout));
  }
  if (!submits.empty())
    watch_submits(self);
}

/// @returns why this key has to wait, if it does.
std::optional<problem> check_rate(self_pointer self, const gateway_call& call) {
  if (call.where->target != endpoint::record_purchase)
    return std::nullopt;
  auto wait = self->state.limiter.take(call.who.key_id, self->clock().now());
  if (wait == milliseconds{0})
    return std::nullopt;
  return problems::retry_later(429, "too-many-requests",
                               "This key has used up its rate of purchases.",
                               std::chrono::ceil<seconds>(wait));
}

void record_purchase(self_pointer self, const gateway_call_ptr& call) {
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

// -- reading purchases, customers, branches -----------------------------------

/// A query parameter that an endpoint knows.
struct parameter {
  std::string_view name;
  std::optional<std::string> value;
};

/// Fills in the values. @returns what is wrong: a garbled or unknown parameter,
/// or one that comes twice.
std::optional<problem>
take_parameters(const http_request& request, std::span<parameter> known) {
  if (request.garbled_parameter)
    return problems::bad_parameter(
      *request.garbled_parameter,
      "Must be percent-encoded UTF-8 without U+0000.");
  for (const auto& [name, value] : request.query) {
    // A named capture: clang 14 cannot capture a structured binding.
    auto i = std::find_if(
      known.begin(), known.end(),
      [&wanted = name](const auto& x) { return x.name == wanted; });
    if (i == known.end())
      return problems::bad_parameter(name, "There is no such parameter here.");
    if (i->value)
      return problems::bad_parameter(name, "The parameter may be given once.");
    i->value = value;
  }
  return std::nullopt;
}

void find_purchase(self_pointer self, const gateway_call_ptr& call,
                   purchase_lookup lookup) {
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

/// The till's branch, or all for the owner.
std::vector<std::string> visible_branches(const gateway_call& call) {
  if (call.who.role == storage::key_role::till)
    return {call.who.branch_id};
  std::vector<std::string> result;
  for (const auto& shop : call.directory->chain()->branches)
    result.push_back(shop.id);
  return result;
}

void get_purchase(self_pointer self, const gateway_call_ptr& call) {
  if (auto wrong = take_parameters(call->request(), {}))
    return fail(self, *call, *wrong);
  auto purchase_id = parse_uuid(call->segment);
  if (!purchase_id)
    return fail(self, *call, problems::not_found("There is no such purchase."));
  purchase_lookup lookup;
  lookup.branches = visible_branches(*call);
  lookup.purchase_id = *purchase_id;
  find_purchase(self, call, std::move(lookup));
}

void find_by_key(self_pointer self, const gateway_call_ptr& call) {
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
  purchase_lookup lookup;
  lookup.branches = {*branch_id.value};
  lookup.idempotency_key = *parsed;
  find_purchase(self, call, std::move(lookup));
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

void list_customers(self_pointer self, const gateway_call_ptr& call) {
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

void list_branches(self_pointer self, const gateway_call& call) {
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
  for (const auto& shop : chain.branches)
    out.begin_object()
      .field("id", shop.id)
      .field("name", shop.name)
      .field("time_zone", shop.time_zone)
      .field("day_start",
             fmt::format("{:02}:{:02}", shop.day_start_minutes / 60,
                         shop.day_start_minutes % 60))
      .end_object();
  out.end_array().end_object();
  answer_json(self, call, std::move(body));
}

// -- analytics ----------------------------------------------------------------

void ask_query(self_pointer self, const gateway_call_ptr& call) {
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
        auto packed = *reply;
        if (packed.status == 200)
          pack(packed, call->request());
        answer(self, *call, std::move(packed));
      },
      [self, call](const caf::error& err) { fail(self, *call, err); });
}

/// Opens a stream, or says that this node has enough of them.
void open_feed(self_pointer self, const gateway_call_ptr& call) {
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
    return fail(self, *call,
                problems::retry_later(
                  503, "overloaded",
                  "This node has too many pages that listen.", seconds{10}));
  count_answer(self, *call, 200);
  auto listener = std::make_shared<live_listener>();
  listener->stream = std::move(stream);
  listener->who = call->who;
  listener->known_id
    = call->request().header("last-event-id").value_or(std::string_view{});
  self->send(state.options.live, atom::open_v, std::move(listener));
}

// -- operating ----------------------------------------------------------------

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
void answer_ready(self_pointer self) {
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

/// Asks all parts, once for all requests that come meanwhile: nobody needs a
/// key for this, so it must not be an amplifier.
void ask_ready(self_pointer self, const gateway_call_ptr& call) {
  auto& state = self->state;
  state.ready_calls.push_back(call);
  if (state.ready_calls.size() > 1)
    return;
  if (state.options.parts.empty())
    return answer_ready(self);
  for (const auto& part : state.options.parts)
    part.ask(self, [self](readiness x) {
      auto& parts = self->state.ready_parts;
      parts.push_back(std::move(x));
      if (parts.size() == self->state.options.parts.size())
        answer_ready(self);
    });
}

void answer_metrics(self_pointer self, const gateway_call& call) {
  answer(
    self, call,
    {200, "text/plain; version=0.0.4; charset=utf-8", {}, metrics().render()});
}

// -- the page -----------------------------------------------------------------

constexpr std::string_view plain_page
  = "Tillstream takes purchases at POST /purchases and answers questions under "
    "/analytics/.\nThe API is described at /openapi.json, its events at "
    "/asyncapi.json.\n";

constexpr std::string_view page_policy
  = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action "
    "'self'; frame-ancestors 'none'";

/// The validator of the packed form: it is other bytes (RFC 9110, 8.8.3).
std::string packed_etag(const web_file& file) {
  return file.etag.substr(0, file.etag.size() - 1) + "-gzip\"";
}

void answer_file(self_pointer self, const gateway_call& call,
                 const web_file& file) {
  auto packed = !file.gzipped.empty() && accepts_gzip(call.request());
  auto etag = packed ? packed_etag(file) : file.etag;
  http_reply reply{200, file.content_type, {}, {}};
  reply.headers = {
    {"ETag", etag},
    {"Vary", "Accept-Encoding"},
    {"Cache-Control",
     file.immutable ? "public, max-age=31536000, immutable" : "no-cache"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Content-Security-Policy", std::string{page_policy}},
  };
  if (call.request().header("if-none-match") == etag) {
    reply.status = 304;
  } else if (packed) {
    reply.headers.emplace_back("Content-Encoding", "gzip");
    reply.body = file.gzipped;
  } else {
    reply.body = file.body;
  }
  answer(self, call, std::move(reply));
}

const web_file* find_file(const gateway_state& state, std::string_view path) {
  const auto& page = state.options.page;
  return page != nullptr ? page->find(path) : nullptr;
}

void answer_page(self_pointer self, const gateway_call& call) {
  if (auto* file = find_file(self->state, "/"))
    return answer_file(self, call, *file);
  answer(self, call,
         {200, "text/plain; charset=utf-8", {}, std::string{plain_page}});
}

/// What no row of the table fits: a file of the page, or 404 or 405.
void serve_unrouted(self_pointer self, const gateway_call& call,
                    std::string allow) {
  const auto& request = call.request();
  auto* file = find_file(self->state, request.path);
  if (file != nullptr && allow.empty()) {
    if (request.method == "GET" || request.method == "HEAD")
      return answer_file(self, call, *file);
    allow = "GET, HEAD";
  }
  if (allow.empty())
    return fail(self, call,
                problems::not_found("There is nothing at this path."));
  fail(self, call,
       problem{405,
               "method-not-allowed",
               "This path does not know the method.",
               {},
               {{"Allow", allow}}});
}

// -- the way of a request -----------------------------------------------------

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
std::optional<problem> check(self_pointer self, gateway_call& call) {
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

void run(self_pointer self, const gateway_call_ptr& call) {
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
      return ask_query(self, call);
    case endpoint::live:
      return open_feed(self, call);
    case endpoint::sign_in:
      return sign_in(self, call);
    case endpoint::show_session:
      return show_session(self, *call);
    case endpoint::sign_out:
      return sign_out(self, call);
    case endpoint::health:
      return answer_json(self, *call, R"({"status":"ok"})");
    case endpoint::ready:
      return ask_ready(self, call);
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

void serve(self_pointer self, const gateway_call_ptr& call) {
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

gateway_call_ptr make_call(self_pointer self, http_exchange_ptr exchange) {
  auto result = std::make_shared<gateway_call>();
  result->trace = take_trace(exchange->request);
  result->began = self->clock().now();
  result->exchange = std::move(exchange);
  return result;
}

} // namespace

gateway_actor::behavior_type
gateway(self_pointer self, gateway_options options) {
  assert(options.directory != nullptr);
  self->state.limiter = rate_limiter{options.rate_limit};
  self->state.options = std::move(options);
  // There before the first sale.
  for (auto outcome : {"recorded", "replayed"})
    purchase_counter(outcome);
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
    [self](atom::tick) { look_after_submits(self); },
  };
}

} // namespace tillstream

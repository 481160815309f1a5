#include "actors/gateway.hpp"

#include "actors/api_key.hpp"
#include "actors/documents.hpp"
#include "actors/gzip.hpp"
#include "actors/live_feed.hpp"
#include "messages/json.hpp"
#include "messages/log.hpp"
#include "messages/purchase_codec.hpp"

#include <caf/actor_clock.hpp>
#include <caf/sec.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <charconv>
#include <chrono>
#include <exception>
#include <optional>
#include <variant>

namespace tillstream {

/// One request on its way.
struct gateway_call {
  http_exchange_ptr exchange;
  trace_context trace;
  caf::actor_clock::time_point began;
  /// Null until routed, and for what is no route.
  const route* where = nullptr;
  /// What stood for `{…}` in the path.
  std::string_view segment;
  /// Set where the route needs a key.
  principal who;
  directory_ptr directory;

  const http_request& request() const {
    return exchange->request;
  }
};

namespace {

using self_pointer = gateway_actor::stateful_pointer<gateway_state>;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto requests_metric = "tillstream_http_requests_total";
constexpr auto requests_help = "Answered requests by route and status.";
constexpr auto seconds_metric = "tillstream_http_request_seconds";
constexpr auto seconds_help
  = "From a request's arrival at the gateway to its answer.";
constexpr auto purchases_metric = "tillstream_purchases_total";
constexpr auto purchases_help = "Answers to POST /purchases by outcome.";

/// A question may wait for an event first. A little more than the query's own
/// bounds, so that it can answer by itself.
constexpr auto analytics_wait_max
  = limits::query_answer_max + limits::after_wait_max + seconds{1};

/// How long a page waits before it connects again.
constexpr auto live_retry = milliseconds{2000};

// -- answering ----------------------------------------------------------------

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

void count_answer(self_pointer self, const gateway_call& call, int status) {
  auto took = std::chrono::duration_cast<std::chrono::microseconds>(
    self->clock().now() - call.began);
  request_counter(self->state, call, status).add();
  request_histogram(self->state, call)
    .observe(static_cast<uint64_t>(std::max<int64_t>(took.count(), 0)));
}

/// Answers; the one place from which replies leave, streams excepted.
void answer(self_pointer self, const gateway_call& call, http_reply reply) {
  count_answer(self, call, reply.status);
  reply.headers.emplace_back("traceparent", call.trace.traceparent);
  if (call.where != nullptr && call.where->who != audience::anyone)
    reply.headers.emplace_back("Cache-Control", "no-store");
  call.exchange->reply(std::move(reply));
}

void answer_json(self_pointer self, const gateway_call& call,
                 std::string body) {
  answer(self, call, {200, "application/json", {}, std::move(body)});
}

counter& purchase_counter(std::string_view outcome) {
  return metrics().get_counter(purchases_metric, purchases_help,
                               metric_label("outcome", outcome));
}

void count_purchase(std::string_view outcome) {
  purchase_counter(outcome).add();
}

void fail(self_pointer self, const gateway_call& call, const problem& why) {
  if (call.where && call.where->target == endpoint::record_purchase)
    count_purchase(why.name);
  answer(self, call, render_problem(why, call.trace.trace_id));
}

// -- problems -----------------------------------------------------------------

std::string json_string(std::string_view text) {
  std::string result;
  json_writer{result}.string(text);
  return result;
}

std::string json_errors(const std::vector<field_error>& errors) {
  std::string result;
  json_writer out{result};
  out.begin_array();
  for (const auto& [pointer, detail] : errors)
    out.begin_object()
      .field("pointer", pointer)
      .field("detail", detail)
      .end_object();
  out.end_array();
  return result;
}

problem retry_later(int status, std::string name, std::string detail,
                    seconds after = seconds{1}) {
  return {status,
          std::move(name),
          std::move(detail),
          {},
          {{"Retry-After", std::to_string(after.count())}}};
}

problem shutting_down() {
  return retry_later(503, "shutting-down", "This node is going down.",
                     seconds{2});
}

problem unavailable() {
  return retry_later(503, "unavailable",
                     "A server that is needed for this cannot be reached.",
                     seconds{2});
}

problem outcome_unknown() {
  return retry_later(503, "outcome-unknown",
                     "There was no answer in time, and what was asked for may "
                     "have been done. Send the same request again: under its "
                     "idempotency key a purchase is recorded once.");
}

problem internal_error() {
  return {500, "internal-error", "This is a fault of the server.", {}, {}};
}

problem not_found(std::string detail) {
  return {404, "not-found", std::move(detail), {}, {}};
}

problem forbidden(std::string detail) {
  return {403, "forbidden", std::move(detail), {}, {}};
}

problem bad_parameter(std::string_view name, std::string detail) {
  return {400,
          "bad-parameter",
          std::move(detail),
          {{"parameter", json_string(name)}},
          {}};
}

problem malformed_json(std::string detail) {
  return {400, "malformed-json", std::move(detail), {}, {}};
}

problem unsupported_media_type() {
  return {415,
          "unsupported-media-type",
          "The body must be application/json, not compressed.",
          {},
          {{"Accept-Post", "application/json"}}};
}

problem session_over() {
  return {401,
          "unauthorized",
          "The sign-in is over: sign in again.",
          {},
          {{"WWW-Authenticate", R"(Bearer realm="tillstream")"}}};
}

problem unauthorized(bool presented) {
  // RFC 6750, 3.1: no error code for a request without credentials.
  return {401,
          "unauthorized",
          presented ? "The API key is not known, or was revoked."
                    : "An API key is needed: Authorization: Bearer <key>.",
          {},
          {{"WWW-Authenticate",
            presented ? R"(Bearer realm="tillstream", error="invalid_token")"
                      : R"(Bearer realm="tillstream")"}}};
}

problem
validation_failed(std::string detail, const std::vector<field_error>& errors) {
  return {422,
          "validation-failed",
          std::move(detail),
          {{"errors", json_errors(errors)}},
          {}};
}

/// What went wrong with our own parts: always a 5xx.
problem problem_of(const caf::error& err) {
  if (err == errc::overloaded)
    return retry_later(503, "overloaded", "Too much is waiting already.");
  if (err == errc::shutting_down)
    return shutting_down();
  if (err == errc::in_doubt || err == errc::timeout
      || err == caf::sec::request_timeout)
    return outcome_unknown();
  if (err == errc::internal || err == errc::invalid || err == errc::not_found)
    return internal_error();
  // Away, or not here: another try may find it.
  return unavailable();
}

/// Answers with trouble of ours. Only what somebody has to mend is a log line:
/// a database that is away shows in the metrics and in `/readyz`, and a line
/// for each till that asks again would bury the rest.
void fail(self_pointer self, const gateway_call& call, const caf::error& err) {
  assert(call.where != nullptr);
  auto why = problem_of(err);
  if (why.name == "outcome-unknown"
      && call.where->target != endpoint::record_purchase)
    why = unavailable(); // Nothing was to be done, only read.
  auto level = why.status == 500 ? log::level::error : log::level::debug;
  log::write(level, "gateway.trouble",
             {{"route", call.where->pattern},
              {"status", why.status},
              {"reason", describe(err)},
              {"trace_id", call.trace.trace_id}});
  fail(self, call, why);
}

// -- keys and roles -----------------------------------------------------------

/// The credentials of `Authorization: Bearer …` (RFC 6750, 2.1).
std::string_view bearer_of(const http_request& request) {
  constexpr std::string_view scheme = "bearer ";
  auto value = request.header("authorization").value_or(std::string_view{});
  if (value.size() < scheme.size())
    return {};
  for (size_t i = 0; i < scheme.size(); ++i)
    if ((value[i] >= 'A' && value[i] <= 'Z' ? value[i] + 32 : value[i])
        != scheme[i])
      return {};
  value.remove_prefix(scheme.size());
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  return value;
}

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

constexpr std::string_view session_cookie = "tillstream_session";

/// The value of the page's cookie (RFC 6265, 4.2); empty: none.
std::string_view session_token_of(const http_request& request) {
  auto rest = request.header("cookie").value_or(std::string_view{});
  while (!rest.empty()) {
    auto end = rest.find(';');
    auto pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{}
                                         : rest.substr(end + 1);
    pair.remove_prefix(std::min(pair.find_first_not_of(' '), pair.size()));
    if (pair.starts_with(session_cookie)
        && pair.substr(session_cookie.size()).starts_with('='))
      return pair.substr(session_cookie.size() + 1);
  }
  return {};
}

/// Whether a browser says that another site is behind the request. Programs
/// say nothing of the kind.
bool is_cross_site(const http_request& request) {
  auto site = request.header("sec-fetch-site");
  if (site)
    return *site != "same-origin" && *site != "none";
  auto origin = request.header("origin");
  if (!origin)
    return false;
  auto host = origin->find("://");
  return host == std::string_view::npos
         || origin->substr(host + 3)
              != request.header("host").value_or(std::string_view{});
}

bool is_safe(std::string_view method) {
  return method == "GET" || method == "HEAD";
}

/// Fills in who calls by the page's cookie.
std::optional<problem> authorize_page(gateway_state& state, gateway_call& call,
                                      std::string_view token) {
  auto now = state.options.directory->now();
  auto who = call.directory->authenticate_session(token, now);
  if (!who)
    return session_over();
  if (!is_safe(call.request().method) && is_cross_site(call.request()))
    return forbidden("This has to come from the page itself.");
  call.who = std::move(*who);
  return std::nullopt;
}

/// Fills in who calls. @returns why the call ends here, if it does.
std::optional<problem> authorize(gateway_state& state, gateway_call& call) {
  call.directory = state.options.directory->get();
  if (!needs_key(state, call))
    return std::nullopt;
  // Without the database we cannot tell a good key from a bad one.
  if (call.directory == nullptr)
    return unavailable();
  auto token = session_token_of(call.request());
  if (!token.empty() && !call.request().header("authorization")) {
    if (auto refused = authorize_page(state, call, token))
      return refused;
  } else {
    auto secret = bearer_of(call.request());
    auto who = call.directory->authenticate(secret);
    if (!who)
      return unauthorized(!secret.empty());
    call.who = std::move(*who);
  }
  if (!allows(call.where->who, call.who.role))
    return forbidden("This key has the role " + to_string(call.who.role)
                     + ", which may not do this.");
  return std::nullopt;
}

// -- POST /purchases ----------------------------------------------------------

/// Cuts the part before the next `;` off, in lower case and without blanks
/// around it.
std::string take_part(std::string_view& rest) {
  constexpr std::string_view blanks = " \t";
  auto end = std::min(rest.find(';'), rest.size());
  auto part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  part.remove_prefix(std::min(part.find_first_not_of(blanks), part.size()));
  std::string result{part.substr(0, part.find_last_not_of(blanks) + 1)};
  for (auto& c : result)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return result;
}

/// `application/json`, in UTF-8 where it says so, and not compressed. Other
/// parameters mean nothing for JSON (RFC 8259, 11).
bool is_json(const http_request& request) {
  auto encoding = request.header("content-encoding");
  if (encoding && *encoding != "identity")
    return false;
  auto rest = request.header("content-type").value_or(std::string_view{});
  if (take_part(rest) != "application/json")
    return false;
  while (!rest.empty()) {
    auto parameter = take_part(rest);
    if (parameter.starts_with("charset=") && parameter != "charset=utf-8"
        && parameter != "charset=\"utf-8\"")
      return false;
  }
  return true;
}

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
      return forbidden(refused.detail);
    case refusal::branch_unknown:
    case refusal::validation_failed:
      return validation_failed(refused.detail, refused.errors);
  }
  return internal_error();
}

void answer_recorded(self_pointer self, const gateway_call& call,
                     const recorded_purchase& x, bool replayed) {
  // Looking a counter up takes a lock, and making its name more than counting.
  static auto& recorded_count = purchase_counter("recorded");
  static auto& replayed_count = purchase_counter("replayed");
  (replayed ? replayed_count : recorded_count).add();
  const auto& unit = call.directory->shops()->currency;
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
              {{"purchase_id", json_string(holder)}},
              {}};
    }
    case verdict::customer_unknown:
      return validation_failed(
        "The purchase breaks a rule.",
        {{"/user_id", "is not a known customer; send "
                      "\"new_customer\": true if the till made the "
                      "id"}});
    case verdict::in_progress:
      return retry_later(409, "request-in-progress",
                         "A purchase with this key or receipt is still being "
                         "recorded.");
    case verdict::recorded:
    case verdict::replayed:
      break;
  }
  return internal_error();
}

void submit(self_pointer self, const gateway_call_ptr& call, purchase x) {
  self
    ->request(self->state.options.intake,
              caf::duration{limits::write_answer_max}, atom::submit_v,
              std::make_shared<const purchase>(std::move(x)))
    .then(
      [self, call](const record_result& result) {
        if (result.outcome == verdict::recorded
            || result.outcome == verdict::replayed)
          answer_recorded(self, *call, result.purchase,
                          result.outcome == verdict::replayed);
        else
          fail(self, *call, problem_of(result));
      },
      [self, call](const caf::error& err) { fail(self, *call, err); });
}

/// @returns why this key has to wait, if it does.
std::optional<problem> check_rate(self_pointer self, const gateway_call& call) {
  if (call.where->target != endpoint::record_purchase)
    return std::nullopt;
  auto wait = self->state.limiter.take(call.who.key_id, self->clock().now());
  if (wait == milliseconds{0})
    return std::nullopt;
  return retry_later(429, "too-many-requests",
                     "This key has used up its rate of purchases.",
                     std::chrono::ceil<seconds>(wait));
}

void record_purchase(self_pointer self, const gateway_call_ptr& call) {
  const auto& request = call->request();
  if (!is_json(request))
    return fail(self, *call, unsupported_media_type());
  purchase_context context;
  context.idempotency_header = idempotency_header(request);
  context.till_branch = call->who.branch_id;
  context.traceparent = call->trace.traceparent;
  context.now = self->state.options.directory->now();
  auto decoded
    = decode_purchase(request.body, *call->directory->shops(), context);
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
    return bad_parameter(*request.garbled_parameter,
                         "Must be percent-encoded UTF-8 without U+0000.");
  for (const auto& [name, value] : request.query) {
    // A named capture: clang 14 cannot capture a structured binding.
    auto i = std::find_if(
      known.begin(), known.end(),
      [&wanted = name](const auto& x) { return x.name == wanted; });
    if (i == known.end())
      return bad_parameter(name, "There is no such parameter here.");
    if (i->value)
      return bad_parameter(name, "The parameter may be given once.");
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
          return fail(self, *call, not_found("There is no such purchase."));
        const auto& unit = call->directory->shops()->currency;
        answer_json(self, *call, encode_details(*found, unit));
      },
      [self, call](const caf::error& err) { fail(self, *call, err); });
}

/// The till's branch, or all for the owner.
std::vector<std::string> visible_branches(const gateway_call& call) {
  if (call.who.role == storage::key_role::till)
    return {call.who.branch_id};
  std::vector<std::string> result;
  for (const auto& shop : call.directory->shops()->branches)
    result.push_back(shop.id);
  return result;
}

void get_purchase(self_pointer self, const gateway_call_ptr& call) {
  if (auto wrong = take_parameters(call->request(), {}))
    return fail(self, *call, *wrong);
  auto purchase_id = parse_uuid(call->segment);
  if (!purchase_id)
    return fail(self, *call, not_found("There is no such purchase."));
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
      || call->directory->shops()->find(*branch_id.value) == nullptr)
    return fail(self, *call,
                bad_parameter("branch_id", "Names a branch of the chain."));
  auto parsed = key.value ? parse_uuid(*key.value) : std::nullopt;
  if (!parsed)
    return fail(self, *call,
                bad_parameter("idempotency_key", "Must be a UUID."));
  if (call->who.role == storage::key_role::till
      && call->who.branch_id != *branch_id.value)
    return fail(self, *call, forbidden("This key is for another branch."));
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
    return fail(self, *call, bad_parameter("after", "Must be a UUID."));
  if (limit.value) {
    auto parsed = parse_limit(*limit.value);
    if (!parsed)
      return fail(self, *call,
                  bad_parameter("limit", "Must be a number from 1 to 1000."));
    page.limit = *parsed;
  }
  self
    ->request(self->state.options.reader,
              caf::duration{limits::query_answer_max}, atom::list_v, page)
    .then(
      [self, call, n = page.limit](const customer_page_ptr& found) {
        if (found == nullptr)
          return fail(self, *call, internal_error());
        answer_json(self, *call, encode_customers(*found, n));
      },
      [self, call](const caf::error& err) { fail(self, *call, err); });
}

void list_branches(self_pointer self, const gateway_call& call) {
  if (auto wrong = take_parameters(call.request(), {}))
    return fail(self, call, *wrong);
  const auto& shops = *call.directory->shops();
  std::string body;
  json_writer out{body};
  out.begin_object()
    .field("name", shops.name)
    .field("currency", shops.currency.code)
    .key("branches")
    .begin_array();
  for (const auto& shop : shops.branches)
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
  auto question = std::make_shared<analytics_question>();
  // Shares the exchange's request instead of copying it.
  question->request = http_request_ptr{call->exchange, &call->request()};
  question->name = std::string{call->segment};
  question->trace_id = call->trace.trace_id;
  self
    ->request(self->state.options.query, caf::duration{analytics_wait_max},
              atom::ask_v, analytics_question_ptr{std::move(question)})
    .then(
      [self, call](const http_reply_ptr& reply) {
        if (reply == nullptr)
          return fail(self, *call, internal_error());
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
    return fail(self, *call, unavailable());
  http_reply head{200, "text/event-stream; charset=utf-8", {}, {}};
  head.headers = {{"Cache-Control", "no-store"},
                  {"X-Accel-Buffering", "no"},
                  {"traceparent", call->trace.traceparent}};
  head.body = fmt::format("retry: {}\n\n", live_retry.count());
  auto stream = call->exchange->stream(std::move(head));
  if (stream == nullptr)
    return fail(self, *call,
                retry_later(503, "overloaded",
                            "This node has too many pages that listen.",
                            seconds{10}));
  count_answer(self, *call, 200);
  auto listener = std::make_shared<live_listener>();
  listener->stream = std::move(stream);
  listener->who = call->who;
  listener->known_id
    = call->request().header("last-event-id").value_or(std::string_view{});
  self->send(state.options.live, atom::open_v, std::move(listener));
}

// -- signing in to the page ---------------------------------------------------

/// What a browser is told of the cookie (RFC 6265, 4.1): scripts do not see it,
/// and no request that another site begins carries it.
std::string
set_cookie(const http_request& request, std::string_view value, seconds age) {
  auto result
    = fmt::format("{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict",
                  session_cookie, value, age.count());
  // Whoever ends TLS in front of us says so.
  if (request.header("x-forwarded-proto") == "https")
    result += "; Secure";
  return result;
}

/// @param who Nobody, if nothing is set.
std::string encode_session(const std::optional<principal>& who) {
  std::string result;
  json_writer out{result};
  out.begin_object().key("role");
  if (who)
    out.string(to_string(who->role));
  else
    out.null();
  out.key("expires_at");
  if (who && who->session)
    out.string(to_rfc3339(who->session->expires_at));
  else
    out.null(); // The key itself called.
  out.end_object();
  return result;
}

/// Tells who calls. Being nobody is an answer, too: a page that asks before it
/// shows its door has done nothing wrong.
void show_session(self_pointer self, const gateway_call& call) {
  if (call.directory == nullptr)
    return fail(self, call, unavailable());
  const auto& request = call.request();
  auto who
    = request.header("authorization")
        ? call.directory->authenticate(bearer_of(request))
        : call.directory->authenticate_session(
          session_token_of(request), self->state.options.directory->now());
  http_reply reply{200, "application/json", {}, encode_session(who)};
  reply.headers = {{"Cache-Control", "no-store"}};
  answer(self, call, std::move(reply));
}

void open_session(self_pointer self, const gateway_call_ptr& call,
                  principal who) {
  auto& state = self->state;
  state.guard.succeeded(call->request().peer);
  auto age = std::chrono::duration_cast<seconds>(limits::page_session_age_max);
  who.session = page_session{state.ids.v4(), who.key_id,
                             state.options.directory->now() + age};
  http_reply reply{200, "application/json", {}, encode_session(who)};
  reply.headers
    = {{"Set-Cookie",
        set_cookie(call->request(), call->directory->seal(*who.session), age)},
       {"Cache-Control", "no-store"}};
  log::info("page.signed_in", {{"key_id", to_string(who.key_id)},
                               {"peer", call->request().peer}});
  answer(self, *call, std::move(reply));
}

void refuse_sign_in(self_pointer self, const gateway_call_ptr& call,
                    std::string detail) {
  self->state.guard.failed(call->request().peer, self->clock().now());
  auto why = session_over();
  why.detail = std::move(detail);
  fail(self, *call, why);
}

/// Signs the holder of an owner's key in.
void sign_in_as(self_pointer self, const gateway_call_ptr& call,
                const std::optional<principal>& who, std::string unknown) {
  if (!who)
    return refuse_sign_in(self, call, std::move(unknown));
  if (who->role != storage::key_role::owner)
    return fail(self, *call,
                forbidden("This is a key of the role " + to_string(who->role)
                          + "; the page is for the owner's."));
  open_session(self, call, *who);
}

void sign_in_by_link(self_pointer self, const gateway_call_ptr& call,
                     std::string_view secret) {
  if (!self->state.options.keeper)
    return fail(self, *call, unavailable());
  constexpr auto unknown = "The link was used already, or is too old.";
  self
    ->request(self->state.options.keeper,
              caf::duration{limits::query_answer_max}, atom::open_v,
              sign_in_link{secret_digest(secret)})
    .then(
      [self, call](const uuid& key_id) {
        sign_in_as(self, call, call->directory->holder(key_id), unknown);
      },
      [self, call](const caf::error& err) {
        if (err == errc::not_found)
          refuse_sign_in(self, call, unknown);
        else
          fail(self, *call, err);
      });
}

/// `{"key": "tsk_owner_…"}` or `{"link": "tsl_…"}`
void sign_in(self_pointer self, const gateway_call_ptr& call) {
  const auto& request = call->request();
  if (is_cross_site(request))
    return fail(self, *call,
                forbidden("This has to come from the page itself."));
  if (!is_json(request))
    return fail(self, *call, unsupported_media_type());
  auto wait = self->state.guard.wait_for(request.peer, self->clock().now());
  if (wait > milliseconds{0})
    return fail(self, *call,
                retry_later(429, "too-many-requests",
                            "Too many wrong keys from this address.",
                            std::chrono::ceil<seconds>(wait)));
  if (call->directory == nullptr)
    return fail(self, *call, unavailable());
  json_document document;
  auto wrong = document.parse(request.body);
  if (!wrong.empty())
    return fail(self, *call, malformed_json(std::move(wrong)));
  auto text_of = [&](std::string_view name) {
    const auto* x = document.root().find(name);
    return x != nullptr && x->is(json_value::kind::string) ? x->text
                                                           : std::string_view{};
  };
  auto key = text_of("key");
  auto link = text_of("link");
  if (key.empty() == link.empty())
    return fail(self, *call,
                malformed_json("An object with either key or link."));
  if (!link.empty())
    return sign_in_by_link(self, call, link);
  sign_in_as(self, call, call->directory->authenticate(key),
             "The key is not known, or was revoked.");
}

void answer_signed_out(self_pointer self, const gateway_call_ptr& call) {
  http_reply reply{204, "", {}, {}};
  reply.headers = {{"Set-Cookie", set_cookie(call->request(), "", seconds{0})}};
  answer(self, *call, std::move(reply));
}

/// Ends the session on every node. By a key there is none to end.
void sign_out(self_pointer self, const gateway_call_ptr& call) {
  if (!call->who.session)
    return answer_signed_out(self, call);
  if (!self->state.options.keeper)
    return fail(self, *call, unavailable());
  const auto& session = *call->who.session;
  self
    ->request(self->state.options.keeper,
              caf::duration{limits::query_answer_max}, atom::close_v,
              session_end{session.session_id, session.expires_at})
    .then([self, call](bool) { answer_signed_out(self, call); },
          [self, call](const caf::error& err) { fail(self, *call, err); });
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
    auto why = retry_later(503, "not-ready", "Some parts are not ready.");
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
    return fail(self, call, not_found("There is nothing at this path."));
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
    return retry_later(503, "unavailable",
                       "This node takes no purchases; another one does.");
  if (call.where->target == endpoint::analytics && !state.options.query)
    return retry_later(503, "unavailable",
                       "This node answers no questions; another one does.");
  return std::nullopt;
}

/// The checks that all routes share, in the contract's order.
std::optional<problem> check(self_pointer self, gateway_call& call) {
  auto& state = self->state;
  if (state.draining && !answers_to_the_end(call.where->target))
    return shutting_down();
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
  };
}

} // namespace tillstream

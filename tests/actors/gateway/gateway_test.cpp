#include <boost/test/unit_test.hpp>

#include "actors/directory/api_key.hpp"
#include "actors/gateway/gateway.hpp"
#include "actors/http/gzip.hpp"
#include "actors/query/live_feed.hpp"
#include "actors/runtime/spawn.hpp"
#include "messages/codec/chain_file.hpp"
#include "messages/codec/json.hpp"
#include "messages/codec/purchase_codec.hpp"
#include "messages/core/error.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/openapi_document.hpp"

#include <filesystem>
#include <fstream>
#include <map>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

constexpr auto key = "2f1c8a4e-9b6d-4c3a-8e57-0d9f6b1a2c34";
constexpr auto some_id = "0191d2a4-7c1e-7b3a-9f00-3f6c1f0e8a11";

/// What the edge got to write. Outlives the exchange.
struct outbox {
  std::vector<http_reply> replies;
  /// Heads of streams, and what was sent on them.
  std::vector<http_reply> heads;
  std::vector<std::string> sent;
  /// No room for streams.
  bool streams_full = false;
  /// Exchanges that died unanswered: the edge makes a 500 of each.
  int dropped = 0;
};

class fake_stream : public http_stream {
public:
  explicit fake_stream(outbox& out) : out_(out) {
    // nop
  }

  bool send(std::string bytes) override {
    out_.sent.push_back(std::move(bytes));
    return true;
  }

  bool closed() const override {
    return false;
  }

private:
  outbox& out_;
};

class fake_exchange : public http_exchange {
public:
  fake_exchange(http_request x, outbox& out)
    : http_exchange(std::move(x)),
      out_(out) {
    // nop
  }

  ~fake_exchange() override {
    if (!answered_)
      ++out_.dropped;
  }

  void reply(http_reply x) override {
    answered_ = true;
    out_.replies.push_back(std::move(x));
  }

  http_stream_ptr stream(http_reply head) override {
    if (out_.streams_full)
      return nullptr;
    answered_ = true;
    out_.heads.push_back(std::move(head));
    return std::make_shared<fake_stream>(out_);
  }

private:
  outbox& out_;
  bool answered_ = false;
};

/// What the fake actors do and saw. Outlives them.
struct script {
  std::function<caf::result<record_result>(const purchase_ptr&)> submit;
  std::function<caf::result<purchase_details_ptr>(const purchase_key&)> find;
  std::function<caf::result<customer_page_ptr>(const customer_page_request&)>
    list;
  std::function<caf::result<query_reply>(const analytics_query_ptr&)> ask;
  std::vector<purchase_ptr> purchases;
  std::vector<std::chrono::steady_clock::time_point> deadlines;
  std::function<caf::result<uuid>(const sign_in_link&)> take_link;
  std::vector<session_end> ended;
  std::vector<live_listener_ptr> listeners;
  readiness intake{"intake", true, ""};
  int asked_ready = 0;
};

transaction_writer_actor::behavior_type
fake_writer(transaction_writer_actor::pointer, script* play) {
  return {
    [play](atom::submit, const submission& x) {
      play->deadlines.push_back(x.deadline);
      play->purchases.push_back(x.what);
      return play->submit(x.what);
    },
    [play](atom::ready) {
      ++play->asked_ready;
      return play->intake;
    },
  };
}

purchase_lookup_actor::behavior_type
fake_reader(purchase_lookup_actor::pointer, script* play) {
  return {
    [play](atom::find, const purchase_key& x) { return play->find(x); },
    [play](atom::list, const customer_page_request& x) {
      return play->list(x);
    },
  };
}

query_actor::behavior_type fake_query(query_actor::pointer, script* play) {
  return {
    [play](atom::ask, const analytics_query_ptr& x) { return play->ask(x); },
  };
}

directory_actor::behavior_type
fake_refresher(directory_actor::pointer, script* play) {
  return {
    [](atom::ready) { return readiness{}; },
    [play](atom::open, const sign_in_link& x) { return play->take_link(x); },
    [play](atom::close, const session_end& x) {
      play->ended.push_back(x);
      return true;
    },
  };
}

live_feed_actor::behavior_type
fake_feed(live_feed_actor::pointer, script* play) {
  return {
    [play](atom::open, const live_listener_ptr& x) {
      play->listeners.push_back(x);
    },
  };
}

/// Never answers: CAF drops promises silently. Keeps its permits.
struct mute_writer_state {
  mute_writer_state() = default;

  static inline const char* name = "mute-writer";

  std::vector<submission> kept;
};

transaction_writer_actor::behavior_type mute_writer(
  transaction_writer_actor::stateful_pointer<mute_writer_state> self) {
  return {
    [self](atom::submit, const submission& x) -> caf::result<record_result> {
      self->state.kept.push_back(x);
      return self->make_response_promise<record_result>();
    },
    [self](atom::ready) -> caf::result<readiness> {
      return self->make_response_promise<readiness>();
    },
  };
}

recorded_purchase recorded(const std::string& branch_id = "branch-1") {
  recorded_purchase result;
  result.purchase_id = parse_uuid(some_id).value();
  result.branch_id = branch_id;
  result.receipt_id = "R-1";
  result.total = 450;
  result.currency = "USD";
  result.items_count = 1;
  return result;
}

std::string body_of(std::string_view branch_id = "branch-1") {
  return R"({"branch_id":")" + std::string{branch_id}
         + R"(","cashier_id":"anna","pos_id":"pos-1","receipt_id":"R-1",)"
           R"("idempotency_key":")"
         + key
         + R"(","items":[{"product_id":"latte","unit_price":"4.50","qty":1}]})";
}

struct fixture : tests::actor_fixture {
  fixture() : view(std::make_shared<directory_view>()) {
    add_key("till-1", storage::key_role::till, "branch-1");
    add_key("till-2", storage::key_role::till, "branch-2");
    add_key("owner", storage::key_role::owner);
    add_key("operator", storage::key_role::operator_);
    reference.chain = default_chain();
    view->set(std::make_shared<directory>(reference));
    play.submit = [](const purchase_ptr& x) -> caf::result<record_result> {
      return record_result{verdict::recorded, recorded(x->branch_id)};
    };
    play.find
      = [](const purchase_key&) -> caf::result<purchase_details_ptr> {
      return purchase_details_ptr{};
    };
    play.list
      = [](const customer_page_request&) -> caf::result<customer_page_ptr> {
      return std::make_shared<const std::vector<known_customer>>();
    };
    play.ask = [](const analytics_query_ptr& x) -> caf::result<query_reply> {
      http_reply reply;
      reply.body = x->name;
      return std::make_shared<const http_reply>(std::move(reply));
    };
    writer = sys.spawn(fake_writer, &play);
    use(writer);
    reader = sys.spawn(fake_reader, &play);
    query = sys.spawn(fake_query, &play);
    refresher = sys.spawn(fake_refresher, &play);
    feed = sys.spawn(fake_feed, &play);
    play.take_link = [](const sign_in_link&) -> caf::result<uuid> {
      return caf::make_error(errc::not_found);
    };
    options.refresher = refresher;
    options.live = feed;
    options.directory = view;
    admission_options admitting;
    admitting.writers = {slot};
    admitting.in_flight_max = in_flight_max;
    options.intake = std::make_shared<admission>(admitting);
    options.reader = reader;
    options.query = query;
    options.parts.push_back(part_of("intake", writer));
  }

  ~fixture() {
    if (subject)
      end(subject);
    options = {};
    slot.reset();
    end(writer);
    end(reader);
    end(query);
    end(refresher);
    end(feed);
  }

  void add_key(std::string_view secret, storage::key_role role,
               std::string branch_id = "") {
    storage::api_key x;
    x.key_id = uuid_source{}.v4();
    x.digest = secret_digest(secret);
    x.role = role;
    x.branch_id = std::move(branch_id);
    reference.keys.push_back(x);
  }

  /// From now on purchases go to this writer.
  void use(const transaction_writer_actor& x) {
    slot->current.set(std::make_shared<const transaction_writer_actor>(x));
  }

  void start() {
    if (!subject)
      subject = spawn_actor(sys, gateway, options);
  }

  static http_request
  make(std::string method, std::string path, std::string_view who = "") {
    http_request result;
    result.method = std::move(method);
    auto mark = path.find('?');
    result.path = path.substr(0, mark);
    while (mark != std::string::npos) {
      auto next = path.find('&', mark + 1);
      auto pair = path.substr(mark + 1, next - mark - 1);
      auto equals = pair.find('=');
      result.query.emplace_back(pair.substr(0, equals),
                                pair.substr(equals + 1));
      mark = next;
    }
    if (!who.empty())
      result.headers.emplace_back("authorization",
                                  "Bearer " + std::string{who});
    return result;
  }

  static http_request
  sale(std::string_view who = "till-1", std::string body = body_of()) {
    auto result = make("POST", "/purchases", who);
    result.headers.emplace_back("content-type", "application/json");
    result.body = std::move(body);
    return result;
  }

  /// Hands a request over without waiting.
  void post(http_request x) {
    start();
    caf::anon_send(
      subject, atom::request_v,
      http_exchange_ptr{std::make_shared<fake_exchange>(std::move(x), out)});
    settle();
  }

  /// Sends a request and takes its one answer, which must be documented.
  http_reply ask_gateway(http_request x) {
    auto method = x.method;
    auto path = x.path;
    out.replies.clear();
    post(std::move(x));
    BOOST_REQUIRE(out.replies.size() == 1u);
    check_documented(method, path, out.replies[0].status);
    return out.replies[0];
  }

  void check_documented(const std::string& method, const std::string& path,
                        int status) {
    auto match = match_route(method, path);
    if (match.where == nullptr)
      return;
    auto* operation = api.operation(method, match.where->pattern);
    BOOST_REQUIRE(operation != nullptr);
    BOOST_TEST((api.response(*operation, status) != nullptr),
               method << " " << path << " answers " << status
                      << ", which openapi.json does not know");
  }

  static http_request
  sign_in(std::string_view body, std::string type = "application/json") {
    auto result = make("POST", "/session");
    result.body = std::string{body};
    result.headers.emplace_back("content-type", std::move(type));
    result.peer = "192.0.2.1";
    return result;
  }

  /// Signs in with the owner's key. @returns `name=value` of the cookie.
  std::string session_cookie() {
    auto reply = ask_gateway(sign_in(R"({"key":"owner"})"));
    BOOST_REQUIRE(reply.status == 200);
    auto cookie = header(reply, "Set-Cookie").value();
    return cookie.substr(0, cookie.find(';'));
  }

  static http_request
  with_cookie(std::string method, std::string path, std::string cookie) {
    auto result = make(std::move(method), std::move(path));
    result.headers.emplace_back("cookie", "other=1; " + std::move(cookie));
    return result;
  }

  static std::optional<std::string>
  header(const http_reply& x, std::string_view name) {
    for (const auto& [k, v] : x.headers)
      if (k == name)
        return v;
    return std::nullopt;
  }

  /// Checks a problem and returns its body.
  json_document
  check_problem(const http_reply& x, int status, std::string_view name) {
    BOOST_TEST(x.status == status);
    BOOST_TEST(x.content_type == "application/problem+json");
    json_document result;
    BOOST_REQUIRE_EQUAL(result.parse(x.body), "");
    const auto& root = result.root();
    BOOST_TEST(root.find("type")->text == "/problems/" + std::string{name});
    BOOST_TEST(root.find("status")->text == std::to_string(status));
    BOOST_TEST(!root.find("title")->text.empty());
    BOOST_TEST(!root.find("detail")->text.empty());
    BOOST_TEST(root.find("trace_id")->text.size() == 32u);
    auto traceparent = header(x, "traceparent");
    BOOST_REQUIRE(traceparent);
    BOOST_TEST(traceparent->substr(3, 32) == root.find("trace_id")->text);
    return result;
  }

  void check_fails(http_request x, int status, std::string_view name) {
    BOOST_TEST_CONTEXT(x.method << " " << x.path << " " << x.body)
    check_problem(ask_gateway(std::move(x)), status, name);
  }

  void submit_answers(verdict outcome) {
    play.submit = [outcome](const purchase_ptr&) -> caf::result<record_result> {
      return record_result{outcome, recorded()};
    };
  }

  template <class Error>
  void submit_fails(Error code) {
    play.submit = [code](const purchase_ptr&) -> caf::result<record_result> {
      return caf::make_error(code, "a test");
    };
  }

  static uint64_t purchases_with(std::string_view outcome) {
    return metrics()
      .get_counter("tillstream_purchases_total", "",
                   metric_label("outcome", outcome))
      .value();
  }

  script play;
  outbox out;
  storage::directory_snapshot reference;
  directory_view_ptr view;
  tests::openapi_reader api;
  static constexpr size_t in_flight_max = 2;
  writer_slot_ptr slot = std::make_shared<writer_slot>();
  transaction_writer_actor writer;
  purchase_lookup_actor reader;
  query_actor query;
  directory_actor refresher;
  live_feed_actor feed;
  gateway_options options;
  gateway_actor subject;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(gateway_suite, fixture)

// -- POST /purchases, row by row ----------------------------------------------

BOOST_AUTO_TEST_CASE(a_recorded_purchase_is_a_201_with_its_location) {
  auto before = purchases_with("recorded");
  auto reply = ask_gateway(sale());
  BOOST_TEST(reply.status == 201);
  BOOST_TEST(reply.content_type == "application/json");
  BOOST_TEST(header(reply, "Location").value()
             == "/purchases/" + std::string{some_id});
  BOOST_TEST(!header(reply, "Idempotent-Replayed"));
  BOOST_TEST(reply.body == encode_recorded(recorded(), currency{}));
  BOOST_TEST(purchases_with("recorded") == before + 1);
  BOOST_REQUIRE(play.purchases.size() == 1u);
  BOOST_TEST(play.purchases[0]->receipt_id == "R-1");
}

BOOST_AUTO_TEST_CASE(a_replay_has_the_same_bytes_and_says_so) {
  auto first = ask_gateway(sale());
  submit_answers(verdict::replayed);
  auto second = ask_gateway(sale());
  BOOST_TEST(second.status == 201);
  BOOST_TEST(second.body == first.body);
  BOOST_TEST((header(second, "Location") == header(first, "Location")));
  BOOST_TEST(header(second, "Idempotent-Replayed").value() == "true");
}

BOOST_AUTO_TEST_CASE(a_reused_key_is_a_422) {
  submit_answers(verdict::key_reused);
  check_fails(sale(), 422, "idempotency-key-reused");
}

BOOST_AUTO_TEST_CASE(a_used_receipt_is_a_409_that_names_its_purchase) {
  submit_answers(verdict::receipt_taken);
  auto body = check_problem(ask_gateway(sale()), 409, "receipt-already-used");
  BOOST_TEST(body.root().find("purchase_id")->text == some_id);
}

BOOST_AUTO_TEST_CASE(an_unknown_customer_is_a_422_at_user_id) {
  submit_answers(verdict::customer_unknown);
  auto body = check_problem(ask_gateway(sale()), 422, "validation-failed");
  const auto& errors = body.root().find("errors")->elements;
  BOOST_REQUIRE(errors.size() == 1u);
  BOOST_TEST(errors[0].find("pointer")->text == "/user_id");
}

BOOST_AUTO_TEST_CASE(a_purchase_in_progress_elsewhere_is_a_409_for_later) {
  submit_answers(verdict::in_progress);
  auto reply = ask_gateway(sale());
  check_problem(reply, 409, "request-in-progress");
  BOOST_TEST(header(reply, "Retry-After").value() == "1");
}

BOOST_AUTO_TEST_CASE(bodies_that_are_no_json_are_a_400) {
  for (auto body : {"", "{", "nonsense", R"({"a":1,"a":2})", "{} {}", "\xff"})
    check_fails(sale("till-1", body), 400, "malformed-json");
  BOOST_TEST(play.purchases.empty());
}

BOOST_AUTO_TEST_CASE(a_missing_or_bad_key_is_a_400) {
  auto body = body_of();
  body.replace(body.find(key), 36, "not-a-uuid");
  check_fails(sale("till-1", body), 400, "idempotency-key-missing");
  check_fails(sale("till-1", R"({"branch_id":"branch-1"})"), 400,
              "idempotency-key-missing");
}

BOOST_AUTO_TEST_CASE(a_key_in_the_header_must_be_the_one_in_the_body) {
  auto same = sale();
  same.headers.emplace_back("idempotency-key", '"' + std::string{key} + '"');
  BOOST_TEST(ask_gateway(std::move(same)).status == 201);
  auto differs = sale();
  differs.headers.emplace_back("idempotency-key", some_id);
  check_fails(std::move(differs), 400, "idempotency-key-mismatch");
}

BOOST_AUTO_TEST_CASE(a_key_that_comes_in_two_headers_is_refused) {
  auto twice = sale();
  twice.headers.emplace_back("idempotency-key", key);
  twice.headers.emplace_back("idempotency-key", key);
  BOOST_TEST(ask_gateway(std::move(twice)).status == 400);
  BOOST_TEST(play.purchases.empty());
}

BOOST_AUTO_TEST_CASE(broken_rules_are_reported_all_at_once) {
  auto body = body_of();
  body.replace(body.find("\"qty\":1"), 7, "\"qty\":2");
  body.replace(body.find("\"anna\""), 6, "\"\"");
  auto problem = check_problem(ask_gateway(sale("till-1", body)), 422,
                               "validation-failed");
  std::map<std::string, std::string> errors;
  for (const auto& x : problem.root().find("errors")->elements)
    errors.emplace(x.find("pointer")->text, x.find("detail")->text);
  BOOST_TEST(errors.size() == 2u);
  BOOST_TEST(errors.count("/items/0/qty") == 1u);
  BOOST_TEST(errors.count("/cashier_id") == 1u);
}

BOOST_AUTO_TEST_CASE(other_media_types_are_a_415) {
  for (auto type : {"", "text/plain", "application/json; charset=latin-1",
                    "application/jsonx", "application/xml",
                    "application / json", "application/json, text/plain"}) {
    auto x = make("POST", "/purchases", "till-1");
    x.headers.emplace_back("content-type", type);
    x.body = body_of();
    check_fails(std::move(x), 415, "unsupported-media-type");
  }
  auto packed = sale();
  packed.headers.emplace_back("content-encoding", "gzip");
  check_fails(std::move(packed), 415, "unsupported-media-type");
}

BOOST_AUTO_TEST_CASE(spellings_of_the_media_type_are_understood) {
  for (auto type :
       {"application/json", "Application/JSON",
        "application/json; charset=utf-8", "application/json;charset=\"UTF-8\"",
        "application/json ; profile=\"a\"", "application/json;"}) {
    auto x = make("POST", "/purchases", "till-1");
    x.headers.emplace_back("content-type", type);
    x.body = body_of();
    BOOST_TEST(ask_gateway(std::move(x)).status == 201, type);
  }
}

BOOST_AUTO_TEST_CASE(a_body_that_is_too_large_is_a_413) {
  auto x = sale("till-1", "");
  x.body_too_large = true;
  check_fails(std::move(x), 413, "body-too-large");
}

BOOST_AUTO_TEST_CASE(a_key_over_its_rate_is_a_429) {
  options.rate_limit = 2;
  for (int i = 0; i < 2; ++i)
    BOOST_TEST(ask_gateway(sale()).status == 201);
  auto reply = ask_gateway(sale());
  check_problem(reply, 429, "too-many-requests");
  BOOST_TEST(header(reply, "Retry-After").value() == "1");
  // Another key has a bucket of its own, and reading costs nothing.
  BOOST_TEST(ask_gateway(sale("till-2", body_of("branch-2"))).status == 201);
  BOOST_TEST(ask_gateway(make("GET", "/branches", "till-1")).status == 200);
  advance(500ms);
  BOOST_TEST(ask_gateway(sale()).status == 201);
  check_fails(sale(), 429, "too-many-requests");
}

BOOST_AUTO_TEST_CASE(trouble_of_ours_is_a_503_for_later_and_never_a_4xx) {
  const std::pair<errc, std::string_view> rows[] = {
    {errc::overloaded, "overloaded"},       {errc::unavailable, "unavailable"},
    {errc::in_doubt, "outcome-unknown"},    {errc::timeout, "outcome-unknown"},
    {errc::shutting_down, "shutting-down"}, {errc::not_owner, "unavailable"},
  };
  for (const auto& [code, name] : rows) {
    submit_fails(code);
    auto reply = ask_gateway(sale());
    check_problem(reply, 503, name);
    BOOST_TEST(header(reply, "Retry-After").has_value());
  }
  for (auto code : {errc::internal, errc::invalid, errc::not_found}) {
    submit_fails(code);
    check_fails(sale(), 500, "internal-error");
  }
  submit_fails(caf::sec::request_receiver_down);
  check_fails(sale(), 503, "unavailable");
}

BOOST_AUTO_TEST_CASE(
  a_writer_that_never_answers_is_awaited_until_the_timeout) {
  auto mute = sys.spawn(mute_writer);
  use(mute);
  post(sale());
  advance(limits::write_answer_max - 1s);
  BOOST_TEST(out.replies.empty());
  advance(1s);
  BOOST_REQUIRE(out.replies.size() == 1u);
  check_problem(out.replies[0], 503, "outcome-unknown");
  end(mute);
}

BOOST_AUTO_TEST_CASE(a_writer_that_is_gone_or_was_never_there_is_a_503) {
  end(writer);
  check_fails(sale(), 503, "unavailable");
  BOOST_TEST(options.intake->in_flight() == 0u);
  slot->current.set(nullptr);
  check_fails(sale(), 503, "unavailable");
  end(subject);
  options.intake = nullptr;
  check_fails(sale(), 503, "unavailable");
  writer = sys.spawn(fake_writer, &play);
}

BOOST_AUTO_TEST_CASE(what_a_dead_writer_did_not_take_up_is_a_503) {
  auto mute = sys.spawn(mute_writer);
  use(mute);
  post(sale());
  BOOST_TEST(options.intake->in_flight() == 1u);
  // Behind what it has, and never taken up.
  start();
  caf::anon_send_exit(mute, caf::exit_reason::kill);
  caf::anon_send(
    subject, atom::request_v,
    http_exchange_ptr{std::make_shared<fake_exchange>(sale(), out)});
  settle();
  BOOST_REQUIRE(out.replies.size() == 1u);
  check_problem(out.replies[0], 503, "unavailable");
  BOOST_TEST(options.intake->in_flight() == 0u);
  // The next one stands in its place.
  use(writer);
  BOOST_TEST(ask_gateway(sale()).status == 201);
}

BOOST_AUTO_TEST_CASE(too_many_purchases_in_flight_are_a_503) {
  auto mute = sys.spawn(mute_writer);
  use(mute);
  for (size_t i = 0; i < in_flight_max; ++i)
    post(sale());
  check_fails(sale(), 503, "overloaded");
  // A time-out gives no place back: the writer has them still.
  advance(limits::write_answer_max);
  check_fails(sale(), 503, "overloaded");
  end(mute);
  use(writer);
  BOOST_TEST(ask_gateway(sale()).status == 201);
}

BOOST_AUTO_TEST_CASE(a_purchase_carries_its_deadline_and_gives_its_place_back) {
  BOOST_TEST(ask_gateway(sale()).status == 201);
  BOOST_REQUIRE(play.deadlines.size() == 1u);
  BOOST_TEST(
    (play.deadlines[0] == sched.clock().now() + limits::write_wait_max));
  BOOST_TEST(options.intake->in_flight() == 0u);
  BOOST_TEST(slot->pacer->arrivals() == 1u);
}

BOOST_AUTO_TEST_CASE(while_purchases_are_drained_no_more_are_taken) {
  options.intake->drain(0ms);
  check_fails(sale(), 503, "shutting-down");
}

BOOST_AUTO_TEST_CASE(a_gateway_that_dies_drops_its_exchanges) {
  auto mute = sys.spawn(mute_writer);
  use(mute);
  post(sale());
  end(subject);
  BOOST_TEST(out.replies.empty());
  BOOST_TEST(out.dropped == 1);
  end(mute);
}

// -- keys ---------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_missing_or_wrong_key_is_a_401_with_a_challenge) {
  for (auto path : {"/purchases?branch_id=branch-1", "/branches", "/customers",
                    "/analytics/summary", "/metrics",
                    "/purchases/0191d2a4-7c1e-7b3a-9f00-3f6c1f0e8a11"}) {
    auto without = ask_gateway(make("GET", path));
    check_problem(without, 401, "unauthorized");
    BOOST_TEST(header(without, "WWW-Authenticate").value()
               == R"(Bearer realm="tillstream")");
    auto wrong = ask_gateway(make("GET", path, "till-3"));
    check_problem(wrong, 401, "unauthorized");
    BOOST_TEST(header(wrong, "WWW-Authenticate").value()
               == R"(Bearer realm="tillstream", error="invalid_token")");
  }
}

BOOST_AUTO_TEST_CASE(only_one_bearer_counts) {
  for (auto value : {"Basic dGlsbC0x", "till-1", "Bearer", "Bearer ",
                     "Bearer till-1 till-1"}) {
    auto x = make("GET", "/branches");
    x.headers.emplace_back("authorization", value);
    check_fails(std::move(x), 401, "unauthorized");
  }
  auto twice = make("GET", "/branches", "till-1");
  twice.headers.emplace_back("authorization", "Bearer till-1");
  check_fails(std::move(twice), 401, "unauthorized");
  auto lower = make("GET", "/branches");
  lower.headers.emplace_back("authorization", "bearer  till-1");
  BOOST_TEST(ask_gateway(std::move(lower)).status == 200);
}

// Goal: each role gets what the contract gives it. Method: every route with
// every key.
BOOST_AUTO_TEST_CASE(roles_open_their_own_doors_only) {
  auto lookup
    = "/purchases?branch_id=branch-1&idempotency_key=" + std::string{key};
  struct row {
    std::string method;
    std::string path;
    std::string_view allowed;
  };
  const row rows[] = {
    {"POST", "/purchases", "till-1"},
    {"GET", lookup, "till-1 owner"},
    {"GET", "/purchases/" + std::string{some_id}, "till-1 owner"},
    {"GET", "/customers", "till-1 owner"},
    {"GET", "/branches", "till-1 owner operator"},
    {"GET", "/analytics/summary", "owner"},
    {"GET", "/analytics/revenue", "owner"},
    {"GET", "/analytics/top-products", "owner"},
    {"GET", "/analytics/loyal-customers", "owner"},
    {"GET", "/analytics/unique-customers", "owner"},
    {"GET", "/analytics/product", "owner"},
    {"GET", "/analytics/heatmap", "owner"},
    {"GET", "/metrics", "operator"},
  };
  for (const auto& x : rows)
    for (std::string_view who : {"till-1", "owner", "operator"}) {
      BOOST_TEST_CONTEXT(x.method << " " << x.path << " as " << who) {
        auto request
          = x.method == "POST" ? sale(who) : make(x.method, x.path, who);
        auto status = ask_gateway(std::move(request)).status;
        if (x.allowed.find(who) != std::string_view::npos)
          BOOST_TEST((status != 403 && status != 401));
        else
          BOOST_TEST(status == 403);
      }
    }
}

BOOST_AUTO_TEST_CASE(before_the_directory_is_read_no_key_is_refused) {
  view = std::make_shared<directory_view>();
  options.directory = view;
  auto reply = ask_gateway(sale());
  check_problem(reply, 503, "unavailable");
  BOOST_TEST(header(reply, "Retry-After").has_value());
  check_fails(make("GET", "/branches", "till-3"), 503, "unavailable");
  BOOST_TEST(ask_gateway(make("GET", "/healthz")).status == 200);
}

// -- the order of the checks --------------------------------------------------

// Goal: what the contract names first answers. Method: a request that breaks
// every rule at once, mended step by step.
BOOST_AUTO_TEST_CASE(checks_answer_in_the_order_of_the_contract) {
  auto x = make("PUT", "/nowhere");
  x.body_too_large = true;
  check_fails(x, 404, "not-found");
  x.path = "/purchases";
  check_fails(x, 405, "method-not-allowed");
  x.method = "POST";
  check_fails(x, 401, "unauthorized");
  x.headers.emplace_back("authorization", "Bearer owner");
  check_fails(x, 403, "forbidden");
  x.headers.back().second = "Bearer till-1";
  check_fails(x, 413, "body-too-large");
  x.body_too_large = false;
  check_fails(x, 415, "unsupported-media-type");
  x.headers.emplace_back("content-type", "application/json");
  x.body = "{";
  check_fails(x, 400, "malformed-json");
  x.body = R"({"branch_id":"branch-9"})";
  check_fails(x, 400, "idempotency-key-missing");
  x.headers.emplace_back("idempotency-key", key);
  auto unknown = check_problem(ask_gateway(x), 422, "validation-failed");
  const auto& errors = unknown.root().find("errors")->elements;
  BOOST_REQUIRE(errors.size() == 1u);
  BOOST_TEST(errors[0].find("pointer")->text == "/branch_id");
  x.body = R"({"branch_id":"branch-2"})";
  check_fails(x, 403, "forbidden");
  x.body = R"({"branch_id":"branch-1"})";
  check_fails(x, 422, "validation-failed");
  BOOST_TEST(play.purchases.empty());
}

BOOST_AUTO_TEST_CASE(other_methods_are_answered_with_what_is_allowed) {
  auto reply = ask_gateway(make("DELETE", "/purchases"));
  check_problem(reply, 405, "method-not-allowed");
  BOOST_TEST(header(reply, "Allow").value() == "POST, GET, HEAD");
  reply = ask_gateway(make("POST", "/analytics/summary"));
  BOOST_TEST(header(reply, "Allow").value() == "GET, HEAD");
}

BOOST_AUTO_TEST_CASE(paths_are_matched_exactly) {
  for (auto path :
       {"/purchases/", "/purchases/a/b", "/Purchases", "//", "/analytics",
        "/analytics/", "/analytics/none", "/purchasesx", "/healthz/", "/{id}"})
    check_fails(make("GET", path, "owner"), 404, "not-found");
}

// -- tracing ------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(traceparent_is_passed_on_and_given_back) {
  auto trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  auto x = sale();
  x.headers.emplace_back("traceparent", trace);
  auto reply = ask_gateway(x);
  BOOST_TEST(header(reply, "traceparent").value() == trace);
  BOOST_TEST(play.purchases[0]->traceparent == trace);
  x.headers.back().second = "garbage\r\n";
  reply = ask_gateway(x);
  BOOST_TEST(header(reply, "traceparent").value().size() == 55u);
  BOOST_TEST(play.purchases[1]->traceparent
             == header(reply, "traceparent").value());
}

// -- reading ------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_till_searches_its_branch_and_the_owner_all) {
  std::vector<std::string> looked_in;
  play.find
    = [&](const purchase_key& x) -> caf::result<purchase_details_ptr> {
    looked_in = x.branches;
    BOOST_TEST((x.purchase_id == parse_uuid(some_id)));
    purchase_details found;
    found.head = recorded();
    return std::make_shared<const purchase_details>(std::move(found));
  };
  auto path = "/purchases/" + std::string{some_id};
  auto reply = ask_gateway(make("GET", path, "till-2"));
  BOOST_TEST(reply.status == 200);
  BOOST_TEST((looked_in == std::vector<std::string>{"branch-2"}));
  BOOST_TEST(header(reply, "Cache-Control").value() == "no-store");
  BOOST_TEST(ask_gateway(make("HEAD", path, "owner")).status == 200);
  BOOST_TEST(looked_in.size() == 3u);
}

BOOST_AUTO_TEST_CASE(an_unknown_purchase_is_a_404) {
  check_fails(make("GET", "/purchases/" + std::string{some_id}, "till-1"), 404,
              "not-found");
  check_fails(make("GET", "/purchases/17", "till-1"), 404, "not-found");
}

BOOST_AUTO_TEST_CASE(a_lookup_by_key_searches_one_branch) {
  auto path
    = "/purchases?branch_id=branch-1&idempotency_key=" + std::string{key};
  play.find
    = [&](const purchase_key& x) -> caf::result<purchase_details_ptr> {
    BOOST_TEST((x.branches == std::vector<std::string>{"branch-1"}));
    BOOST_TEST((x.idempotency_key == parse_uuid(key)));
    BOOST_TEST(!x.purchase_id);
    purchase_details found;
    found.head = recorded();
    return std::make_shared<const purchase_details>(std::move(found));
  };
  BOOST_TEST(ask_gateway(make("GET", path, "till-1")).status == 200);
  BOOST_TEST(ask_gateway(make("GET", path, "owner")).status == 200);
  check_fails(make("GET", path, "till-2"), 403, "forbidden");
  play.find = [](const purchase_key&) -> caf::result<purchase_details_ptr> {
    return purchase_details_ptr{};
  };
  check_fails(make("GET", path, "till-1"), 404, "not-found");
  play.find = [](const purchase_key&) -> caf::result<purchase_details_ptr> {
    return caf::make_error(errc::in_progress, "held");
  };
  auto reply = ask_gateway(make("GET", path, "till-1"));
  check_problem(reply, 409, "request-in-progress");
  BOOST_TEST(header(reply, "Retry-After").has_value());
}

// Goal: a purchase that waits for its writer has no lock yet, and is in progress
// all the same.
BOOST_AUTO_TEST_CASE(did_it_land_knows_what_this_node_has_accepted) {
  auto path
    = "/purchases?branch_id=branch-1&idempotency_key=" + std::string{key};
  play.find = [](const purchase_key&) -> caf::result<purchase_details_ptr> {
    return purchase_details_ptr{};
  };
  auto mute = sys.spawn(mute_writer);
  use(mute);
  check_fails(make("GET", path, "till-1"), 404, "not-found");
  post(sale());
  check_fails(make("GET", path, "till-1"), 409, "request-in-progress");
  end(mute);
}

BOOST_AUTO_TEST_CASE(bad_parameters_are_a_400_that_names_them) {
  auto lookup
    = "/purchases?branch_id=branch-1&idempotency_key=" + std::string{key};
  const std::pair<std::string, std::string_view> rows[] = {
    {"/purchases", "branch_id"},
    {"/purchases?branch_id=branch-9", "branch_id"},
    {"/purchases?branch_id=branch-1", "idempotency_key"},
    {"/purchases?branch_id=branch-1&idempotency_key=1", "idempotency_key"},
    {lookup + "&limit=1", "limit"},
    {lookup + "&branch_id=branch-1", "branch_id"},
    {"/purchases/" + std::string{some_id} + "?a=b", "a"},
    {"/customers?limit=0", "limit"},
    {"/customers?limit=1001", "limit"},
    {"/customers?limit=+5", "limit"},
    {"/customers?limit=5x", "limit"},
    {"/customers?limit=", "limit"},
    {"/customers?after=x", "after"},
    {"/customers?page=2", "page"},
    {"/branches?id=branch-1", "id"},
  };
  for (const auto& [path, name] : rows) {
    BOOST_TEST_CONTEXT(path) {
      auto reply = ask_gateway(make("GET", path, "till-1"));
      auto body = check_problem(reply, 400, "bad-parameter");
      BOOST_TEST(body.root().find("parameter")->text == name);
    }
  }
  auto garbled = make("GET", "/customers", "till-1");
  garbled.garbled_parameter = "after";
  auto body = check_problem(ask_gateway(garbled), 400, "bad-parameter");
  BOOST_TEST(body.root().find("parameter")->text == "after");
}

BOOST_AUTO_TEST_CASE(customers_come_in_pages) {
  customer_page_request asked;
  play.list
    = [&](const customer_page_request& x) -> caf::result<customer_page_ptr> {
    asked = x;
    std::vector<known_customer> page(2);
    page[1].user_id = parse_uuid(key).value();
    page[1].since = from_ms(1000);
    return std::make_shared<const std::vector<known_customer>>(page);
  };
  auto reply = ask_gateway(make("GET", "/customers?limit=2", "till-1"));
  BOOST_TEST(reply.body
             == R"({"customers":[{"user_id":)"
                R"("00000000-0000-0000-0000-000000000000",)"
                R"("since":"1970-01-01T00:00:00.000Z"},{"user_id":")"
                  + std::string{key}
                  + R"(","since":"1970-01-01T00:00:01.000Z"}],"next":")" + key
                  + "\"}");
  BOOST_TEST(asked.limit == 2u);
  BOOST_TEST(!asked.after);
  reply
    = ask_gateway(make("GET", "/customers?after=" + std::string{key}, "owner"));
  BOOST_TEST((reply.body.find("\"next\":null") != std::string::npos));
  BOOST_TEST(asked.limit == 100u);
  BOOST_TEST((asked.after == parse_uuid(key)));
}

BOOST_AUTO_TEST_CASE(branches_are_those_of_the_chain) {
  auto reply = ask_gateway(make("GET", "/branches", "operator"));
  auto read = parse_chain(reply.body);
  BOOST_REQUIRE(read);
  BOOST_TEST((read->branches == default_chain().branches));
}

BOOST_AUTO_TEST_CASE(queries_go_to_query_and_its_reply_goes_out) {
  auto x = make("GET", "/analytics/top-products?by=revenue", "owner");
  play.ask = [&](const analytics_query_ptr& q) -> caf::result<query_reply> {
    BOOST_TEST(q->name == "top-products");
    BOOST_TEST((q->request->query == header_list{{"by", "revenue"}}));
    BOOST_TEST(q->trace_id.size() == 32u);
    http_reply reply;
    reply.content_type = "text/csv";
    reply.headers.emplace_back("Applied-After", "true");
    reply.body = "a,b\n";
    return std::make_shared<const http_reply>(std::move(reply));
  };
  auto reply = ask_gateway(std::move(x));
  BOOST_TEST(reply.content_type == "text/csv");
  BOOST_TEST(reply.body == "a,b\n");
  BOOST_TEST(header(reply, "Applied-After").value() == "true");
  BOOST_TEST(header(reply, "traceparent").has_value());
}

BOOST_AUTO_TEST_CASE(readers_in_trouble_are_a_503) {
  play.find = [](const purchase_key&) -> caf::result<purchase_details_ptr> {
    return caf::make_error(errc::unavailable);
  };
  play.list
    = [](const customer_page_request&) -> caf::result<customer_page_ptr> {
    return caf::make_error(errc::timeout);
  };
  play.ask = [](const analytics_query_ptr&) -> caf::result<query_reply> {
    return caf::make_error(errc::not_owner);
  };
  check_fails(make("GET", "/purchases/" + std::string{some_id}, "owner"), 503,
              "unavailable");
  check_fails(make("GET", "/customers", "owner"), 503, "unavailable");
  check_fails(make("GET", "/analytics/heatmap", "owner"), 503, "unavailable");
  play.ask = [](const analytics_query_ptr&) -> caf::result<query_reply> {
    return query_reply{};
  };
  check_fails(make("GET", "/analytics/heatmap", "owner"), 500,
              "internal-error");
}

// -- operating ----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(ready_is_what_all_parts_say) {
  auto reply = ask_gateway(make("GET", "/readyz"));
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body
             == R"({"ready":true,"parts":[{"part":"intake","ready":true}]})");
  play.intake = {"intake", false, "no session"};
  reply = ask_gateway(make("GET", "/readyz"));
  auto body = check_problem(reply, 503, "not-ready");
  const auto& parts = body.root().find("parts")->elements;
  BOOST_REQUIRE(parts.size() == 1u);
  BOOST_TEST(parts[0].find("reason")->text == "no session");
}

BOOST_AUTO_TEST_CASE(of_several_writers_the_first_that_is_not_ready_answers) {
  auto mute = sys.spawn(mute_writer);
  options.parts = {part_of_all<transaction_writer_actor>(
    "writers", {writer, writer})};
  BOOST_TEST(ask_gateway(make("GET", "/readyz")).body
             == R"({"ready":true,"parts":[{"part":"intake","ready":true}]})");
  end(subject);
  options.parts = {part_of_all<transaction_writer_actor>(
    "writers", {writer, mute, mute})};
  out.replies.clear();
  post(make("GET", "/readyz"));
  advance(limits::ready_wait_max);
  BOOST_REQUIRE(out.replies.size() == 1u);
  auto body = check_problem(out.replies[0], 503, "not-ready");
  const auto& parts = body.root().find("parts")->elements;
  BOOST_REQUIRE(parts.size() == 1u);
  BOOST_TEST(parts[0].find("part")->text == "writers");
  end(mute);
}

BOOST_AUTO_TEST_CASE(a_part_that_does_not_answer_is_not_waited_for) {
  auto mute = sys.spawn(mute_writer);
  options.parts.push_back(part_of("mute", mute));
  post(make("GET", "/readyz"));
  BOOST_TEST(out.replies.empty());
  advance(limits::ready_wait_max);
  BOOST_REQUIRE(out.replies.size() == 1u);
  auto body = check_problem(out.replies[0], 503, "not-ready");
  const auto& parts = body.root().find("parts")->elements;
  BOOST_REQUIRE(parts.size() == 2u);
  BOOST_TEST(parts[1].find("part")->text == "mute");
  BOOST_TEST(!parts[1].find("ready")->boolean);
  end(mute);
}

BOOST_AUTO_TEST_CASE(queries_for_readiness_share_a_round) {
  auto mute = sys.spawn(mute_writer);
  options.parts.push_back(part_of("mute", mute));
  for (int i = 0; i < 100; ++i)
    post(make("GET", "/readyz"));
  BOOST_TEST(play.asked_ready == 1);
  advance(limits::ready_wait_max);
  BOOST_TEST(out.replies.size() == 100u);
  end(mute);
}

BOOST_AUTO_TEST_CASE(a_node_that_goes_down_says_so) {
  start();
  caf::anon_send(subject, atom::drain_v);
  auto reply = ask_gateway(sale());
  check_problem(reply, 503, "shutting-down");
  BOOST_TEST(header(reply, "Retry-After").has_value());
  check_fails(make("GET", "/branches", "owner"), 503, "shutting-down");
  check_fails(make("GET", "/readyz"), 503, "not-ready");
  BOOST_TEST(ask_gateway(make("GET", "/healthz")).status == 200);
  check_fails(make("GET", "/nowhere"), 404, "not-found");
}

BOOST_AUTO_TEST_CASE(what_was_accepted_before_is_answered_while_draining) {
  submit_answers(verdict::recorded);
  start();
  auto x = std::make_shared<fake_exchange>(sale(), out);
  caf::anon_send(subject, atom::request_v, http_exchange_ptr{std::move(x)});
  caf::anon_send(subject, atom::drain_v);
  settle();
  BOOST_REQUIRE(out.replies.size() == 1u);
  BOOST_TEST(out.replies[0].status == 201);
}

BOOST_AUTO_TEST_CASE(
  metrics_are_open_only_to_this_machine_on_a_loopback_listener) {
  auto local = make("GET", "/metrics");
  local.from_loopback = true;
  check_fails(local, 401, "unauthorized");
  BOOST_TEST(ask_gateway(make("GET", "/metrics", "operator")).status == 200);
  end(subject);
  options.loopback_only = true;
  auto reply = ask_gateway(local);
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.content_type == "text/plain; version=0.0.4; charset=utf-8");
  check_fails(make("GET", "/metrics"), 401, "unauthorized");
  BOOST_TEST((reply.body.find("tillstream_http_requests_total{method=\"GET\","
                              "route=\"/metrics\",status=\"200\"}")
              != std::string::npos));
  BOOST_TEST((reply.body.find("tillstream_http_request_seconds_bucket")
              != std::string::npos));
}

BOOST_AUTO_TEST_CASE(made_up_paths_and_methods_do_not_grow_the_metrics) {
  ask_gateway(make("GET", "/nowhere"));
  auto before = metrics().render().size();
  for (int i = 0; i < 50; ++i)
    ask_gateway(make("M" + std::to_string(i), "/x" + std::to_string(i)));
  BOOST_TEST(metrics().render().size() < before + 200);
}

BOOST_AUTO_TEST_CASE(the_documents_are_served_to_anyone) {
  auto reply = ask_gateway(make("GET", "/openapi.json"));
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.content_type == "application/json");
  BOOST_TEST((reply.body.find("\"openapi\": \"3.1.0\"") != std::string::npos));
  reply = ask_gateway(make("GET", "/asyncapi.json"));
  BOOST_TEST((reply.body.find("\"asyncapi\": \"3.0.0\"") != std::string::npos));
}

// -- signing in to the page ---------------------------------------------------

BOOST_AUTO_TEST_CASE(the_owners_key_opens_a_session_that_reads) {
  auto reply = ask_gateway(sign_in(R"({"key":"owner"})"));
  BOOST_TEST(reply.status == 200);
  auto cookie = header(reply, "Set-Cookie").value();
  for (auto part :
       {"; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=1209600"})
    BOOST_TEST((cookie.find(part) != std::string::npos), cookie);
  BOOST_TEST((cookie.find("Secure") == std::string::npos));
  BOOST_TEST(header(reply, "Cache-Control").value() == "no-store");
  cookie = cookie.substr(0, cookie.find(';'));
  for (auto path : {"/analytics/summary", "/branches", "/customers"})
    BOOST_TEST(ask_gateway(with_cookie("GET", path, cookie)).status == 200);
  auto who = ask_gateway(with_cookie("GET", "/session", cookie));
  BOOST_TEST(
    (who.body.find(R"("role":"owner","expires_at":"2)") != std::string::npos),
    who.body);
}

BOOST_AUTO_TEST_CASE(not_signed_in_is_an_answer_too) {
  auto who = ask_gateway(make("GET", "/session"));
  BOOST_TEST(who.status == 200);
  BOOST_TEST(who.body == R"({"role":null,"expires_at":null})");
  who = ask_gateway(with_cookie("GET", "/session", "tillstream_session=1.x"));
  BOOST_TEST(who.body == R"({"role":null,"expires_at":null})");
  who = ask_gateway(make("GET", "/session", "till-1"));
  BOOST_TEST(who.body == R"({"role":"till","expires_at":null})");
}

BOOST_AUTO_TEST_CASE(under_tls_the_cookie_is_for_tls_only) {
  auto x = sign_in(R"({"key":"owner"})");
  x.headers.emplace_back("x-forwarded-proto", "https");
  auto reply = ask_gateway(std::move(x));
  BOOST_TEST(
    (header(reply, "Set-Cookie")->find("; Secure") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(other_keys_do_not_open_the_page) {
  check_fails(sign_in(R"({"key":"nobody"})"), 401, "unauthorized");
  check_fails(sign_in(R"({"key":"till-1"})"), 403, "forbidden");
  check_fails(sign_in(R"({"key":"operator"})"), 403, "forbidden");
  BOOST_TEST(!header(out.replies[0], "Set-Cookie"));
}

BOOST_AUTO_TEST_CASE(a_sign_in_must_be_well_formed) {
  for (auto body : {"", "{", "[]", "{}", R"({"key":1})",
                    R"({"key":"owner","link":"tsl_x"})"})
    check_fails(sign_in(body), 400, "malformed-json");
  check_fails(sign_in("key=owner", "application/x-www-form-urlencoded"), 415,
              "unsupported-media-type");
}

BOOST_AUTO_TEST_CASE(another_site_can_neither_sign_in_nor_out) {
  auto cookie = session_cookie();
  for (auto [name, value] :
       {std::pair{"sec-fetch-site", "cross-site"},
        std::pair{"sec-fetch-site", "same-site"},
        std::pair{"origin", "http://elsewhere"}, std::pair{"origin", "null"}}) {
    auto in = sign_in(R"({"key":"owner"})");
    in.headers.emplace_back("host", "here:8080");
    in.headers.emplace_back(name, value);
    check_fails(std::move(in), 403, "forbidden");
    auto away = with_cookie("DELETE", "/session", cookie);
    away.headers.emplace_back("host", "here:8080");
    away.headers.emplace_back(name, value);
    check_fails(std::move(away), 403, "forbidden");
  }
  BOOST_TEST(play.ended.empty());
  auto own = sign_in(R"({"key":"owner"})");
  own.headers.emplace_back("host", "here:8080");
  own.headers.emplace_back("origin", "http://here:8080");
  BOOST_TEST(ask_gateway(std::move(own)).status == 200);
}

BOOST_AUTO_TEST_CASE(repeated_failures_have_to_wait) {
  for (int i = 0; i < sign_in_guard::free_failures; ++i)
    check_fails(sign_in(R"({"key":"guess"})"), 401, "unauthorized");
  check_fails(sign_in(R"({"key":"owner"})"), 429, "too-many-requests");
  BOOST_TEST(header(out.replies[0], "Retry-After").value() == "1");
  auto elsewhere = sign_in(R"({"key":"owner"})");
  elsewhere.peer = "192.0.2.2";
  BOOST_TEST(ask_gateway(std::move(elsewhere)).status == 200);
  advance(1s);
  BOOST_TEST(ask_gateway(sign_in(R"({"key":"owner"})")).status == 200);
}

BOOST_AUTO_TEST_CASE(a_link_signs_its_keys_holder_in) {
  auto owner = view->get()->authenticate("owner").value().key_id;
  play.take_link = [owner](const sign_in_link& x) -> caf::result<uuid> {
    if (x.digest != secret_digest("tsl_good"))
      return caf::make_error(errc::not_found);
    return owner;
  };
  auto reply = ask_gateway(sign_in(R"({"link":"tsl_good"})"));
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(header(reply, "Set-Cookie").has_value());
  check_fails(sign_in(R"({"link":"tsl_used"})"), 401, "unauthorized");
  play.take_link = [](const sign_in_link&) -> caf::result<uuid> {
    return uuid_source{}.v4(); // Its key was revoked meanwhile.
  };
  check_fails(sign_in(R"({"link":"tsl_good"})"), 401, "unauthorized");
  play.take_link = [](const sign_in_link&) -> caf::result<uuid> {
    return caf::make_error(errc::unavailable);
  };
  check_fails(sign_in(R"({"link":"tsl_good"})"), 503, "unavailable");
}

BOOST_AUTO_TEST_CASE(signing_out_ends_the_session_and_clears_the_cookie) {
  auto cookie = session_cookie();
  auto reply = ask_gateway(with_cookie("DELETE", "/session", cookie));
  BOOST_TEST(reply.status == 204);
  BOOST_TEST(
    (header(reply, "Set-Cookie")->find("Max-Age=0") != std::string::npos));
  BOOST_REQUIRE(play.ended.size() == 1u);
  // As the refresher will have it with its next reading.
  reference.ended_sessions.push_back(play.ended[0].session_id);
  view->set(std::make_shared<directory>(reference));
  check_fails(with_cookie("GET", "/analytics/summary", cookie), 401,
              "unauthorized");
}

BOOST_AUTO_TEST_CASE(a_revoked_key_ends_its_sessions) {
  auto cookie = session_cookie();
  std::erase_if(reference.keys, [](const auto& x) {
    return x.role == storage::key_role::owner;
  });
  view->set(std::make_shared<directory>(reference));
  check_fails(with_cookie("GET", "/analytics/summary", cookie), 401,
              "unauthorized");
}

BOOST_AUTO_TEST_CASE(a_key_that_is_sent_counts_before_a_cookie) {
  auto x = with_cookie("GET", "/analytics/summary", session_cookie());
  x.headers.emplace_back("authorization", "Bearer till-1");
  check_fails(std::move(x), 403, "forbidden");
}

// -- live ---------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_page_that_listens_gets_a_stream) {
  auto x = make("GET", "/analytics/live", "owner");
  x.headers.emplace_back("last-event-id", "0123456789abcdef");
  post(std::move(x));
  BOOST_TEST(out.replies.empty());
  BOOST_REQUIRE(out.heads.size() == 1u);
  BOOST_TEST(out.heads[0].content_type == "text/event-stream; charset=utf-8");
  BOOST_TEST(header(out.heads[0], "Cache-Control").value() == "no-store");
  BOOST_REQUIRE(play.listeners.size() == 1u);
  BOOST_TEST(play.listeners[0]->known_id == "0123456789abcdef");
  BOOST_TEST((play.listeners[0]->who.role == storage::key_role::owner));
}

BOOST_AUTO_TEST_CASE(without_room_for_a_stream_it_is_a_503) {
  out.streams_full = true;
  check_fails(make("GET", "/analytics/live", "owner"), 503, "overloaded");
  check_fails(make("GET", "/analytics/live", "till-1"), 403, "forbidden");
  check_fails(make("GET", "/analytics/live?x=1", "owner"), 400,
              "bad-parameter");
}

// -- failures -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_stray_error_costs_no_exchange_its_answer) {
  auto mute = sys.spawn(mute_writer);
  use(mute);
  post(sale());
  caf::anon_send(caf::actor_cast<caf::actor>(subject),
                 caf::make_error(errc::internal, "a stray answer"));
  settle();
  BOOST_TEST(out.dropped == 0);
  BOOST_TEST(ask_gateway(make("GET", "/healthz")).status == 200);
  end(mute);
}

// -- packing ------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(answers_are_packed_for_clients_that_accept_it) {
  std::string large(5000, 'x');
  play.ask = [&](const analytics_query_ptr&) -> caf::result<query_reply> {
    http_reply reply;
    reply.body = large;
    return std::make_shared<const http_reply>(std::move(reply));
  };
  auto ask = [&](const char* accepted) {
    auto x = make("GET", "/analytics/summary", "owner");
    x.headers.emplace_back("accept-encoding", accepted);
    return ask_gateway(std::move(x));
  };
  for (auto accepted : {"gzip", "br, GZIP;q=0.5", "*"}) {
    auto reply = ask(accepted);
    BOOST_TEST(header(reply, "Content-Encoding").value_or("") == "gzip",
               accepted);
    BOOST_TEST(reply.body == gzip(large, 1));
  }
  for (auto accepted : {"", "br", "gzip;q=0", "gzip;q=0.0, *", "xgzip"})
    BOOST_TEST(ask(accepted).body == large, accepted);
  large = "short";
  BOOST_TEST(ask("gzip").body == large);
}

// -- the page -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(without_a_page_a_line_of_text_names_the_api) {
  auto reply = ask_gateway(make("GET", "/"));
  BOOST_TEST(reply.status == 200);
  BOOST_TEST((reply.body.find("/openapi.json") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(files_of_the_page_are_served_from_memory) {
  namespace fs = std::filesystem;
  std::string dir = "/tmp/tillstream-web-XXXXXX";
  BOOST_REQUIRE(mkdtemp(dir.data()) != nullptr);
  fs::create_directories(dir + "/parts");
  std::ofstream{dir + "/index.html"} << "<p>hello</p>";
  std::ofstream{dir + "/parts/app.js"} << "run()";
  std::ofstream{dir + "/.secret"} << "no";
  auto loaded = web_files::load(dir);
  fs::remove_all(dir);
  BOOST_REQUIRE(loaded);
  options.page = *loaded;
  auto page = ask_gateway(make("GET", "/"));
  BOOST_TEST(page.body == "<p>hello</p>");
  BOOST_TEST(page.content_type == "text/html; charset=utf-8");
  BOOST_TEST(header(page, "X-Content-Type-Options").value() == "nosniff");
  auto again = make("GET", "/");
  again.headers.emplace_back("if-none-match", header(page, "ETag").value());
  auto unchanged = ask_gateway(std::move(again));
  BOOST_TEST(unchanged.status == 304);
  BOOST_TEST(unchanged.body.empty());
  BOOST_TEST(ask_gateway(make("GET", "/parts/app.js")).content_type
             == "text/javascript; charset=utf-8");
  for (auto path :
       {"/.secret", "/../index.html", "/parts", "/parts/../.secret"})
    check_fails(make("GET", path), 404, "not-found");
  auto post_file = ask_gateway(make("POST", "/index.html"));
  check_problem(post_file, 405, "method-not-allowed");
  BOOST_TEST(header(post_file, "Allow").value() == "GET, HEAD");
  BOOST_TEST(!web_files::load(dir));
}

BOOST_AUTO_TEST_CASE(a_page_leads_to_paths_that_name_their_content) {
  namespace fs = std::filesystem;
  auto load = [](std::string_view script) {
    std::string dir = "/tmp/tillstream-web-XXXXXX";
    BOOST_REQUIRE(mkdtemp(dir.data()) != nullptr);
    std::ofstream{dir + "/index.html"}
      << R"(<script src="/app.js"></script><a href="/healthz">x</a>)";
    std::ofstream{dir + "/app.js"} << script;
    auto result = web_files::load(dir);
    fs::remove_all(dir);
    BOOST_REQUIRE(result);
    return *result;
  };
  options.page = load("one()");
  auto page = ask_gateway(make("GET", "/"));
  BOOST_TEST(header(page, "Cache-Control").value() == "no-cache");
  BOOST_TEST((
    header(page, "Content-Security-Policy")->find("default-src 'self'") == 0u));
  BOOST_REQUIRE((page.body.find("<script src=\"/v-") == 0u));
  BOOST_TEST((page.body.find("href=\"/healthz\"") != std::string::npos));
  auto path = page.body.substr(13, page.body.find('"', 13) - 13);
  auto script = ask_gateway(make("GET", path));
  BOOST_TEST(script.body == "one()");
  BOOST_TEST(header(script, "Cache-Control").value()
             == "public, max-age=31536000, immutable");
  BOOST_TEST(
    header(ask_gateway(make("GET", "/app.js")), "Cache-Control").value()
    == "no-cache");
  auto other = load("two()");
  BOOST_TEST(other->find(path) == nullptr);
  BOOST_TEST((other->find("/")->body != page.body));
}

BOOST_AUTO_TEST_CASE(files_are_packed_once_and_their_validator_says_so) {
  namespace fs = std::filesystem;
  std::string dir = "/tmp/tillstream-web-XXXXXX";
  BOOST_REQUIRE(mkdtemp(dir.data()) != nullptr);
  std::ofstream{dir + "/app.js"} << std::string(4000, ' ');
  auto loaded = web_files::load(dir);
  fs::remove_all(dir);
  BOOST_REQUIRE(loaded);
  options.page = *loaded;
  auto plain = ask_gateway(make("GET", "/app.js"));
  auto x = make("GET", "/app.js");
  x.headers.emplace_back("accept-encoding", "gzip, deflate");
  auto packed = ask_gateway(x);
  BOOST_TEST(header(packed, "Content-Encoding").value() == "gzip");
  BOOST_TEST(packed.body.size() < 100u);
  BOOST_TEST(plain.body.size() == 4000u);
  BOOST_TEST(header(packed, "ETag").value() != header(plain, "ETag").value());
  x.headers.emplace_back("if-none-match", header(packed, "ETag").value());
  BOOST_TEST(ask_gateway(x).status == 304);
}

BOOST_AUTO_TEST_SUITE_END()

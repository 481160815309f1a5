#include <boost/test/unit_test.hpp>

#include "tests/support/schema_check.hpp"
#include "tests/system/running_program.hpp"

#include <fstream>
#include <set>

/// What `/openapi.json` says, held against what the program answers.

using namespace tillstream;
using namespace tillstream::test;

namespace {

/// Two branches whose clocks show different dates most of the day.
constexpr auto chain_json = R"({"name": "Far", "currency": "USD", "branches": [
  {"id": "apia", "name": "Apia", "time_zone": "Pacific/Apia"},
  {"id": "honolulu", "name": "Honolulu", "time_zone": "Pacific/Honolulu"}]})";

std::string lower(std::string_view text) {
  std::string result{text};
  for (auto& c : result)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return result;
}

struct shop {
  shop() {
    auto file = directory.path() + "/chain.json";
    std::ofstream{file} << chain_json;
    program
      = running_program::up(directory.path() + "/data", {"--chain", file});
  }

  temporary_directory directory;
  std::unique_ptr<running_program> program;
};

struct fixture {
  fixture() : program(*instance().program) {
    // nop
  }

  static shop& instance() {
    static shop result;
    return result;
  }

  /// @param pattern The path as the document has it.
  void check(const std::string& method, const std::string& pattern,
             const answer& got) {
    BOOST_TEST_CONTEXT(method << " " << pattern << " " << got.status << " "
                              << got.body.substr(0, 2000)) {
      const auto* operation = api.operation(method, pattern);
      BOOST_REQUIRE(operation != nullptr);
      const auto* response = api.response(*operation, got.status);
      BOOST_REQUIRE(response != nullptr);
      check_headers(*response, got);
      auto type = got.header("content-type");
      type = type.substr(0, type.find(';'));
      const auto* content = response->find("content")->find(type);
      BOOST_REQUIRE_MESSAGE(content != nullptr, type);
      if (type.find("json") == std::string::npos)
        return;
      json_document body;
      BOOST_REQUIRE_EQUAL(body.parse(got.body), "");
      tests::schema_check differences{api};
      for (const auto& x : differences(*content->find("schema"), body.root()))
        BOOST_ERROR(x);
    }
  }

  /// No header of ours that the document does not tell.
  void check_headers(const json_value& response, const answer& got) {
    // What proxies and browsers need is the same everywhere.
    std::set<std::string> known{"date",
                                "content-type",
                                "content-length",
                                "content-encoding",
                                "cache-control",
                                "connection",
                                "x-content-type-options",
                                "referrer-policy",
                                "content-security-policy"};
    if (const auto* documented = response.find("headers"))
      for (const auto& [name, header] : documented->members)
        known.insert(lower(name));
    for (const auto& [name, value] : got.headers)
      BOOST_TEST(known.contains(lower(name)), name);
  }

  answer ask_csv(const std::string& target) {
    return program.ask(target, {{"Accept", "text/csv"}});
  }

  running_program& program;
  tests::openapi_reader api;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(documents_suite, fixture)

BOOST_AUTO_TEST_CASE(answers_to_a_till_are_as_documented) {
  sale x;
  x.branch_id = "apia";
  auto body = x.body();
  auto made = program.post("apia", body);
  BOOST_TEST(made.status == 201);
  check("POST", "/purchases", made);
  check("POST", "/purchases", program.post("apia", body));
  x.cashier_id = "somebody else";
  check("POST", "/purchases", program.post("apia", x.body()));
  x.idempotency_key = random_uuid();
  check("POST", "/purchases", program.post("apia", x.body()));
  check("POST", "/purchases", program.post("apia", "{"));
  check("POST", "/purchases", program.post("honolulu", body));
  check("POST", "/purchases",
        program.post("apia", R"({"idempotency_key":")" + random_uuid()
                               + R"(","items":[{}]})"));
  check("POST", "/purchases", program.request("POST", "/purchases", {}, "{}"));
  check("POST", "/purchases", program.post("apia", std::string(70'000, ' ')));
  check("GET", "/purchases/{id}", program.ask(made.header("location")));
  check("GET", "/purchases", program.ask("/purchases"));
  check("GET", "/customers", program.ask("/customers"));
  check("GET", "/branches", program.ask("/branches"));
}

BOOST_AUTO_TEST_CASE(answers_to_the_owner_are_as_documented) {
  // With and without names, on a day that is over and on one that is not.
  std::string last;
  for (auto when : {"", "2024-05-06T12:00:00Z"}) {
    sale x;
    x.branch_id = "apia";
    x.occurred_at = when;
    x.items = {{"latte", "4.00", "Latte"}, {"secret", "1.00", ""}};
    last = program.post("apia", x.body()).at("event_id");
  }
  for (std::string parameters :
       {"summary?a", "summary?date=2024-05-06&a", "summary?branch_id=apia&a",
        "revenue?a", "revenue?granularity=hour&a", "revenue?granularity=week&a",
        "top-products?period=month&a", "top-products?date=2024-05-07&a",
        "loyal-customers?by=revenue&a", "unique-customers?a",
        "product?product_id=latte&a", "product?product_id=none&a", "heatmap?a",
        "summary?wrong=1&a"}) {
    auto target = "/analytics/" + parameters + "fter=" + last;
    auto pattern = target.substr(0, target.find('?'));
    check("GET", pattern, program.ask(target));
    check("GET", pattern, ask_csv(target));
    check("GET", pattern, program.request("GET", target, {}));
  }
}

BOOST_AUTO_TEST_CASE(answers_to_anybody_are_as_documented) {
  for (auto path : {"/healthz", "/readyz", "/metrics", "/openapi.json",
                    "/asyncapi.json", "/"})
    check("GET", path, program.request("GET", path, {}));
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

#include "messages/codec/json.hpp"
#include "messages/codec/purchase_codec.hpp"
#include "messages/core/limits.hpp"

#include <algorithm>
#include <ostream>
#include <random>

using namespace tillstream;
using namespace std::string_literals;

namespace tillstream {

std::ostream& operator<<(std::ostream& out, const field_error& x) {
  return out << x.pointer << " " << x.detail;
}

} // namespace tillstream

namespace {

constexpr auto key_text = "3f0c7f2e-2f63-4c55-9a07-6b1d2f0e8a11";
constexpr auto other_key = "3f0c7f2e-2f63-4c55-9a07-6b1d2f0e8a12";
constexpr auto user_text = "591c9a79-97cb-477f-b483-abf2425e0845";

/// A body, field by field; values are JSON.
struct body {
  std::vector<std::pair<std::string, std::string>> fields{
    {"branch_id", "\"branch-1\""},
    {"cashier_id", "\"staff-12\""},
    {"pos_id", "\"pos-2\""},
    {"receipt_id", "\"r-1\""},
    {"idempotency_key", "\""s + key_text + "\""},
    {"items", R"([{"product_id":"p-1","unit_price":"4.50","qty":1},)"
              R"({"product_id":"p-2","name":"Latte","unit_price":2,"qty":1}])"},
  };

  body&& with(std::string_view name, std::string value) && {
    for (auto& [key, old] : fields)
      if (key == name) {
        old = std::move(value);
        return std::move(*this);
      }
    fields.emplace_back(name, std::move(value));
    return std::move(*this);
  }

  body&& without(std::string_view name) && {
    std::erase_if(fields, [&](const auto& x) { return x.first == name; });
    return std::move(*this);
  }

  /// One item, whose fields are given.
  body&& item(std::string_view json) && {
    return std::move(*this).with("items", "[{" + std::string{json} + "}]");
  }

  std::string text() const {
    std::string result;
    for (const auto& [key, value] : fields)
      result += (result.empty() ? "{\"" : ",\"") + key + "\":" + value;
    return result + "}";
  }
};

struct fixture {
  fixture() {
    context.till_branch = "branch-1";
    context.now = parse_rfc3339("2026-11-23T12:00:00Z").value();
    context.traceparent = "trace";
  }

  auto decode(std::string_view text) {
    return decode_purchase(text, chain, context);
  }

  purchase accept(const std::string& text) {
    auto result = decode(text);
    if (auto* x = std::get_if<refused_purchase>(&result)) {
      for (auto& error : x->errors)
        BOOST_TEST_MESSAGE(error);
      BOOST_FAIL(text << " was refused: " << x->detail);
    }
    return std::get<purchase>(std::move(result));
  }
  purchase accept(const body& x) {
    return accept(x.text());
  }

  refused_purchase refuse(std::string_view text) {
    auto result = decode(text);
    if (std::holds_alternative<purchase>(result))
      BOOST_FAIL(text << " was accepted");
    return std::get<refused_purchase>(std::move(result));
  }

  refusal why(const body& x) {
    return refuse(x.text()).why;
  }

  /// The pointers of all broken rules, joined by spaces.
  std::string pointers(std::string_view text) {
    auto x = refuse(text);
    BOOST_TEST((x.why == refusal::validation_failed), x.detail);
    std::string result;
    for (const auto& error : x.errors) {
      BOOST_TEST(!error.detail.empty());
      result += (result.empty() ? "" : " ") + error.pointer;
    }
    return result;
  }
  std::string pointers(const body& x) {
    return pointers(x.text());
  }

  /// The one error's detail.
  std::string detail(const body& x) {
    auto refused = refuse(x.text());
    BOOST_REQUIRE(refused.errors.size() == 1u);
    return refused.errors[0].detail;
  }

  tillstream::chain chain = default_chain();
  purchase_context context;
};

std::string in_quotes(std::string_view text) {
  return "\"" + std::string{text} + "\"";
}

std::string repeated(size_t n, std::string_view what) {
  std::string result;
  while (n-- > 0)
    result += what;
  return result;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(purchase_codec_suite, fixture)

BOOST_AUTO_TEST_CASE(a_purchase_is_read) {
  auto x
    = accept(body{}
               .with("user_id", in_quotes(user_text))
               .with("new_customer", "true")
               .with("occurred_at", in_quotes("2026-11-23T06:00:00-05:00")));
  BOOST_TEST(x.branch_id == "branch-1");
  BOOST_TEST(x.cashier_id == "staff-12");
  BOOST_TEST(x.pos_id == "pos-2");
  BOOST_TEST(x.receipt_id == "r-1");
  BOOST_TEST(to_string(x.idempotency_key) == key_text);
  BOOST_TEST(to_string(x.user_id.value()) == user_text);
  BOOST_TEST(x.new_customer);
  BOOST_TEST(to_rfc3339(x.occurred_at.value()) == "2026-11-23T11:00:00.000Z");
  BOOST_TEST(x.traceparent == "trace");
  BOOST_REQUIRE(x.items.size() == 2u);
  BOOST_TEST(x.items[0].product_id == "p-1");
  BOOST_TEST(!x.items[0].name.has_value());
  BOOST_TEST(x.items[0].unit_price == 450);
  BOOST_TEST(x.items[1].name.value() == "Latte");
  BOOST_TEST(x.items[1].unit_price == 200);
  BOOST_TEST(x.total == 650);
}

BOOST_AUTO_TEST_CASE(what_is_optional_may_be_absent) {
  auto x = accept(body{});
  BOOST_TEST(!x.user_id.has_value());
  BOOST_TEST(!x.new_customer);
  BOOST_TEST(!x.occurred_at.has_value());
}

// -- the order of the checks --------------------------------------------------

BOOST_AUTO_TEST_CASE(what_is_not_json_is_malformed) {
  for (auto text :
       {"", "x", "{", "{\"a\":1,\"a\":2}", "{} {}", "{\"a\":\"\xff\"}",
        "{\"a\":\"\\ud800\"}", "{\"a\":01}", "[1,]"})
    BOOST_TEST((refuse(text).why == refusal::malformed_json), text);
  auto twice = body{};
  twice.fields.emplace_back("pos_id", "\"pos-2\"");
  BOOST_TEST((why(twice) == refusal::malformed_json));
}

BOOST_AUTO_TEST_CASE(malformed_json_answers_before_a_missing_key) {
  auto text = body{}.without("idempotency_key").text();
  text.pop_back();
  BOOST_TEST((refuse(text).why == refusal::malformed_json));
}

BOOST_AUTO_TEST_CASE(a_purchase_needs_an_idempotency_key) {
  BOOST_TEST((why(body{}.without("idempotency_key"))
              == refusal::idempotency_key_missing));
  for (auto value : {"null", "1", "\"\"", "\"abc\"", "[]", "{}", "true",
                     "\"{3f0c7f2e-2f63-4c55-9a07-6b1d2f0e8a11}\""})
    BOOST_TEST((why(body{}.with("idempotency_key", value))
                == refusal::idempotency_key_missing),
               value);
  for (auto text : {"[]", "1", "null", "\"a\"", "{}"})
    BOOST_TEST((refuse(text).why == refusal::idempotency_key_missing), text);
}

BOOST_AUTO_TEST_CASE(the_key_may_come_in_the_header_bare_or_quoted) {
  for (auto header : {std::string{key_text}, in_quotes(key_text),
                      "3F0C7F2E-2F63-4C55-9A07-6B1D2F0E8A11"s}) {
    context.idempotency_header = header;
    auto x = accept(body{}.without("idempotency_key"));
    BOOST_TEST(to_string(x.idempotency_key) == key_text);
    accept(body{});
  }
}

BOOST_AUTO_TEST_CASE(any_version_of_uuid_is_a_key) {
  auto x = accept(body{}.with(
    "idempotency_key", in_quotes("00000000-0000-0000-0000-000000000000")));
  BOOST_TEST((x.idempotency_key == uuid{}));
}

BOOST_AUTO_TEST_CASE(a_header_that_is_no_uuid_is_a_missing_key) {
  for (auto header : {"", "abc", "\"\"", "\"", "\"abc\"",
                      "\"3f0c7f2e-2f63-4c55-9a07-6b1d2f0e8a11",
                      "'3f0c7f2e-2f63-4c55-9a07-6b1d2f0e8a11'"}) {
    context.idempotency_header = header;
    BOOST_TEST((why(body{}) == refusal::idempotency_key_missing), header);
  }
}

BOOST_AUTO_TEST_CASE(header_and_body_are_compared_as_uuids) {
  context.idempotency_header = "3F0C7F2E-2F63-4C55-9A07-6B1D2F0E8A11";
  accept(body{});
  context.idempotency_header = other_key;
  BOOST_TEST((why(body{}) == refusal::idempotency_key_mismatch));
  for (auto value : {"null", "1", "\"abc\""})
    BOOST_TEST((why(body{}.with("idempotency_key", value))
                == refusal::idempotency_key_mismatch),
               value);
}

BOOST_AUTO_TEST_CASE(the_key_answers_before_the_branch) {
  BOOST_TEST((why(body{}
                    .with("branch_id", in_quotes("branch-9"))
                    .without("idempotency_key"))
              == refusal::idempotency_key_missing));
}

BOOST_AUTO_TEST_CASE(an_unknown_branch_answers_before_another_and_the_rules) {
  auto x = refuse(body{}
                    .with("branch_id", in_quotes("branch-9"))
                    .with("pos_id", "null")
                    .text());
  BOOST_TEST((x.why == refusal::branch_unknown));
  BOOST_REQUIRE(x.errors.size() == 1u);
  BOOST_TEST(x.errors[0].pointer == "/branch_id");
  for (auto value : {"", "BRANCH-1", "branch-1 ", "branch-1\\u0000"})
    BOOST_TEST((why(body{}.with("branch_id", in_quotes(value)))
                == refusal::branch_unknown),
               value);
}

BOOST_AUTO_TEST_CASE(another_branch_answers_before_the_rules) {
  BOOST_TEST(
    (why(body{}.with("branch_id", in_quotes("branch-2")).with("pos_id", "null"))
     == refusal::branch_forbidden));
}

BOOST_AUTO_TEST_CASE(a_branch_of_another_type_breaks_a_rule) {
  BOOST_TEST(pointers(body{}.without("branch_id")) == "/branch_id");
  for (auto value : {"null", "1", "[]", "{}", "true"})
    BOOST_TEST(pointers(body{}.with("branch_id", value)) == "/branch_id");
}

BOOST_AUTO_TEST_CASE(a_body_that_is_no_object_breaks_a_rule) {
  context.idempotency_header = key_text;
  for (auto text : {"[]", "1", "null", "\"a\"", "[{}]"})
    BOOST_TEST(pointers(text) == "", text);
}

// -- the rules ----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(every_error_is_told_at_once) {
  auto text = R"({"idempotency_key":")"s + key_text + R"(","cashier_id":"",
    "pos_id":null,"user_id":"x","new_customer":1,"occurred_at":"now",
    "items":[{"product_id":"a","unit_price":"1","qty":1},
             {"product_id":"a","unit_price":"x","qty":2,"name":5,"~/":1}],
    "a/b":{},"m~n":[]})";
  auto all = pointers(text);
  BOOST_TEST(all
             == "/branch_id /cashier_id /pos_id /receipt_id /user_id"
                " /new_customer /occurred_at /items/1/product_id"
                " /items/1/unit_price /items/1/qty /items/1/name"
                " /items/1/~0~1 /a~1b /m~0n");
}

BOOST_AUTO_TEST_CASE(an_empty_object_lacks_every_required_field) {
  context.idempotency_header = key_text;
  BOOST_TEST(pointers("{}")
             == "/branch_id /cashier_id /pos_id /receipt_id /items");
  BOOST_TEST(pointers(body{}.with("items", "[{}]"))
             == "/items/0/product_id /items/0/unit_price /items/0/qty");
}

BOOST_AUTO_TEST_CASE(ids_have_1_to_64_code_points) {
  for (auto name : {"cashier_id", "pos_id", "receipt_id"}) {
    auto pointer = "/"s + name;
    BOOST_TEST(pointers(body{}.without(name)) == pointer);
    for (const auto& value :
         {"null"s, "1"s, "true"s, "[]"s, "{}"s, "\"\""s,
          in_quotes(std::string(65, 'x')), in_quotes(repeated(65, "\xc3\xa4")),
          in_quotes("a\\u0000")})
      BOOST_TEST(pointers(body{}.with(name, value)) == pointer, value);
    for (const auto& value :
         {"x"s, std::string(64, 'x'), repeated(64, "\xf0\x9f\x98\x80"),
          repeated(64, "\\ud83d\\ude00"), " "s, "a\\nb"s})
      accept(body{}.with(name, in_quotes(value)));
  }
  BOOST_TEST(pointers(body{}.item(R"("product_id":"","unit_price":1,"qty":1)"))
             == "/items/0/product_id");
  BOOST_TEST(
    pointers(body{}.item(R"("product_id":"\u0000","unit_price":1,"qty":1)"))
    == "/items/0/product_id");
}

BOOST_AUTO_TEST_CASE(a_customer_is_a_uuid_of_version_4) {
  auto x = accept(
    body{}.with("user_id", in_quotes("591C9A79-97CB-477F-B483-ABF2425E0845")));
  BOOST_TEST(to_string(x.user_id.value()) == user_text);
  BOOST_TEST(!x.new_customer);
  for (auto value : {"null", "1", "\"\"", "\"x\"",
                     "\"591c9a79-97cb-177f-b483-abf2425e0845\"",
                     "\"591c9a79-97cb-477f-7483-abf2425e0845\"",
                     "\"00000000-0000-0000-0000-000000000000\""})
    BOOST_TEST(pointers(body{}.with("user_id", value)) == "/user_id", value);
}

BOOST_AUTO_TEST_CASE(new_customer_is_a_boolean) {
  for (auto value : {"null", "1", "\"true\"", "[]"})
    BOOST_TEST(pointers(body{}.with("new_customer", value)) == "/new_customer",
               value);
  BOOST_TEST(!accept(body{}.with("new_customer", "true")).new_customer);
  BOOST_TEST(!accept(body{}.with("new_customer", "false")).new_customer);
}

BOOST_AUTO_TEST_CASE(a_sale_happened_between_2000_and_in_five_minutes) {
  for (auto value : {"2000-01-01T00:00:00Z", "2026-11-23T12:05:00Z",
                     "2026-11-23T12:05:00.000Z", "2019-04-01T07:01:20-04:00"})
    accept(body{}.with("occurred_at", in_quotes(value)));
  for (auto value :
       {"1999-12-31T23:59:59.999Z", "2000-01-01T00:00:00+01:00",
        "2026-11-23T12:05:00.001Z", "9999-12-31T23:59:59Z", "2019-04-01",
        "2019-04-01T07:01:20", "yesterday", "2019-04-01T07:01:20Z\\u0000"})
    BOOST_TEST(pointers(body{}.with("occurred_at", in_quotes(value)))
                 == "/occurred_at",
               value);
  for (auto value : {"null", "0", "1554116480"})
    BOOST_TEST(pointers(body{}.with("occurred_at", value)) == "/occurred_at",
               value);
}

BOOST_AUTO_TEST_CASE(a_purchase_has_1_to_200_items) {
  auto items = [](size_t n) {
    std::string result;
    for (size_t i = 0; i < n; ++i)
      result += (i == 0 ? "[" : ",") + R"({"product_id":"p)"s
                + std::to_string(i) + R"(","unit_price":"0.01","qty":1})";
    return result + "]";
  };
  BOOST_TEST(accept(body{}.with("items", items(200))).total == 200);
  BOOST_TEST(pointers(body{}.with("items", items(201))) == "/items");
  for (auto value : {"null", "{}", "\"\"", "1", "[]"})
    BOOST_TEST(pointers(body{}.with("items", value)) == "/items", value);
  for (auto value : {"[null]", "[1]", "[[]]", "[\"a\"]"})
    BOOST_TEST(pointers(body{}.with("items", value)) == "/items/0", value);
}

BOOST_AUTO_TEST_CASE(a_product_stands_in_a_purchase_once) {
  auto item = [](std::string_view id) {
    return R"({"product_id":")" + std::string{id}
           + R"(","unit_price":1,"qty":1})";
  };
  auto three = "[" + item("a") + "," + item("b") + "," + item("\\u0061") + "]";
  BOOST_TEST(pointers(body{}.with("items", three)) == "/items/2/product_id");
  auto fine = "[" + item("a") + "," + item("A") + "," + item("a ") + "]";
  BOOST_TEST(accept(body{}.with("items", fine)).items.size() == 3u);
}

BOOST_AUTO_TEST_CASE(a_quantity_is_one_however_written) {
  auto with = [](std::string_view qty) {
    return body{}.item(R"("product_id":"a","unit_price":1,"qty":)"
                       + std::string{qty});
  };
  for (auto qty : {"1", "1.0", "1.000000000000000000000000000", "1e0", "1E-0",
                   "10e-1", "0.1e1", "0.001e+3", "1000e-3", "1.0e00"})
    accept(with(qty));
  for (auto qty :
       {"0", "2", "-1", "1.5", "1.0000000000000000000001", "0.9999999999999999",
        "1e1", "11e-1", "10", "0.1", "101", "1e-1", "0.1e2", "0e1",
        "1e99999999999999999999", "\"1\"", "null", "true", "[1]"})
    BOOST_TEST(pointers(with(qty)) == "/items/0/qty", qty);
}

BOOST_AUTO_TEST_CASE(a_price_is_a_string_or_a_number_read_from_its_digits) {
  auto with = [](std::string_view price) {
    return body{}.item(R"("product_id":"a","qty":1,"unit_price":)"
                       + std::string{price});
  };
  std::pair<std::string_view, minor_units> good[] = {
    {"\"4.50\"", 450},
    {"4.5", 450},
    {"4.50", 450},
    {"0", 0},
    {"-0", 0},
    {"\"0.00\"", 0},
    {"\"007.00\"", 700},
    {"0.29", 29},
    {"1.15e1", 1150},
    {"29e-2", 29},
    {"\"1000000.00\"", 100'000'000},
    {"1e6", 100'000'000},
  };
  for (auto [price, amount] : good)
    BOOST_TEST(accept(with(price)).total == amount, price);
  for (auto price : {"null", "true", "[]", "\"\"", "\"4,50\"", "\"1e2\"",
                     "\"-1\"", "\"4.505\"", "4.505", "4.500", "\"4.50 \"", "-1",
                     "-0.01", "100000000.01", "\"100000001\"", "1e9",
                     "1e999999999", "1e-999999999", "\"4.50\\u0000\""})
    BOOST_TEST(pointers(with(price)) == "/items/0/unit_price", price);
  // A price as high as it may be is refused for the total alone.
  for (auto price : {"\"100000000.00\"", "1e8"})
    BOOST_TEST(pointers(with(price)) == "/items", price);
  BOOST_TEST(detail(with("4.505")).find("2 fraction digits")
             != std::string::npos);
}

BOOST_AUTO_TEST_CASE(prices_follow_the_currency) {
  auto with = [](std::string_view price) {
    return body{}.item(R"("product_id":"a","qty":1,"unit_price":)"
                       + std::string{price});
  };
  chain.currency = find_currency("JPY").value();
  BOOST_TEST(accept(with("1000000")).total == 1'000'000);
  BOOST_TEST(pointers(with("100000000")) == "/items");
  BOOST_TEST(pointers(with("100000001")) == "/items/0/unit_price");
  BOOST_TEST(pointers(with("1.0")) == "/items/0/unit_price");
  chain.currency = find_currency("CLF").value();
  BOOST_TEST(accept(with("1000000.0000")).total == 10'000'000'000);
  BOOST_TEST(pointers(with("100000000.0000")) == "/items");
  BOOST_TEST(pointers(with("100000000.0001")) == "/items/0/unit_price");
}

BOOST_AUTO_TEST_CASE(a_total_has_a_bound) {
  auto two = [](std::string_view a, std::string_view b) {
    return body{}.with(
      "items", fmt::format(R"([{{"product_id":"a","qty":1,"unit_price":{}}},)"
                           R"({{"product_id":"b","qty":1,"unit_price":{}}}])",
                           a, b));
  };
  for (auto code : {"USD", "JPY", "KWD"}) {
    chain.currency = find_currency(code).value();
    BOOST_TEST(accept(two("999999", "1")).items.size() == 2u, code);
    BOOST_TEST(pointers(two("999999", "2")) == "/items", code);
    BOOST_TEST(pointers(two("100000000", "100000000")) == "/items", code);
  }
  chain.currency = find_currency("USD").value();
  BOOST_TEST(accept(two("999999.99", "0.01")).total == 100'000'000);
  BOOST_TEST(pointers(two("999999.99", "0.02")) == "/items");
  BOOST_TEST(detail(two("999999.99", "0.02")).find("1000000")
             != std::string::npos);
  // Unless set otherwise.
  context.total_major_max = 10;
  BOOST_TEST(accept(two("9", "1.00")).total == 1'000);
  BOOST_TEST(pointers(two("9", "1.01")) == "/items");
}

BOOST_AUTO_TEST_CASE(a_name_has_up_to_200_code_points) {
  auto with = [](const std::string& name) {
    return body{}.item(R"("product_id":"a","qty":1,"unit_price":1,"name":)"
                       + name);
  };
  BOOST_TEST(accept(with("\"\"")).items[0].name.value() == "");
  accept(with(in_quotes(repeated(200, "\xe2\x82\xac"))));
  for (const auto& name : {"null"s, "1"s, in_quotes(std::string(201, 'x')),
                           in_quotes("a\\u0000b")})
    BOOST_TEST(pointers(with(name)) == "/items/0/name", name);
}

BOOST_AUTO_TEST_CASE(unknown_fields_are_errors_at_their_pointer) {
  BOOST_TEST(pointers(body{}.with("Branch_id", "1")) == "/Branch_id");
  BOOST_TEST(pointers(body{}.with("", "1")) == "/");
  BOOST_TEST(pointers(body{}.with("a\\u0000", "1")) == "/a\0"s);
  BOOST_TEST(pointers(body{}.with("x", R"({"y":{"z":"\u0000"}})")) == "/x");
  BOOST_TEST(pointers(body{}.item(
               R"("product_id":"a","qty":1,"unit_price":1,"total":1)"))
             == "/items/0/total");
}

// -- the fingerprint ----------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_fingerprint_ignores_what_does_not_matter) {
  auto original = accept(body{}.with("user_id", in_quotes(user_text)));
  auto print = original.fingerprint;
  auto reordered = body{}.with("user_id", in_quotes(user_text));
  std::reverse(reordered.fields.begin(), reordered.fields.end());
  BOOST_TEST((accept(reordered).fingerprint == print));
  auto spelled
    = body{}
        .with("user_id", in_quotes("591C9A79-97CB-477F-B483-ABF2425E0845"))
        .with("pos_id", "\"pos\\u002d2\"")
        .with("new_customer", "false")
        .with("items", R"( [ {"qty":1.0,"unit_price":"2.00",
                      "name":"L\u0061tte","product_id":"p-2"} ,
                      {"product_id":"p-1","unit_price":4.5,"qty":1} ] )");
  BOOST_TEST((accept(spelled).fingerprint == print));
  context.traceparent = "another";
  context.till_branch = "branch-1";
  context.now += std::chrono::hours{1000};
  BOOST_TEST((accept(body{}.with("user_id", in_quotes(user_text))).fingerprint
              == print));
}

BOOST_AUTO_TEST_CASE(the_fingerprint_tells_every_difference) {
  auto item = [](std::string_view fields) {
    return body{}.item(R"("product_id":"a","qty":1,)" + std::string{fields});
  };
  std::vector<purchase> all;
  all.push_back(accept(body{}));
  all.push_back(accept(body{}.with("cashier_id", in_quotes("pos-2"))));
  all.push_back(accept(body{}.with("pos_id", in_quotes("staff-12"))));
  all.push_back(accept(body{}
                         .with("cashier_id", in_quotes("pos-2"))
                         .with("pos_id", in_quotes("staff-12"))));
  all.push_back(accept(body{}.with("receipt_id", in_quotes("r-2"))));
  all.push_back(accept(body{}.with("idempotency_key", in_quotes(other_key))));
  all.push_back(accept(body{}.with("user_id", in_quotes(user_text))));
  all.push_back(accept(
    body{}.with("user_id", in_quotes(user_text)).with("new_customer", "true")));
  all.push_back(
    accept(body{}.with("occurred_at", in_quotes("2026-11-23T12:00:00Z"))));
  all.push_back(
    accept(body{}.with("occurred_at", in_quotes("2026-11-23T12:00:00.001Z"))));
  all.push_back(accept(item(R"("unit_price":1)")));
  all.push_back(accept(item(R"("unit_price":1.01)")));
  all.push_back(accept(item(R"("unit_price":1,"name":"")")));
  all.push_back(accept(item(R"("unit_price":1,"name":"x")")));
  // Bytes that move from one field to its neighbour.
  all.push_back(accept(
    body{}.with("cashier_id", in_quotes("ab")).with("pos_id", in_quotes("c"))));
  all.push_back(accept(
    body{}.with("cashier_id", in_quotes("a")).with("pos_id", in_quotes("bc"))));
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      BOOST_TEST((all[i].fingerprint != all[j].fingerprint),
                 i << " is taken for " << j);
}

// The stored form: a build that changes it refuses its own replays.
BOOST_AUTO_TEST_CASE(the_fingerprint_is_stable) {
  auto print = accept(body{}.with("user_id", in_quotes(user_text))).fingerprint;
  auto input = "10:purchase/18:branch-18:staff-125:pos-23:r-136:"s + key_text
               + "0:+36:" + user_text + "-2:3:p-1450:-3:p-2200:+5:Latte";
  BOOST_TEST((print == sha256(input)));
}

// -- hostile input ------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_flood_of_errors_is_bounded) {
  std::string unknown = body{}.text();
  unknown.pop_back();
  for (int i = 0; unknown.size() < limits::body_bytes_max; ++i)
    unknown += ",\"" + std::to_string(i) + "\":1";
  auto refused = refuse(unknown + "}");
  BOOST_TEST(refused.errors.size() == limits::field_errors_max);
  auto empty_items = "[{}" + repeated(20'000, ",{}") + "]";
  refused = refuse(body{}.with("items", empty_items).text());
  BOOST_TEST(refused.errors.size() == 1 + 3 * limits::items_max);
}

// Goal: no bytes crash the codec, and what it accepts keeps the rules.
BOOST_AUTO_TEST_CASE(mutated_purchases_keep_the_rules) {
  auto original = body{}
                    .with("user_id", in_quotes(user_text))
                    .with("occurred_at", in_quotes("2026-11-23T12:00:00Z"))
                    .text();
  constexpr std::string_view pieces = "{}[],:\"\\01.-e ntfu\0\xc3\xff";
  size_t accepted = 0;
  for (unsigned seed = 0; seed < 30'000; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 prng{seed};
      auto text = original;
      for (auto n = 1 + prng() % 3; n > 0; --n) {
        auto at = prng() % text.size();
        if (prng() % 2 == 0)
          text[at] = pieces[prng() % pieces.size()];
        else
          text.erase(at, 1);
      }
      auto result = decode(text);
      auto* x = std::get_if<purchase>(&result);
      if (x == nullptr)
        continue;
      ++accepted;
      minor_units sum = 0;
      for (const auto& item : x->items) {
        BOOST_REQUIRE(item.unit_price >= 0);
        sum += item.unit_price;
      }
      BOOST_REQUIRE(x->total == sum);
      BOOST_REQUIRE(x->branch_id == "branch-1");
      BOOST_REQUIRE(!x->items.empty());
      BOOST_REQUIRE(is_uuid4(x->user_id.value()));
    }
  }
  BOOST_TEST(accepted > 100u);
}

// -- the answers --------------------------------------------------------------

namespace {

recorded_purchase recorded() {
  recorded_purchase x;
  x.purchase_id = parse_uuid("01902f4e-8a3b-7c4d-9e5f-0123456789ab").value();
  x.event_id = parse_uuid("01902f4e-8a3b-7c4d-9e5f-0123456789ac").value();
  x.branch_id = "branch-1";
  x.receipt_id = "r \"1\"";
  x.user_id = parse_uuid(user_text).value();
  x.new_customer = true;
  x.total = 650;
  x.currency = "USD";
  x.items_count = 2;
  x.occurred_at = parse_rfc3339("2019-04-01T07:01:20-04:00").value();
  x.recorded_at = parse_rfc3339("2019-04-01T11:01:21.25Z").value();
  return x;
}

constexpr auto recorded_fields
  = R"("purchase_id":"01902f4e-8a3b-7c4d-9e5f-0123456789ab",)"
    R"("event_id":"01902f4e-8a3b-7c4d-9e5f-0123456789ac",)"
    R"("branch_id":"branch-1","receipt_id":"r \"1\"",)"
    R"("user_id":"591c9a79-97cb-477f-b483-abf2425e0845",)"
    R"("new_customer":true,"total":"6.50","currency":"USD",)"
    R"("items_count":2,"occurred_at":"2019-04-01T11:01:20.000Z",)"
    R"("recorded_at":"2019-04-01T11:01:21.250Z")";

} // namespace

BOOST_AUTO_TEST_CASE(the_answer_is_a_function_of_the_row) {
  auto expected = "{"s + recorded_fields + "}";
  BOOST_TEST(encode_recorded(recorded(), currency{}) == expected);
  // Also when the chain changed its currency since.
  BOOST_TEST(encode_recorded(recorded(), currency{"JPY", 0}) == expected);
}

BOOST_AUTO_TEST_CASE(details_add_the_lines) {
  purchase_details x;
  x.head = recorded();
  x.cashier_id = "staff-12";
  x.pos_id = "pos-2";
  x.idempotency_key = parse_uuid(key_text).value();
  x.business_day = parse_day("2019-04-01").value();
  x.items = {{"p-1", std::nullopt, 450}, {"p-2", "Latte", 200}};
  BOOST_TEST(
    encode_details(x, currency{})
    == "{"s + recorded_fields
         + R"(,"cashier_id":"staff-12","pos_id":"pos-2",)"
           R"("idempotency_key":"3f0c7f2e-2f63-4c55-9a07-6b1d2f0e8a11",)"
           R"("business_day":"2019-04-01","items":[)"
           R"({"product_id":"p-1","unit_price":"4.50","qty":1},)"
           R"({"product_id":"p-2","name":"Latte","unit_price":"2.00",)"
           R"("qty":1}]})");
}

BOOST_AUTO_TEST_CASE(verdicts_have_names) {
  BOOST_TEST(to_string(verdict::recorded) == "recorded");
  BOOST_TEST(to_string(verdict::replayed) == "replayed");
  BOOST_TEST(to_string(verdict::key_reused) == "key-reused");
  BOOST_TEST(to_string(verdict::receipt_taken) == "receipt-taken");
  BOOST_TEST(to_string(verdict::customer_unknown) == "customer-unknown");
  BOOST_TEST(to_string(verdict::in_progress) == "in-progress");
  BOOST_TEST(to_string(verdict::unavailable) == "unavailable");
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include "messages/codec/event_codec.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"

#include <random>

using namespace tillstream;
using namespace std::string_literals;

namespace {

purchase_event sample() {
  purchase_event x;
  x.event_id = parse_uuid("01902f4e-8a3b-7c4d-9e5f-0123456789ac").value();
  x.purchase_id = parse_uuid("01902f4e-8a3b-7c4d-9e5f-0123456789ab").value();
  x.outbox_seq = 1234567890123;
  x.branch_id = "branch-1";
  x.cashier_id = "staff \"12\"";
  x.pos_id = "pos\n2";
  x.receipt_id = "r-1";
  x.idempotency_key
    = parse_uuid("3f0c7f2e-2f63-4c55-9a07-6b1d2f0e8a11").value();
  x.user_id = parse_uuid("591c9a79-97cb-477f-b483-abf2425e0845").value();
  x.new_customer = true;
  x.total = 650;
  x.occurred_at = parse_rfc3339("2019-04-01T07:01:20.5-04:00").value();
  x.recorded_at = parse_rfc3339("2019-04-01T11:01:21.25Z").value();
  x.when.day = parse_day("2019-04-01").value();
  x.when.hour = parse_rfc3339("2019-04-01T11:00:00Z").value();
  x.when.minute = 421;
  x.items = {{"p-1", "", "", 450}, {"p-2", "Caf\xc3\xa9", "Coffee", 200}};
  x.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  return x;
}

/// Why an event was not read; empty when it was.
std::string
reason(std::string_view bytes, std::string_view branch = "branch-1") {
  auto result = decode_event(bytes, branch);
  if (result)
    return "";
  BOOST_TEST((result.error() == errc::invalid));
  return describe(result.error());
}

/// Replaces the first occurrence.
std::string
replace(std::string text, std::string_view what, std::string_view with) {
  auto at = text.find(what);
  BOOST_REQUIRE_MESSAGE(at != std::string::npos, what);
  return text.replace(at, what.size(), with);
}

void require_equal(const purchase_event& x, const purchase_event& y) {
  BOOST_TEST((x.event_id == y.event_id));
  BOOST_TEST((x.purchase_id == y.purchase_id));
  BOOST_TEST(x.outbox_seq == y.outbox_seq);
  BOOST_TEST(x.branch_id == y.branch_id);
  BOOST_TEST(x.cashier_id == y.cashier_id);
  BOOST_TEST(x.pos_id == y.pos_id);
  BOOST_TEST(x.receipt_id == y.receipt_id);
  BOOST_TEST((x.idempotency_key == y.idempotency_key));
  BOOST_TEST((x.user_id == y.user_id));
  BOOST_TEST(x.new_customer == y.new_customer);
  BOOST_TEST(x.total == y.total);
  BOOST_TEST((x.currency == y.currency));
  BOOST_TEST((x.occurred_at == y.occurred_at));
  BOOST_TEST((x.recorded_at == y.recorded_at));
  BOOST_TEST((x.when == y.when));
  BOOST_TEST(x.traceparent == y.traceparent);
  BOOST_REQUIRE(x.items.size() == y.items.size());
  for (size_t i = 0; i < x.items.size(); ++i) {
    BOOST_TEST(x.items[i].product_id == y.items[i].product_id);
    BOOST_TEST(x.items[i].name == y.items[i].name);
    BOOST_TEST(x.items[i].category == y.items[i].category);
    BOOST_TEST(x.items[i].unit_price == y.items[i].unit_price);
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(event_codec_suite)

BOOST_AUTO_TEST_CASE(an_event_is_a_structured_cloudevent) {
  BOOST_TEST(
    encode_event(sample())
    == R"({"specversion":"1.0","id":"01902f4e-8a3b-7c4d-9e5f-0123456789ac",)"
       R"("source":"/tillstream/branches/branch-1",)"
       R"("type":"purchases.created",)"
       R"("subject":"01902f4e-8a3b-7c4d-9e5f-0123456789ab",)"
       R"("time":"2019-04-01T11:01:20.500Z",)"
       R"("datacontenttype":"application/json",)"
       R"("dataschema":"urn:tillstream:purchases.created:1",)"
       R"("traceparent":)"
       R"("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",)"
       R"("recordedtime":"2019-04-01T11:01:21.250Z",)"
       R"("partitionkey":"branch-1","outboxseq":1234567890123,"data":{)"
       R"("purchase_id":"01902f4e-8a3b-7c4d-9e5f-0123456789ab",)"
       R"("branch_id":"branch-1","receipt_id":"r-1",)"
       R"("cashier_id":"staff \"12\"","pos_id":"pos\n2",)"
       R"("idempotency_key":"3f0c7f2e-2f63-4c55-9a07-6b1d2f0e8a11",)"
       R"("user_id":"591c9a79-97cb-477f-b483-abf2425e0845",)"
       R"("new_customer":true,"occurred_at":"2019-04-01T11:01:20.500Z",)"
       R"("recorded_at":"2019-04-01T11:01:21.250Z",)"
       R"("business_day":"2019-04-01",)"
       R"("business_hour":"2019-04-01T11:00:00.000Z",)"
       R"("business_minute":421,"currency":"USD","total":"6.50",)"
       R"("items_count":2,"items":[)"
       R"({"product_id":"p-1","unit_price":"4.50","qty":1},)"
       "{\"product_id\":\"p-2\",\"name\":\"Caf\xc3\xa9\","
       R"("category":"Coffee","unit_price":"2.00","qty":1}]}})");
}

BOOST_AUTO_TEST_CASE(an_event_is_read_back_as_written) {
  auto result = decode_event(encode_event(sample()), "branch-1");
  BOOST_REQUIRE(result);
  require_equal(*result, sample());
}

BOOST_AUTO_TEST_CASE(an_event_without_trace_or_in_another_currency_is_read) {
  auto x = sample();
  x.traceparent.clear();
  x.new_customer = false;
  x.currency = currency{"JPY", 0};
  auto result = decode_event(encode_event(x), "branch-1");
  BOOST_REQUIRE(result);
  require_equal(*result, x);
}

BOOST_AUTO_TEST_CASE(the_largest_event_is_read) {
  auto x = sample();
  x.branch_id = std::string(64, 'b');
  x.items.clear();
  for (size_t i = 0; i < limits::items_max; ++i) {
    event_item item{std::to_string(i), "", "", 10'000'000'000};
    for (size_t j = 0; j < limits::name_code_points_max; ++j)
      item.name += "\x01";
    item.category = item.name;
    while (item.product_id.size() < limits::id_code_points_max)
      item.product_id += '\x01';
    x.items.push_back(std::move(item));
  }
  x.total = 10'000'000'000 * static_cast<int64_t>(x.items.size());
  auto bytes = encode_event(x);
  BOOST_TEST(bytes.size() < limits::event_bytes_max);
  auto result = decode_event(bytes, x.branch_id);
  BOOST_REQUIRE(result);
  require_equal(*result, x);
}

BOOST_AUTO_TEST_CASE(business_times_of_every_zone_are_read) {
  struct {
    const char* zone;
    int day_start_minutes;
  } branches[] = {{"Pacific/Kiritimati", 0},    {"Etc/GMT+12", 1439},
                  {"Australia/Lord_Howe", 240}, {"Asia/Kolkata", 90},
                  {"America/New_York", 0},      {"UTC", 1439}};
  for (auto [zone, day_start] : branches) {
    auto clock = branch_clock::make(branch{"b", "B", zone, day_start});
    BOOST_REQUIRE(clock);
    auto x = sample();
    for (int i = 0; i < 2000; ++i) {
      x.occurred_at += std::chrono::minutes{263};
      x.when = clock->at(x.occurred_at);
      auto why = reason(encode_event(x));
      BOOST_REQUIRE_MESSAGE(why.empty(), zone << ": " << why);
    }
  }
}

BOOST_AUTO_TEST_CASE(unknown_members_are_for_later_versions) {
  auto bytes = encode_event(sample());
  BOOST_TEST(reason(replace(bytes, "{\"specversion\"",
                            "{\"extension\":1,\"specversion\""))
             == "");
  BOOST_TEST(reason(replace(bytes, "\"data\":{", "\"data\":{\"x\":{},")) == "");
}

namespace {

/// Writes `x` again, with `instead` in place of the member `target`; nothing
/// leaves it out.
void write_without(json_writer& out, const json_value& x,
                   const json_value& target, std::string_view instead) {
  using kind = json_value::kind;
  if (x.is(kind::object)) {
    out.begin_object();
    for (const auto& [name, value] : x.members) {
      if (&value != &target) {
        out.key(name);
        write_without(out, value, target, instead);
      } else if (!instead.empty()) {
        out.key(name).raw(instead);
      }
    }
    out.end_object();
  } else if (x.is(kind::array)) {
    out.begin_array();
    for (const auto& element : x.elements)
      write_without(out, element, target, instead);
    out.end_array();
  } else if (x.is(kind::string)) {
    out.string(x.text);
  } else if (x.is(kind::boolean)) {
    out.boolean(x.boolean);
  } else {
    out.raw(x.text);
  }
}

} // namespace

BOOST_AUTO_TEST_CASE(every_member_must_be_there_and_of_its_type) {
  json_document document;
  BOOST_REQUIRE(document.parse(encode_event(sample())) == "");
  const auto& root = document.root();
  const auto* data = root.find("data");
  const auto& items = data->find("items")->elements;
  auto why = [&](const json_value& target, std::string_view instead) {
    std::string bytes;
    json_writer out{bytes};
    write_without(out, root, target, instead);
    return reason(bytes);
  };
  size_t checked = 0;
  for (const auto* object : {&root, data, &items[0], &items[1]})
    for (const auto& [name, value] : object->members) {
      auto is_optional
        = name == "traceparent" || name == "name" || name == "category";
      if (is_optional)
        BOOST_TEST(why(value, "") == "", name);
      else
        BOOST_TEST(why(value, "").find(name) != std::string::npos, name);
      auto other_type = value.is(json_value::kind::array) ? "{}" : "[]";
      for (auto instead : {"null", other_type, "\"\\u0000\"", "1e1000"})
        BOOST_TEST(why(value, instead).find(name) != std::string::npos,
                   name << " as " << instead);
      ++checked;
    }
  BOOST_TEST(checked == 13u + 17u + 3u + 5u);
}

BOOST_AUTO_TEST_CASE(every_kind_of_malformed_event_has_a_reason) {
  struct {
    std::string_view what;
    std::string_view with;
    std::string_view needle;
  } table[] = {
    {R"("specversion":"1.0")", R"("specversion":"0.3")", "specversion"},
    {R"("id":"01902f4e-8a3b-7)", R"("id":"01902f4e-8a3b-4)", "id"},
    {R"("id":"01902f4e)", R"("id":"x1902f4e)", "id"},
    {"/tillstream/branches/branch-1", "/tillstream/branches/branch-2",
     "source"},
    {"/tillstream/branches/", "/elsewhere/", "source"},
    {R"("type":"purchases.created")", R"("type":"purchases.deleted")", "type"},
    {R"("subject":"01902f4e)", R"("subject":"01902f4f)", "purchase_id"},
    {R"("time":"2019-04-01T11:01:20.5)", R"("time":"2019-04-01T11:01:20.6)",
     "occurred_at"},
    {R"("time":"2019)", R"("time":"x019)", "time"},
    {R"("datacontenttype":"application/json")",
     R"("datacontenttype":"text/plain")", "datacontenttype"},
    {"created:1", "created:2", "dataschema"},
    {R"("recordedtime":"2019-04-01T11:01:21)",
     R"("recordedtime":"2019-04-01T11:01:22)", "recorded_at"},
    {R"("partitionkey":"branch-1")", R"("partitionkey":"branch-2")",
     "partitionkey"},
    {R"("outboxseq":1234567890123)", R"("outboxseq":0)", "outboxseq"},
    {R"("outboxseq":1234567890123)", R"("outboxseq":-1)", "outboxseq"},
    {R"("outboxseq":1234567890123)", R"("outboxseq":1.0)", "outboxseq"},
    {R"("outboxseq":1234567890123)", R"("outboxseq":1e3)", "outboxseq"},
    {R"("outboxseq":1234567890123)", R"("outboxseq":9223372036854775808)",
     "outboxseq"},
    {R"("outboxseq":1234567890123)", R"("outboxseq":"1")", "outboxseq"},
    {R"("branch_id":"branch-1")", R"("branch_id":"branch-2")", "branch_id"},
    {R"("receipt_id":"r-1")", R"("receipt_id":"")", "receipt_id"},
    {R"("receipt_id":"r-1")", R"("receipt_id":"\u0000")", "receipt_id"},
    {R"("receipt_id":"r-1")", R"("receipt_id":null)", "receipt_id"},
    {R"("idempotency_key":"3)", R"("idempotency_key":"z)", "idempotency_key"},
    {"591c9a79-97cb-4", "591c9a79-97cb-1", "user_id"},
    {R"("new_customer":true)", R"("new_customer":1)", "new_customer"},
    {R"("business_day":"2019-04-01")", R"("business_day":"2019-04-04")",
     "business_day"},
    {R"("business_day":"2019-04-01")", R"("business_day":"2019-03-29")",
     "business_day"},
    {R"("business_day":"2019-04-01")", R"("business_day":"2019-02-29")",
     "business_day"},
    {R"("business_hour":"2019-04-01T11)", R"("business_hour":"2019-04-01T10)",
     "business_hour"},
    {R"("business_hour":"2019-04-01T11)", R"("business_hour":"2019-04-01T12)",
     "business_hour"},
    {R"("business_minute":421)", R"("business_minute":1440)",
     "business_minute"},
    {R"("business_minute":421)", R"("business_minute":-1)", "business_minute"},
    {R"("currency":"USD")", R"("currency":"usd")", "currency"},
    {R"("total":"6.50")", R"("total":"6.51")", "total"},
    {R"("total":"6.50")", R"("total":6.50)", "total"},
    {R"("total":"6.50")", R"("total":"-6.50")", "total"},
    {R"("total":"6.50")", R"("total":"6.500")", "total"},
    {R"("total":"6.50")", R"("total":"99999999999999999999")", "total"},
    {R"("items_count":2)", R"("items_count":3)", "items_count"},
    {R"("items_count":2)", R"("items_count":201)", "items_count"},
    {R"("unit_price":"4.50")", R"("unit_price":"4.51")", "total"},
    {R"("unit_price":"4.50")", R"("unit_price":4.50)", "unit_price"},
    {R"("unit_price":"4.50")", R"("unit_price":"100000000.01")", "unit_price"},
    {R"("qty":1)", R"("qty":2)", "qty"},
    {R"("qty":1)", R"("qty":"1")", "qty"},
    {R"("product_id":"p-2")", R"("product_id":"p-1")", "twice"},
    {R"("product_id":"p-2")", R"("product_id":"")", "product_id"},
    {R"("name":"Caf)", R"("name":"\u0000)", "name"},
    {R"("category":"Coffee")", R"("category":null)", "category"},
    {R"("items":[{)", R"("items":[1,{)", "product_id"},
    {R"("data":{)", R"("data":[],"other":{)", "data"},
    {R"("data":{)", R"("data":{"data":{},"data":{},)", "twice"},
    {"}}", "}", "JSON"},
    {"}}", "}}x", "JSON"},
    {"staff",
     "st\xff"
     "ff",
     "UTF-8"},
  };
  auto bytes = encode_event(sample());
  for (auto& [what, with, needle] : table) {
    auto why = reason(replace(bytes, what, with));
    BOOST_TEST(why.find(needle) != std::string::npos,
               with << " gives: " << why);
  }
}

BOOST_AUTO_TEST_CASE(lengths_are_those_of_the_contract) {
  auto check = [](std::string purchase_event::*member, size_t length) {
    auto x = sample();
    x.*member = std::string(length, 'x');
    return reason(encode_event(x));
  };
  for (auto member : {&purchase_event::cashier_id, &purchase_event::pos_id,
                      &purchase_event::receipt_id}) {
    BOOST_TEST(check(member, 64) == "");
    BOOST_TEST(check(member, 65) != "");
    BOOST_TEST(check(member, 0) != "");
  }
  auto x = sample();
  x.items[0].name = std::string(201, 'x');
  BOOST_TEST(reason(encode_event(x)).find("name") != std::string::npos);
  x.items.clear();
  x.total = 0;
  BOOST_TEST(reason(encode_event(x)).find("items") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_event_belongs_to_the_branch_of_its_subject) {
  auto bytes = encode_event(sample());
  BOOST_TEST(reason(bytes, "branch-2") != "");
  BOOST_TEST(reason(bytes, "branch-11") != "");
  BOOST_TEST(reason(bytes, "") != "");
}

BOOST_AUTO_TEST_CASE(what_is_no_event_at_all_has_a_reason) {
  for (auto bytes : {"", "null", "[]", "1", "\"a\"", "{}", "x", "\xff"})
    BOOST_TEST(reason(bytes) != "", bytes);
  auto large = std::string(limits::event_bytes_max + 1, ' ');
  BOOST_TEST(reason(large).find("large") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_reason_does_not_repeat_hostile_bytes) {
  auto bytes = replace(encode_event(sample()), R"("receipt_id":"r-1")",
                       R"("receipt_id":")" + std::string(100'000, 'x') + "\"");
  BOOST_TEST(reason(bytes).size() < 200u);
}

// Goal: no bytes crash the reader, and a damaged event never counts a wrong
// amount. Method: change a few bytes of a valid event.
BOOST_AUTO_TEST_CASE(a_mutated_event_never_has_a_wrong_total) {
  auto original = encode_event(sample());
  constexpr std::string_view pieces = "{}[],:\"\\0123456789.-e ntfu\0\xc3\xff";
  size_t accepted = 0;
  for (unsigned seed = 0; seed < 30'000; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 prng{seed};
      auto bytes = original;
      for (auto n = 1 + prng() % 3; n > 0; --n) {
        auto at = prng() % bytes.size();
        switch (prng() % 4) {
          case 0:
            bytes[at] = static_cast<char>(prng());
            break;
          case 1:
            bytes[at] = pieces[prng() % pieces.size()];
            break;
          case 2:
            bytes.erase(at, 1 + prng() % 4);
            break;
          case 3:
            bytes.insert(at, bytes.substr(prng() % bytes.size(), prng() % 30));
            break;
        }
      }
      auto result = decode_event(bytes, "branch-1");
      if (!result) {
        BOOST_REQUIRE(describe(result.error()).size() < 200u);
        continue;
      }
      ++accepted;
      minor_units sum = 0;
      for (const auto& item : result->items)
        sum += item.unit_price;
      BOOST_REQUIRE(result->total == sum);
      BOOST_REQUIRE(result->branch_id == "branch-1");
      // What was read can be written and read again.
      auto again = decode_event(encode_event(*result), "branch-1");
      BOOST_REQUIRE(again);
      BOOST_REQUIRE(again->total == sum);
    }
  }
  BOOST_TEST(accepted > 100u);
}

BOOST_AUTO_TEST_CASE(subjects_and_message_ids_are_those_of_the_contract) {
  BOOST_TEST(event_subject("branch-1") == "purchases.created.branch-1");
  auto id = sample().event_id;
  BOOST_TEST(message_id(id, 1) == "01902f4e-8a3b-7c4d-9e5f-0123456789ac");
  BOOST_TEST(message_id(id, 3) == "01902f4e-8a3b-7c4d-9e5f-0123456789ac.3");
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include "messages/codec/json.hpp"
#include "messages/codec/problem.hpp"

using namespace tillstream;
using namespace std::string_literals;

namespace {

constexpr auto valid
  = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

trace_context trace_of(std::string header) {
  http_request request;
  request.headers = {{"traceparent", std::move(header)}};
  return take_trace(request);
}

} // namespace

BOOST_AUTO_TEST_SUITE(http_suite)

BOOST_AUTO_TEST_CASE(a_header_is_found_when_it_comes_once) {
  http_request request;
  request.headers = {{"host", "a"}, {"x", "1"}, {"y", ""}, {"x", "1"}};
  BOOST_TEST(request.header("host").value() == "a");
  BOOST_TEST(request.header("y").value() == "");
  BOOST_TEST(!request.header("x").has_value());
  BOOST_TEST(!request.header("z").has_value());
}

BOOST_AUTO_TEST_CASE(a_problem_is_rendered_as_rfc_9457_says) {
  problem x{422,
            "idempotency-key-reused",
            "Not \"the same\".",
            {{"errors", "[]"}, {"purchase_id", "\"p\""}},
            {{"Retry-After", "1"}}};
  auto reply = render_problem(x, "4bf9");
  BOOST_TEST(reply.status == 422);
  BOOST_TEST(reply.content_type == "application/problem+json");
  BOOST_TEST((reply.headers == x.headers));
  BOOST_TEST(reply.body
             == R"({"type":"/problems/idempotency-key-reused",)"
                R"("title":"Idempotency key reused","status":422,)"
                R"("detail":"Not \"the same\".","trace_id":"4bf9",)"
                R"("errors":[],"purchase_id":"p"})");
}

BOOST_AUTO_TEST_CASE(hostile_details_still_give_json) {
  auto reply = render_problem({404, "not-found", "no \xff\0\n"s, {}, {}}, "t");
  json_document document;
  BOOST_TEST(document.parse(reply.body) == "");
  BOOST_TEST(document.root().find("title")->text == "Not found");
}

BOOST_AUTO_TEST_CASE(a_valid_trace_is_passed_on_as_received) {
  auto x = trace_of(valid);
  BOOST_TEST(x.traceparent == valid);
  BOOST_TEST(x.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736");
}

BOOST_AUTO_TEST_CASE(a_later_version_is_spoken_to_in_ours) {
  auto later = "cc"s + (valid + 2);
  BOOST_TEST(trace_of(later).traceparent == valid);
  BOOST_TEST(trace_of(later + "-what-the-future-brings").traceparent == valid);
  later.replace(53, 2, "fe");
  BOOST_TEST(trace_of(later).traceparent.ends_with("-00"));
  later.replace(53, 2, "0b");
  BOOST_TEST(trace_of(later).traceparent.ends_with("-01"));
}

BOOST_AUTO_TEST_CASE(an_invalid_trace_is_replaced) {
  for (const auto& header : {
         ""s,
         "00"s,
         "x"s + valid,
         valid + "-"s,
         valid + "0"s,
         "cc"s + (valid + 2) + "0",
         "ff"s + (valid + 2),
         "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"s,
         "00-00000000000000000000000000000000-00f067aa0ba902b7-01"s,
         "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"s,
         "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x"s,
         "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01"s,
         "00-4bf92f3577b34da6a3ce929d0e0e473\n-00f067aa0ba902b7-01"s,
         std::string(8000, '0'),
       }) {
    auto x = trace_of(header);
    BOOST_TEST(x.traceparent != header);
    BOOST_TEST(x.traceparent.size() == 55u);
    BOOST_TEST(trace_of(x.traceparent).traceparent == x.traceparent);
  }
}

BOOST_AUTO_TEST_CASE(a_missing_or_doubled_trace_is_made_anew) {
  http_request request;
  auto x = take_trace(request);
  auto y = take_trace(request);
  BOOST_TEST(x.trace_id != y.trace_id);
  BOOST_TEST(x.traceparent.substr(3, 32) == x.trace_id);
  BOOST_TEST(trace_of(x.traceparent).traceparent == x.traceparent);
  request.headers = {{"traceparent", valid}, {"traceparent", valid}};
  BOOST_TEST(take_trace(request).traceparent != valid);
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include "actors/http/client.hpp"
#include "actors/http/framing.hpp"
#include "actors/http/server.hpp"
#include "actors/http/target.hpp"
#include "messages/core/error.hpp"
#include "tests/actors/http/http_fixture.hpp"
#include "tests/support/eventually.hpp"

#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

BOOST_FIXTURE_TEST_SUITE(server_suite, http_fixture)

// -- requests that are fine ---------------------------------------------------

BOOST_AUTO_TEST_CASE(a_request_is_handed_over_decoded) {
  wire peer{start()};
  auto reply = peer
                 .send("POST /a%20b/c?x=1%262&y=a+b&x=%C3%A4&&flag HTTP/1.1\r\n"
                       "Host: x\r\nContent-Length: 5\r\n\r\nhello")
                 .receive();
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.body == "POST /a b/c x=1&2 y=a b x=\xC3\xA4 flag=|hello");
  BOOST_TEST(reply.has("Date: "));
  BOOST_TEST(!reply.has("Server:"));
  BOOST_TEST(!reply.has("Connection:"));
}

BOOST_AUTO_TEST_CASE(header_names_come_in_lower_case_and_in_order) {
  hold = true;
  wire peer{start()};
  peer.send("GET / HTTP/1.1\r\nHost: x\r\nX-Two: 2\r\nx-one:  1 \r\n\r\n");
  wait_held(1);
  header_list expected{{"host", "x"}, {"x-two", "2"}, {"x-one", "1"}};
  BOOST_TEST((held[0]->request.headers == expected));
  BOOST_TEST(held[0]->request.from_loopback);
  held[0]->reply({});
  BOOST_TEST(peer.receive().status == 200);
}

BOOST_AUTO_TEST_CASE(a_connection_is_kept_for_further_requests) {
  wire peer{start()};
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(peer.send(simple).receive().status == 200);
  auto last
    = peer.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .receive();
  BOOST_TEST(last.has("Connection: close"));
  BOOST_TEST(peer.closed());
}

BOOST_AUTO_TEST_CASE(pipelined_requests_are_answered_in_order_one_at_a_time) {
  hold = true;
  wire peer{start()};
  peer.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
            "POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n");
  for (size_t i = 0; i < 3; ++i) {
    wait_held(i + 1);
    // The next one is not even looked at before this one is answered.
    BOOST_TEST(static_cast<size_t>(taken) == i + 1);
    held[i]->reply({200, "text/plain", {}, echo_of(held[i]->request)});
    auto expected = std::array{"GET /1|", "POST /2|abc", "GET /3|"};
    BOOST_TEST(peer.receive().body == expected[i]);
  }
}

BOOST_AUTO_TEST_CASE(head_is_answered_like_get_without_the_body) {
  wire peer{start()};
  auto reply
    = peer.send("HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n").receive(false);
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.has("Content-Length: 10\r\n"));
  // Nothing of a body stands in front of the next answer.
  BOOST_TEST(peer.send(simple).receive().body == "GET /a|");
}

BOOST_AUTO_TEST_CASE(http_1_0_is_answered_and_closed_unless_kept_alive) {
  auto port = start();
  wire once{port};
  auto reply = once.send("GET / HTTP/1.0\r\n\r\n").receive();
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(reply.has("Connection: close"));
  BOOST_TEST(once.closed());
  wire kept{port};
  for (int i = 0; i < 2; ++i) {
    reply
      = kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").receive();
    BOOST_TEST(reply.has("Connection: keep-alive"));
  }
}

BOOST_AUTO_TEST_CASE(a_peer_that_closed_its_half_gets_its_answer) {
  hold = true;
  wire peer{start()};
  peer.send(simple).half_close();
  wait_held(1);
  held[0]->reply({200, "text/plain", {}, "late"});
  BOOST_TEST(peer.receive().body == "late");
  BOOST_TEST(peer.closed());
}

BOOST_AUTO_TEST_CASE(a_body_that_is_expected_is_requested) {
  wire peer{start()};
  peer.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
            "Expect: 100-continue\r\n\r\n");
  auto interim = peer.receive(false);
  BOOST_TEST(interim.status == 100);
  BOOST_TEST(peer.send("abc").receive().body == "POST /|abc");
}

BOOST_AUTO_TEST_CASE(an_empty_line_before_a_request_is_ignored) {
  wire peer{start()};
  auto reply = peer.send("\r\n" + std::string{simple}).receive();
  BOOST_TEST(reply.body == "GET /a|");
}

BOOST_AUTO_TEST_CASE(a_body_of_the_largest_size_passes) {
  wire peer{start()};
  std::string body(limits::body_bytes_max, 'b');
  auto reply = peer
                 .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "
                       + std::to_string(body.size()) + "\r\n\r\n" + body)
                 .receive();
  BOOST_TEST(reply.body.size() == body.size() + 7);
}

BOOST_AUTO_TEST_CASE(a_larger_body_is_reported_to_the_handler_and_not_read) {
  wire peer{start()};
  std::string body(limits::body_bytes_max + 1, 'b');
  auto reply = peer
                 .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "
                       + std::to_string(body.size()) + "\r\n\r\n" + body)
                 .receive();
  BOOST_TEST(reply.body == "POST / (too large)|");
  BOOST_TEST(reply.has("Connection: close"));
  BOOST_TEST(peer.closed());
}

BOOST_AUTO_TEST_CASE(large_answers_arrive_whole) {
  hold = true;
  wire peer{start()};
  peer.send(simple);
  wait_held(1);
  std::string body(8 * 1024 * 1024, 'x');
  body.back() = 'y';
  held[0]->reply({200, "text/plain", {}, body});
  BOOST_TEST((peer.receive().body == body));
}

// -- requests that are refused ------------------------------------------------

BOOST_AUTO_TEST_CASE(every_transfer_encoding_is_refused) {
  start();
  for (auto value : {"chunked", "identity", "xchunked", "chunked, chunked", ""})
    check_refused("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                    + std::string{value} + "\r\n\r\n0\r\n\r\n" + simple,
                  411, "length-required");
  check_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                411, "length-required");
  check_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 411,
                "length-required");
  BOOST_TEST(taken == 0);
}

BOOST_AUTO_TEST_CASE(doubtful_lengths_are_refused) {
  start();
  for (auto lines :
       {"Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5, 5",
        "Content-Length: 5\r\ncontent-length: 6", "Content-Length: +5",
        "Content-Length: -1", "Content-Length: 0x5", "Content-Length: 5 5",
        "Content-Length:", "Content-Length: 99999999999999999999",
        "Content-Length : 5", "Content-Length\t: 5", " Content-Length: 5"})
    check_refused("POST / HTTP/1.1\r\nHost: x\r\n" + std::string{lines}
                    + "\r\n\r\nhello",
                  400, "malformed-request");
  BOOST_TEST(taken == 0);
}

BOOST_AUTO_TEST_CASE(garbled_header_sections_are_refused) {
  using namespace std::string_literals;
  start();
  for (const auto& bytes : {
         "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n"s,
         "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tfolded\r\n\r\n"s,
         "GET / HTTP/1.1\nHost: x\n\n"s,
         "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n"s,
         "GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n"s,
         "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n"s,
         "GET / HTTP/1.1\r\nHost: x\r\nA: b\x01\r\n\r\n"s,
         "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n"s,
         "GET / HTTP/1.1\r\nHost: x\r\n: no name\r\n\r\n"s,
         "GET / HTTP/1.1\r\nHost: x\r\nA(b: c\r\n\r\n"s,
         "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"s,
         "GET / HTTP/1.1\r\nA: no host\r\n\r\n"s,
         "GET / HTTP/2.0\r\nHost: x\r\n\r\n"s,
         "GET / HTTP/1.1 \r\nHost: x\r\n\r\n"s,
         "GET  / HTTP/1.1\r\nHost: x\r\n\r\n"s,
         "GET /\r\nHost: x\r\n\r\n"s,
         "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"s,
         "\x16\x03\x01\x02\x00\x01\x00\x01"s,
         "\r\n\r\n\r\n\r\n"s,
       })
    check_refused(bytes, 400, "malformed-request");
  BOOST_TEST(taken == 0);
}

BOOST_AUTO_TEST_CASE(targets_that_are_no_plain_path_are_refused) {
  start();
  for (auto target : {"*", "http://x/a", "a", "x:80", "/a%", "/a%2", "/a%zz",
                      "/a%00", "/a%0d%0aSet-Cookie:x", "/a%7f", "/a#b",
                      "/%c0%ae%c0%ae", "/%ed%a0%80", "/\xC3\xA4"})
    check_refused("GET " + std::string{target} + " HTTP/1.1\r\nHost: x\r\n\r\n",
                  400, "malformed-request");
  BOOST_TEST(taken == 0);
}

BOOST_AUTO_TEST_CASE(a_parameter_that_cannot_be_decoded_is_named) {
  for (auto word : {"%", "%2", "%zz", "%00", "%ff", "%ed%a0%80"}) {
    auto got = parse_target("/?a=1&b=" + std::string{word} + "&c=2");
    BOOST_REQUIRE(got.has_value());
    BOOST_TEST(got->garbled_parameter.value_or("") == "b");
    BOOST_TEST(got->query.size() == 2u);
    got = parse_target("/?" + std::string{word} + "=1");
    BOOST_TEST(got->garbled_parameter.value_or("") == word);
  }
  // A product may be called so.
  auto got = parse_target("/?product_id=a%0Ab%09+c");
  BOOST_TEST(!got->garbled_parameter.has_value());
  BOOST_TEST(got->query.at(0).second == "a\nb\t c");
}

BOOST_AUTO_TEST_CASE(header_sections_beyond_the_limit_are_refused) {
  start();
  std::string filler(limits::header_bytes_max, 'a');
  check_refused("GET / HTTP/1.1\r\nHost: x\r\nA: " + filler + "\r\n\r\n", 431,
                "header-too-large");
  // It need not end, either.
  check_refused("GET /" + filler, 431, "header-too-large");
  BOOST_TEST(taken == 0);
}

BOOST_AUTO_TEST_CASE(unknown_expectations_are_refused) {
  start();
  check_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                "Expect: miracles\r\n\r\n",
                417, "expectation-failed");
}

BOOST_AUTO_TEST_CASE(nothing_behind_a_refused_request_is_taken_for_one) {
  wire peer{start()};
  auto reply = peer
                 .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                       "Content-Length: 2\r\n\r\nab"
                       + std::string{simple})
                 .receive();
  BOOST_TEST(reply.status == 400);
  BOOST_TEST(peer.closed());
  BOOST_TEST(taken == 0);
}

// -- bounds -------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_slow_header_section_meets_its_deadline) {
  options.request_deadline = 200ms;
  wire peer{start()};
  auto begin = std::chrono::steady_clock::now();
  std::atomic<bool> done{false};
  // Keeps dripping, so that only an absolute deadline ends it.
  std::thread drip{[&] {
    peer.send("GET / HTTP/1.1\r\nHost: x\r\nA: ");
    while (!done) {
      peer.send("a");
      std::this_thread::sleep_for(10ms);
    }
  }};
  BOOST_TEST(peer.closed());
  done = true;
  drip.join();
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 5s));
  BOOST_TEST(taken == 0);
}

BOOST_AUTO_TEST_CASE(a_slow_body_meets_the_same_deadline) {
  options.request_deadline = 200ms;
  wire peer{start()};
  peer.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal");
  BOOST_TEST(peer.closed());
  BOOST_TEST(taken == 0);
}

BOOST_AUTO_TEST_CASE(an_idle_connection_is_closed) {
  options.keep_alive_max = 100ms;
  auto port = start();
  wire silent{port};
  BOOST_TEST(silent.closed());
  wire served{port};
  BOOST_TEST(served.send(simple).receive().status == 200);
  BOOST_TEST(served.closed());
}

BOOST_AUTO_TEST_CASE(connections_beyond_the_limit_are_refused) {
  options.connections_max = 2;
  auto port = start();
  std::optional<wire> first{std::in_place, port};
  wire second{port};
  BOOST_TEST(first->send(simple).receive().status == 200);
  BOOST_TEST(second.send(simple).receive().status == 200);
  wire third{port};
  auto reply = third.receive();
  BOOST_TEST(reply.status == 503);
  BOOST_TEST(reply.has("Retry-After: 1"));
  BOOST_TEST(third.closed());
  // The others go on, and a place that is given up can be taken.
  BOOST_TEST(second.send(simple).receive().status == 200);
  first.reset();
  BOOST_TEST(eventually(
    [&] { return wire{port}.send(simple).receive().status == 200; }));
}

BOOST_AUTO_TEST_CASE(floods_beyond_the_refusals_are_closed_at_once) {
  options.connections_max = 1;
  options.linger_max = 60s;
  auto port = start();
  wire served{port};
  BOOST_TEST(served.send(simple).receive().status == 200);
  std::vector<std::unique_ptr<wire>> refused;
  for (size_t i = 0; i < limits::refusals_max; ++i) {
    refused.push_back(std::make_unique<wire>(port));
    BOOST_TEST(refused.back()->receive().status == 503);
  }
  wire flood{port};
  BOOST_TEST(flood.closed());
  BOOST_TEST(served.send(simple).receive().status == 200);
}

BOOST_AUTO_TEST_CASE(an_answer_that_never_comes_is_made_up_for) {
  options.answer_max = 100ms;
  hold = true;
  wire peer{start()};
  peer.send(simple);
  auto reply = peer.receive();
  BOOST_TEST(reply.status == 503);
  BOOST_TEST(reply.has("Retry-After"));
  // The answer that comes after all belongs to no request, least of all to the
  // next request.
  peer.send(simple);
  wait_held(2);
  held[0]->reply({200, "text/plain", {}, "too late"});
  held[1]->reply({200, "text/plain", {}, "second"});
  BOOST_TEST(peer.receive().body == "second");
}

BOOST_AUTO_TEST_CASE(a_dropped_exchange_answers_500) {
  hold = true;
  wire peer{start()};
  peer.send("GET / HTTP/1.1\r\nHost: x\r\ntraceparent: "
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n");
  wait_held(1);
  held.clear();
  auto reply = peer.receive();
  BOOST_TEST(reply.status == 500);
  BOOST_TEST(reply.has("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"));
  BOOST_TEST(
    (reply.body.find("4bf92f3577b34da6a3ce929d0e0e4736") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(only_the_first_answer_counts) {
  hold = true;
  wire peer{start()};
  peer.send(simple);
  wait_held(1);
  held[0]->reply({200, "text/plain", {}, "one"});
  held[0]->reply({200, "text/plain", {}, "two"});
  BOOST_TEST(peer.receive().body == "one");
  hold = false;
  BOOST_TEST(peer.send(simple).receive().body == "GET /a|");
}

BOOST_AUTO_TEST_CASE(a_handler_that_throws_costs_only_its_request) {
  options.on_request = [this](http_exchange_ptr x) {
    if (taken++ == 0)
      throw std::runtime_error("a test");
    x->reply({});
  };
  wire peer{start()};
  BOOST_TEST(peer.send(simple).receive().status == 500);
  BOOST_TEST(peer.send(simple).receive().status == 200);
}

// -- stopping -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(stopping_finishes_what_is_under_way) {
  hold = true;
  auto port = start();
  wire busy{port};
  wire idle{port};
  busy.send(simple);
  wait_held(1);
  std::thread answering{[&] {
    // The idle connection ends first: the server is stopping by now.
    idle.closed();
    held[0]->reply({200, "text/plain", {}, "done"});
  }};
  server->stop(10s);
  answering.join();
  auto reply = busy.receive();
  BOOST_TEST(reply.body == "done");
  BOOST_TEST(reply.has("Connection: close"));
  BOOST_TEST(busy.closed());
}

BOOST_AUTO_TEST_CASE(stopping_does_not_wait_beyond_its_grace) {
  hold = true;
  wire busy{start()};
  busy.send(simple);
  wait_held(1);
  server->stop(50ms);
  BOOST_TEST(busy.closed());
  // An exchange may outlive its server.
  server.reset();
  held[0]->reply({});
  held.clear();
}

BOOST_AUTO_TEST_CASE(a_port_that_is_taken_is_an_error_and_no_crash) {
  options.port = start();
  auto second = http_server::start(options);
  BOOST_TEST(!second);
  BOOST_TEST((second.error() == errc::unavailable));
  options.address = "localhost";
  auto third = http_server::start(options);
  BOOST_TEST((third.error() == errc::invalid));
}

BOOST_AUTO_TEST_CASE(loopback_addresses_are_known) {
  start();
  BOOST_TEST(server->loopback_only());
  BOOST_TEST(http_server::is_loopback("::1"));
  BOOST_TEST(!http_server::is_loopback("0.0.0.0"));
  BOOST_TEST(!http_server::is_loopback("localhost"));
}

// -- the client ---------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_client_speaks_to_the_server) {
  http_client client{"127.0.0.1", start()};
  for (int i = 0; i < 3; ++i) {
    auto reply = client.request(
      "POST", "/x?q=" + percent_encode("a b&\xC3\xA4"), {{"X-A", "b"}}, "body");
    BOOST_REQUIRE(reply);
    BOOST_TEST(reply->status == 200);
    BOOST_TEST(reply->body == "POST /x q=a b&\xC3\xA4|body");
    BOOST_TEST((reply->header("content-type") == "text/plain"));
    BOOST_TEST(!reply->resent);
  }
  auto head = client.request("HEAD", "/x");
  BOOST_REQUIRE(head);
  BOOST_TEST(head->body.empty());
  BOOST_TEST(client.request("GET", "/x")->body == "GET /x|");
}

BOOST_AUTO_TEST_CASE(the_client_sends_again_when_a_kept_connection_was_closed) {
  options.keep_alive_max = 50ms;
  http_client client{"127.0.0.1", start()};
  BOOST_REQUIRE(client.request("GET", "/1"));
  // Whether the server has closed already shows in the answer.
  BOOST_TEST(eventually([&] {
    std::this_thread::sleep_for(60ms);
    auto reply = client.request("GET", "/2");
    return reply && reply->status == 200 && reply->resent;
  }));
}

BOOST_AUTO_TEST_CASE(the_client_distinguishes_not_sent_from_outcome_unknown) {
  hold = true;
  auto port = start();
  http_client_options impatient;
  impatient.answer_max = 50ms;
  http_client client{"127.0.0.1", port, impatient};
  auto late = client.request("GET", "/");
  BOOST_REQUIRE(!late);
  BOOST_TEST((late.error() == errc::timeout));
  http_client other{"127.0.0.1", port};
  wait_held(1);
  std::thread stopping{[&] {
    wait_held(2);
    server->stop(0ms);
  }};
  auto cut = other.request("GET", "/");
  stopping.join();
  BOOST_REQUIRE(!cut);
  BOOST_TEST((cut.error() == errc::in_doubt));
  auto refused = other.request("GET", "/");
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error() == errc::unavailable));
}

// -- framing, alone -----------------------------------------------------------

BOOST_AUTO_TEST_CASE(framing_is_the_same_however_the_bytes_are_cut) {
  std::string bytes
    = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n";
  for (size_t n = 0; n < bytes.size(); ++n)
    BOOST_TEST((scan_request(std::string_view{bytes}.substr(0, n)).outcome
                == request_framing::verdict::incomplete));
  auto whole = scan_request(bytes + "body");
  BOOST_TEST((whole.outcome == request_framing::verdict::complete));
  BOOST_TEST(whole.header_bytes == bytes.size());
  BOOST_TEST(whole.body_bytes == 12u);
}

BOOST_AUTO_TEST_CASE(concurrent_requests_get_their_own_answers) {
  auto port = start();
  std::atomic<int> wrong{0};
  std::vector<std::thread> tills;
  for (int t = 0; t < 8; ++t)
    tills.emplace_back([&, t] {
      http_client client{"127.0.0.1", port};
      for (int i = 0; i < 200; ++i) {
        auto target = "/" + std::to_string(t) + "/" + std::to_string(i);
        auto reply = client.request("GET", target);
        if (!reply || reply->body != "GET " + target + "|")
          ++wrong;
      }
    });
  for (auto& till : tills)
    till.join();
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_SUITE_END()

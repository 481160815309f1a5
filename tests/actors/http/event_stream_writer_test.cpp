#include <boost/test/unit_test.hpp>

#include "tests/actors/http/http_fixture.hpp"
#include "tests/support/eventually.hpp"

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

/// Opens a stream for a request that is held.
http_stream_ptr open_stream(http_exchange_ptr& x) {
  http_reply head{200, "text/event-stream", {}, "first\n"};
  auto result = x->stream(std::move(head));
  x.reset();
  return result;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(event_stream_writer_suite, http_fixture)

BOOST_AUTO_TEST_CASE(bytes_arrive_as_they_are_sent) {
  hold = true;
  wire peer{start()};
  peer.send(simple);
  wait_held(1);
  auto stream = open_stream(held[0]);
  BOOST_REQUIRE(stream != nullptr);
  auto head = peer.receive();
  BOOST_TEST(head.status == 200);
  BOOST_TEST(head.has("Transfer-Encoding: chunked"));
  BOOST_TEST(!head.has("Content-Length"));
  BOOST_TEST(peer.take(11) == "6\r\nfirst\n\r\n");
  BOOST_TEST(eventually([&] { return stream->send("more"); }));
  BOOST_TEST(peer.take(9) == "4\r\nmore\r\n");
  BOOST_TEST(eventually([&] { return stream->send("again"); }));
  BOOST_TEST(peer.take(10) == "5\r\nagain\r\n");
  stream.reset();
  BOOST_TEST(peer.take(5) == "0\r\n\r\n");
  BOOST_TEST(peer.closed());
}

BOOST_AUTO_TEST_CASE(what_was_sent_last_arrives_before_the_end) {
  hold = true;
  wire peer{start()};
  peer.send(simple);
  wait_held(1);
  auto stream = open_stream(held[0]);
  peer.receive();
  peer.take(11);
  BOOST_TEST(eventually([&] { return stream->send("over"); }));
  stream.reset();
  BOOST_TEST(peer.take(14) == "4\r\nover\r\n0\r\n\r\n");
  BOOST_TEST(peer.closed());
}

BOOST_AUTO_TEST_CASE(http_1_0_gets_the_bytes_without_frames) {
  hold = true;
  wire peer{start()};
  peer.send("GET /a HTTP/1.0\r\n\r\n");
  wait_held(1);
  auto stream = open_stream(held[0]);
  auto head = peer.receive();
  BOOST_TEST(!head.has("Transfer-Encoding"));
  BOOST_TEST(peer.take(6) == "first\n");
  stream.reset();
  BOOST_TEST(peer.closed());
}

BOOST_AUTO_TEST_CASE(a_live_reply_outlives_the_timeout_of_an_answer) {
  options.answer_max = 50ms;
  options.keep_alive_max = 50ms;
  hold = true;
  wire peer{start()};
  peer.send(simple);
  wait_held(1);
  auto stream = open_stream(held[0]);
  peer.receive();
  peer.take(11);
  // Another connection is closed for saying nothing; this one is not.
  wire idle{server->port()};
  BOOST_TEST(idle.closed());
  BOOST_TEST(!stream->closed());
  BOOST_TEST(eventually([&] { return stream->send("late"); }));
  BOOST_TEST(peer.take(9) == "4\r\nlate\r\n");
}

BOOST_AUTO_TEST_CASE(the_owner_sees_that_the_peer_is_gone) {
  hold = true;
  auto peer = std::make_unique<wire>(start());
  peer->send(simple);
  wait_held(1);
  auto stream = open_stream(held[0]);
  peer->receive();
  peer.reset();
  BOOST_TEST(eventually([&] { return stream->closed(); }));
  BOOST_TEST(stream->send("nobody hears this"));
}

BOOST_AUTO_TEST_CASE(live_replies_are_bounded_and_their_places_come_back) {
  options.streams_max = 1;
  hold = true;
  auto first = std::make_unique<wire>(start());
  first->send(simple);
  wait_held(1);
  auto stream = open_stream(held[0]);
  BOOST_REQUIRE(stream != nullptr);
  wire second{server->port()};
  second.send(simple);
  wait_held(2);
  BOOST_TEST((held[1]->stream({200, "text/plain", {}, {}}) == nullptr));
  // The exchange still waits for its answer.
  held[1]->reply({503, "text/plain", {}, "full"});
  BOOST_TEST(second.receive().status == 503);
  first.reset();
  BOOST_TEST(eventually([&] { return stream->closed(); }));
  second.send(simple);
  wait_held(3);
  BOOST_TEST(eventually(
    [&] { return held[2] == nullptr || open_stream(held[2]) != nullptr; }));
}

BOOST_AUTO_TEST_CASE(a_slow_peer_is_noticed_and_cut_off_in_time) {
  options.write_max = 100ms;
  hold = true;
  wire peer{start()};
  peer.send(simple);
  wait_held(1);
  auto stream = open_stream(held[0]);
  peer.receive();
  std::string much(16 * 1024 * 1024, 'x');
  BOOST_TEST(eventually([&] { return stream->send(much); }));
  BOOST_TEST(!stream->send("not now"));
  BOOST_TEST(eventually([&] { return stream->closed(); }));
}

BOOST_AUTO_TEST_CASE(a_stop_does_not_wait_for_live_replies) {
  hold = true;
  wire peer{start()};
  peer.send(simple);
  wait_held(1);
  auto stream = open_stream(held[0]);
  peer.receive();
  auto begin = std::chrono::steady_clock::now();
  server->stop(reply_timeout);
  BOOST_TEST((std::chrono::steady_clock::now() - begin < reply_timeout / 2));
  BOOST_TEST(stream->closed());
  BOOST_TEST(stream->send("too late"));
}

BOOST_AUTO_TEST_CASE(the_last_bytes_arrive_although_the_server_stops) {
  hold = true;
  wire peer{start()};
  peer.send(simple);
  wait_held(1);
  auto stream = open_stream(held[0]);
  peer.receive();
  peer.take(11);
  BOOST_TEST(stream->send("last"));
  server->stop(reply_timeout);
  BOOST_TEST(peer.take(14) == "4\r\nlast\r\n0\r\n\r\n");
  BOOST_TEST(peer.closed());
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include "actors/http/client.hpp"
#include "actors/http/server.hpp"
#include "messages/core/error.hpp"

#include <future>

using namespace tillstream;

BOOST_AUTO_TEST_SUITE(server_bind_suite)

BOOST_AUTO_TEST_CASE(a_bound_port_is_taken_before_anything_is_served) {
  auto first = http_server::bind({});
  BOOST_REQUIRE(first);
  http_server_options options;
  options.port = (*first)->port();
  auto second = http_server::bind(options);
  BOOST_REQUIRE(!second);
  BOOST_TEST((second.error() == errc::unavailable));
}

BOOST_AUTO_TEST_CASE(what_connects_before_serve_is_answered_afterwards) {
  auto server = http_server::bind({});
  BOOST_REQUIRE(server);
  BOOST_TEST((*server)->loopback_only());
  auto answer = std::async(std::launch::async, [port = (*server)->port()] {
    http_client client{"127.0.0.1", port};
    return client.request("GET", "/early");
  });
  (*server)->serve([](const http_exchange_ptr& exchange) {
    http_reply reply;
    reply.body = exchange->request.path;
    exchange->reply(reply);
  });
  auto got = answer.get();
  BOOST_REQUIRE(got);
  BOOST_TEST(got->status == 200);
  BOOST_TEST(got->body == "/early");
}

BOOST_AUTO_TEST_CASE(a_server_that_never_serves_ends_at_once) {
  auto server = http_server::bind({});
  BOOST_REQUIRE(server);
  (*server)->stop(std::chrono::seconds{10});
}

BOOST_AUTO_TEST_SUITE_END()

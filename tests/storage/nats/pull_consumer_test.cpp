#include "storage/nats/pull_consumer.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream::storage::jetstream;
using namespace std::chrono_literals;

namespace {

struct fixture {
  void pull(size_t count) {
    consumer.pull("EVENTS", count, pull_expires_min, ++token, now, out);
  }

  pull_consumer consumer;
  source_actions out;
  uint64_t token = 0;
  pull_consumer::time_point now{1h};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(pull_consumer_suite, fixture)

BOOST_AUTO_TEST_CASE(the_servers_words_are_told_apart) {
  BOOST_TEST((classify({100, "Idle Heartbeat"}) == pull_end::none));
  BOOST_TEST((classify({404, "No Messages"}) == pull_end::renew));
  BOOST_TEST((classify({408, "Request Timeout"}) == pull_end::renew));
  BOOST_TEST((classify({409, "Exceeded MaxWaiting"}) == pull_end::refused));
  BOOST_TEST((classify({409, "Consumer Deleted"}) == pull_end::lost));
  BOOST_TEST((classify({503, ""}) == pull_end::lost));
}

BOOST_AUTO_TEST_CASE(there_is_one_request_at_a_time_until_it_is_filled) {
  consumer.adopt("c");
  BOOST_TEST(consumer.may_pull(now));
  pull(2);
  BOOST_REQUIRE_EQUAL(out.requests.size(), 1u);
  BOOST_TEST(out.requests[0].what == "CONSUMER.MSG.NEXT.EVENTS.c");
  BOOST_TEST(out.requests[0].token == 1u);
  BOOST_TEST(!consumer.may_pull(now));
  consumer.received();
  BOOST_TEST(!consumer.may_pull(now));
  consumer.received();
  BOOST_TEST(consumer.may_pull(now));
}

BOOST_AUTO_TEST_CASE(
  an_expired_request_is_renewed_at_once_a_refused_one_later) {
  consumer.adopt("c");
  pull(2);
  BOOST_TEST((consumer.take_status({100, ""}, now) == pull_end::none));
  BOOST_TEST(!consumer.may_pull(now));
  BOOST_TEST((consumer.take_status({408, ""}, now) == pull_end::renew));
  BOOST_TEST(consumer.may_pull(now));
  pull(2);
  BOOST_TEST((consumer.take_status({409, ""}, now) == pull_end::refused));
  BOOST_TEST(!consumer.waiting());
  BOOST_TEST(!consumer.may_pull(now));
  BOOST_TEST(consumer.may_pull(now + 200ms));
}

BOOST_AUTO_TEST_CASE(a_request_is_overdue_only_after_the_server_gave_it_up) {
  consumer.adopt("c");
  pull(1);
  BOOST_TEST(!consumer.overdue(now + pull_expires_min));
  BOOST_TEST(consumer.overdue(now + pull_expires_min + 6s));
  consumer.received();
  BOOST_TEST(!consumer.overdue(now + 1h));
}

BOOST_AUTO_TEST_CASE(a_consumer_is_created_and_removed_by_name) {
  consumer.remove("EVENTS", out);
  BOOST_TEST(out.empty());
  consumer.create("c", "EVENTS", "{}", 7, now, out);
  BOOST_REQUIRE_EQUAL(out.requests.size(), 1u);
  BOOST_TEST(out.requests[0].what == "CONSUMER.DURABLE.CREATE.EVENTS.c");
  BOOST_TEST(consumer.token() == 7u);
  BOOST_TEST(!consumer.may_pull(now));
  BOOST_TEST(consumer.overdue(now + 11s));
  consumer.answered();
  BOOST_TEST(consumer.may_pull(now));
  consumer.remove("EVENTS", out);
  BOOST_REQUIRE_EQUAL(out.requests.size(), 2u);
  BOOST_TEST(out.requests[1].what == "CONSUMER.DELETE.EVENTS.c");
  BOOST_TEST(out.requests[1].token == 0u);
  BOOST_TEST(!consumer.exists());
}

BOOST_AUTO_TEST_SUITE_END()

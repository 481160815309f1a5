#include "actors/aggregation/branch_inbox.hpp"

#include "messages/codec/event_codec.hpp"
#include "tests/support/made_up_events.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;
using trouble = branch_inbox::trouble;

namespace {

struct fixture {
  fixture() {
    inbox.open(7, 100);
    inbox.refill();
  }

  delivered_message message(uint64_t stream_seq, uint64_t consumer_seq) {
    delivered_message result;
    result.stream_seq = stream_seq;
    result.consumer_seq = consumer_seq;
    result.delivery = 1;
    result.reply = "ack." + std::to_string(stream_seq);
    result.payload
      = std::make_shared<std::string>(encode_event(maker.make("branch-1")));
    return result;
  }

  delivery of(std::vector<delivered_message> xs, uint64_t generation = 7) {
    delivery result;
    result.branch_id = "branch-1";
    result.generation = generation;
    result.messages = std::move(xs);
    return result;
  }

  static test::event_options options() {
    test::event_options result;
    result.now = *parse_rfc3339("2026-01-05T12:00:00Z");
    return result;
  }

  test::event_maker maker{1, options()};
  branch_inbox inbox{"branch-1", 4};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(branch_inbox_suite, fixture)

BOOST_AUTO_TEST_CASE(messages_come_out_in_order_and_decoded) {
  BOOST_TEST(
    (inbox.take(of({message(101, 1), message(105, 2)})).what == trouble::none));
  auto batch = inbox.next_batch(1);
  BOOST_REQUIRE(batch.size() == 1u);
  BOOST_TEST(batch[0].event.stream_seq == 101u);
  BOOST_TEST(batch[0].event.reason == "");
  BOOST_TEST(batch[0].event.event.branch_id == "branch-1");
  BOOST_TEST(batch[0].reply == "ack.101");
  BOOST_TEST(inbox.next_batch(9).size() == 1u);
  BOOST_TEST(inbox.empty());
}

BOOST_AUTO_TEST_CASE(a_message_that_is_no_event_has_a_reason_and_its_bytes) {
  auto broken = message(101, 1);
  broken.payload = std::make_shared<std::string>("{\"id\": 1}");
  auto empty = message(102, 2);
  empty.payload = nullptr;
  auto foreign = message(103, 3);
  foreign.payload
    = std::make_shared<std::string>(encode_event(maker.make("branch-2")));
  BOOST_TEST((inbox.take(of({broken, empty, foreign})).what == trouble::none));
  auto batch = inbox.next_batch(3);
  for (const auto& x : batch)
    BOOST_TEST(x.event.reason != "");
  BOOST_TEST(*batch[0].event.raw == "{\"id\": 1}");
}

BOOST_AUTO_TEST_CASE(a_gap_in_the_deliveries_is_trouble) {
  inbox.take(of({message(101, 1)}));
  BOOST_TEST((inbox.take(of({message(103, 3)})).what == trouble::gap));
}

BOOST_AUTO_TEST_CASE(a_redelivery_is_trouble) {
  auto again = message(101, 1);
  again.delivery = 2;
  BOOST_TEST((inbox.take(of({again})).what == trouble::redelivered));
}

BOOST_AUTO_TEST_CASE(a_lost_consumer_is_trouble_whatever_its_generation) {
  auto lost = of({});
  lost.lost = "gone";
  BOOST_TEST((inbox.take(lost).what == trouble::lost));
  lost.generation = 0;
  BOOST_TEST((inbox.take(lost).what == trouble::lost));
  lost.generation = 6;
  BOOST_TEST((inbox.take(lost).what == trouble::none));
}

BOOST_AUTO_TEST_CASE(deliveries_of_an_earlier_opening_are_nothing) {
  BOOST_TEST((inbox.take(of({message(101, 9)}, 6)).what == trouble::none));
  BOOST_TEST(inbox.empty());
  inbox.close();
  BOOST_TEST((inbox.take(of({message(101, 9)})).what == trouble::none));
  BOOST_TEST(inbox.empty());
}

BOOST_AUTO_TEST_CASE(what_had_come_before_is_dropped_and_acknowledged_again) {
  auto reading
    = inbox.take(of({message(99, 1), message(100, 2), message(101, 3)}));
  BOOST_TEST((reading.what == trouble::none));
  BOOST_TEST(reading.duplicates
               == (std::vector<std::string>{"ack.99", "ack.100"}),
             boost::test_tools::per_element());
  BOOST_TEST(inbox.size() == 1u);
}

BOOST_AUTO_TEST_CASE(more_than_was_fetched_is_trouble) {
  BOOST_TEST((inbox
                .take(of({message(101, 1), message(102, 2), message(103, 3),
                          message(104, 4), message(105, 5)}))
                .what
              == trouble::flooded));
}

BOOST_AUTO_TEST_CASE(credit_comes_back_with_what_is_settled_by_halves) {
  BOOST_TEST(inbox.refill() == 0u);
  inbox.take(of({message(101, 1), message(102, 2), message(103, 3)}));
  BOOST_TEST(inbox.refill() == 0u);
  inbox.next_batch(3);
  inbox.settle(1);
  BOOST_TEST(inbox.refill() == 0u);
  inbox.settle(2);
  BOOST_TEST(inbox.refill() == 3u);
}

BOOST_AUTO_TEST_CASE(opening_again_starts_with_fresh_credit) {
  inbox.take(of({message(101, 1), message(102, 2)}));
  auto in_flight = inbox.next_batch(1);
  inbox.open(8, 101);
  BOOST_TEST(inbox.empty());
  BOOST_TEST(inbox.refill() == 4u);
  inbox.settle(in_flight.size());
  BOOST_TEST(inbox.refill() == 0u);
  BOOST_TEST((inbox.take(of({message(102, 1)}, 8)).what == trouble::none));
  BOOST_TEST(inbox.size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

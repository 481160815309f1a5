#include "storage/nats/shared_reader.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::storage::jetstream;
using namespace std::chrono_literals;

using outcome = shared_reader::outcome;

namespace {

struct fixture {
  fixture() : reader(stream_settings{}) {
    reader.set_incarnation("first");
    reader.begin(11, 1, ++token, now, out);
  }

  outcome answer(std::string_view payload, pull_status status = {}) {
    return reader.take_answer({token, false, std::move(status), payload}, now,
                              problem);
  }

  bool message(uint64_t stream_seq, uint64_t consumer_seq) {
    ack_subject ack;
    ack.stream_seq = stream_seq;
    ack.consumer_seq = consumer_seq;
    return reader.take(ack);
  }

  shared_reader reader;
  source_actions out;
  std::string problem;
  uint64_t token = 0;
  shared_reader::time_point now{1h};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(shared_reader_suite, fixture)

BOOST_AUTO_TEST_CASE(it_pulls_once_its_consumer_is_there) {
  BOOST_TEST(out.requests[0].what.starts_with("CONSUMER.DURABLE.CREATE."));
  BOOST_TEST(!reader.may_pull(now));
  BOOST_TEST((answer("{}") == outcome::pull));
  BOOST_TEST(reader.may_pull(now));
  reader.pull(++token, now, out);
  BOOST_TEST(!reader.may_pull(now));
  BOOST_TEST(out.requests.back().what.starts_with("CONSUMER.MSG.NEXT."));
  BOOST_TEST((answer("", {408, ""}) == outcome::pull));
  BOOST_TEST((answer("", {409, "Consumer Deleted"}) == outcome::recreate));
}

BOOST_AUTO_TEST_CASE(a_consumer_that_is_refused_or_never_comes_is_a_failure) {
  BOOST_TEST((answer(R"({"error":{"err_code":1,"description":"no"}})")
              == outcome::failed));
  BOOST_TEST(problem == "no (1)");
  BOOST_TEST(reader.overdue(now + 11s));
}

BOOST_AUTO_TEST_CASE(a_gap_is_noticed_and_the_position_stays_before_it) {
  BOOST_TEST(message(15, 1));
  BOOST_TEST(message(17, 2));
  BOOST_TEST(!message(30, 4));
  BOOST_TEST(reader.next() == 18u);
  auto old = reader.consumer();
  reader.begin(reader.next(), 2, ++token, now, out);
  BOOST_TEST(reader.consumer() != old);
  // The new consumer counts anew.
  BOOST_TEST(message(18, 1));
}

BOOST_AUTO_TEST_CASE(
  a_stream_of_another_incarnation_or_without_its_end_is_noticed) {
  stream_state state;
  state.incarnation = "first";
  state.last_seq = 10;
  BOOST_TEST(reader.reads(state, 11));
  state.last_seq = 9;
  BOOST_TEST(!reader.reads(state, 11));
  state.last_seq = 10;
  state.incarnation = "second";
  BOOST_TEST(!reader.reads(state, 11));
}

BOOST_AUTO_TEST_CASE(rewinds_keep_a_distance) {
  BOOST_TEST(!reader.may_rewind(now));
  answer("{}");
  BOOST_TEST(reader.may_rewind(now));
  reader.rewind(3, 2, ++token, now, out);
  BOOST_TEST(reader.next() == 3u);
  answer("{}");
  BOOST_TEST(!reader.may_rewind(now + 1s));
  BOOST_TEST(reader.may_rewind(now + 2s));
}

BOOST_AUTO_TEST_SUITE_END()

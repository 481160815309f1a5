#include "storage/nats/branch_slots.hpp"

#include "messages/core/error.hpp"
#include "storage/nats/consumer_config.hpp"

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::storage::jetstream;
using namespace std::chrono_literals;

namespace {

nats_settings settings_of_test() {
  nats_settings result;
  result.stream.name = "EVENTS";
  result.stream.subjects = "events.*";
  result.shared_reader_min = 2;
  result.shared_rewind_max = 100;
  return result;
}

/// The server's side of `branch_slots`, by hand.
struct fixture {
  fixture() : slots(settings_of_test(), 1000) {
    // nop
  }

  /// Takes what is to be done; deliveries add up.
  void act() {
    auto actions = slots.take_actions();
    requests = std::move(actions.requests);
    for (auto& x : actions.deliveries)
      deliveries.push_back(std::move(x));
  }

  void step(std::chrono::milliseconds later = 0ms) {
    now += later;
    slots.step(now, true);
    act();
  }

  /// The one request whose subject begins so.
  api_request request(std::string_view what) {
    std::vector<api_request> found;
    for (const auto& x : requests)
      if (x.what.starts_with(what))
        found.push_back(x);
    BOOST_REQUIRE_MESSAGE(found.size() == 1, what);
    return found[0];
  }

  bool has_request(std::string_view what) const {
    return std::any_of(requests.begin(), requests.end(),
                       [&](const auto& x) { return x.what.starts_with(what); });
  }

  void answer(const api_request& to, std::string_view payload,
              pull_status status = {}) {
    slots.take_answer({to.token, false, std::move(status), payload}, now);
    act();
  }

  void
  message(const std::string& consumer, const std::string& branch,
          uint64_t stream_seq, uint64_t consumer_seq, uint64_t pending = 1) {
    auto subject = "events." + branch;
    auto payload = fmt::format("{}:{}", branch, stream_seq);
    ack_subject ack{"EVENTS", consumer, 1, stream_seq, consumer_seq, pending};
    slots.take_message({ack, "$JS.ACK.x", subject, payload}, now);
    act();
  }

  void open_direct(const std::string& branch, uint64_t first_seq = 1) {
    slots.open_direct({branch, first_seq, 5, 0},
                      branch_consumer_name(branch, 1));
  }

  /// Opens with the shared reader; the stream ends at `last_seq`.
  void open_shared(const std::string& branch, uint64_t first_seq,
                   uint64_t last_seq) {
    stream_state end;
    end.incarnation = "first";
    end.last_seq = last_seq;
    BOOST_REQUIRE(slots.open_shared({branch, first_seq, 5, 0}, end, now));
    act();
  }

  /// The same, and the server says that the branch's last message is `own`.
  void follow(const std::string& branch, uint64_t first_seq, uint64_t last_seq,
              uint64_t own) {
    open_shared(branch, first_seq, last_seq);
    auto create
      = has_request(create_consumer) ? request(create_consumer) : api_request{};
    auto locate = request("STREAM.MSG.GET.EVENTS");
    if (create.token != 0) {
      reader = create.what.substr(create_consumer.size());
      answer(create, "{}");
    }
    answer(locate, fmt::format(R"({{"message":{{"seq":{}}}}})", own));
  }

  /// Stream sequences delivered to a branch, in order.
  std::vector<uint64_t> delivered(const std::string& branch) const {
    std::vector<uint64_t> result;
    for (const auto& x : deliveries)
      if (x.branch_id == branch)
        for (const auto& message : x.messages)
          result.push_back(message.stream_seq);
    return result;
  }

  std::string lost(const std::string& branch) const {
    for (const auto& x : deliveries)
      if (x.branch_id == branch && !x.lost.empty())
        return x.lost;
    return "";
  }

  static constexpr std::string_view create_consumer
    = "CONSUMER.DURABLE.CREATE.EVENTS.";

  branch_slots slots;
  std::vector<api_request> requests;
  std::vector<delivery> deliveries;
  std::string reader;
  branch_slots::time_point now{1h};
};

using sequences = std::vector<uint64_t>;

} // namespace

BOOST_FIXTURE_TEST_SUITE(branch_slots_suite, fixture)

BOOST_AUTO_TEST_CASE(a_direct_branch_pulls_what_was_asked_for_and_no_more) {
  open_direct("a");
  auto consumer = branch_consumer_name("a", 1);
  BOOST_REQUIRE(slots.fetch("a", 2, now));
  act();
  auto pull = request("CONSUMER.MSG.NEXT.EVENTS." + consumer);
  BOOST_TEST(pull.payload.find(R"("batch":2)") != std::string::npos);
  message(consumer, "a", 7, 1);
  message(consumer, "a", 9, 2);
  BOOST_TEST(requests.empty());
  BOOST_TEST(delivered("a") == (sequences{7, 9}),
             boost::test_tools::per_element());
  BOOST_TEST(deliveries[0].generation == 5u);
  BOOST_TEST(deliveries[0].messages[0].reply == "$JS.ACK.x");
  BOOST_TEST(*deliveries[0].messages[0].payload == "a:7");
  // Of an earlier opening.
  message(branch_consumer_name("a", 2), "a", 10, 3);
  BOOST_TEST(delivered("a").size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_refused_pull_is_made_again_a_little_later) {
  open_direct("a");
  BOOST_REQUIRE(slots.fetch("a", 1, now));
  act();
  answer(request("CONSUMER.MSG.NEXT"), "", {409, "busy"});
  BOOST_TEST(!has_request("CONSUMER.MSG.NEXT"));
  step(100ms);
  BOOST_TEST(!has_request("CONSUMER.MSG.NEXT"));
  step(100ms);
  BOOST_TEST(has_request("CONSUMER.MSG.NEXT"));
}

BOOST_AUTO_TEST_CASE(a_consumer_that_is_gone_or_says_nothing_loses_the_branch) {
  for (const auto* branch : {"a", "b"}) {
    open_direct(branch);
    BOOST_REQUIRE(slots.fetch(branch, 1, now));
  }
  auto actions = slots.take_actions();
  BOOST_REQUIRE_EQUAL(actions.requests.size(), 2u);
  answer(actions.requests[0], "", {409, "Consumer Deleted"});
  BOOST_TEST(lost("a") == "the consumer is gone (409 Consumer Deleted)");
  step(1min);
  BOOST_TEST(lost("b") == "the consumer does not answer");
  BOOST_TEST((slots.fetch("b", 1, now).error() == errc::not_found));
}

BOOST_AUTO_TEST_CASE(a_lost_connection_loses_what_was_opened_before_it) {
  open_direct("a");
  slots.open_direct({"b", 1, 5, 3}, branch_consumer_name("b", 1));
  slots.lose_connection(3);
  act();
  BOOST_TEST(lost("a") == "the connection was lost");
  BOOST_TEST(lost("b") == "");
}

BOOST_AUTO_TEST_CASE(branches_share_a_reader_from_the_set_number_on) {
  BOOST_TEST(!slots.shares());
  open_direct("a");
  BOOST_TEST(slots.shares());
}

BOOST_AUTO_TEST_CASE(the_shared_reader_holds_what_its_branch_did_not_ask_for) {
  follow("a", 11, 10, 10);
  BOOST_TEST(slots.reader_position() == 11u);
  message(reader, "a", 11, 1);
  message(reader, "b", 12, 2);
  message(reader, "a", 13, 3);
  BOOST_TEST(deliveries.empty());
  BOOST_REQUIRE(slots.fetch("a", 1, now));
  act();
  BOOST_TEST(delivered("a") == (sequences{11}),
             boost::test_tools::per_element());
  BOOST_REQUIRE(slots.fetch("a", 2, now));
  act();
  message(reader, "a", 14, 4);
  BOOST_TEST(delivered("a") == (sequences{11, 13, 14}),
             boost::test_tools::per_element());
  // To its branch the reader looks like a consumer of its own.
  uint64_t count = 0;
  for (const auto& x : deliveries)
    for (const auto& y : x.messages)
      BOOST_TEST(y.consumer_seq == ++count);
}

BOOST_AUTO_TEST_CASE(a_branch_that_takes_nothing_is_lost_and_frees_the_reader) {
  follow("a", 11, 10, 10);
  for (uint64_t i = 1; i <= 513; ++i)
    message(reader, "a", 10 + i, i);
  BOOST_TEST(lost("a") == "more came than it took");
}

BOOST_AUTO_TEST_CASE(a_gap_of_the_reader_makes_it_begin_again_before_the_gap) {
  follow("a", 11, 10, 10);
  message(reader, "a", 11, 1);
  message(reader, "a", 14, 3);
  auto create = request(create_consumer);
  BOOST_TEST(create.payload.find(R"("opt_start_seq":12)") != std::string::npos);
  BOOST_TEST(has_request("CONSUMER.DELETE.EVENTS." + reader));
}

BOOST_AUTO_TEST_CASE(the_reader_rewinds_for_a_branch_that_is_a_little_behind) {
  follow("a", 51, 100, 90);
  BOOST_REQUIRE(slots.fetch("a", 10, now));
  act();
  step(50ms);
  BOOST_TEST(!has_request(create_consumer));
  step(50ms);
  auto create = request(create_consumer);
  BOOST_TEST(create.payload.find(R"("opt_start_seq":51)") != std::string::npos);
  reader = create.what.substr(create_consumer.size());
  answer(create, "{}");
  message(reader, "a", 90, 1);
  BOOST_TEST(delivered("a") == (sequences{90}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_branch_that_is_far_behind_reads_by_itself_then_joins) {
  follow("a", 11, 1000, 900);
  BOOST_REQUIRE(slots.fetch("a", 10, now));
  act();
  step(100ms);
  auto create = request(create_consumer);
  auto consumer = create.what.substr(create_consumer.size());
  BOOST_TEST(branch_of_consumer(consumer) == "a");
  answer(create, "{}");
  BOOST_TEST(has_request("CONSUMER.MSG.NEXT.EVENTS." + consumer));
  message(consumer, "a", 800, 1);
  message(consumer, "a", 900, 2, 0);
  BOOST_TEST(has_request("CONSUMER.DELETE.EVENTS." + consumer));
  answer(request("STREAM.MSG.GET.EVENTS"), R"({"message":{"seq":900}})");
  message(reader, "a", 1001, 1);
  BOOST_TEST(delivered("a") == (sequences{800, 900, 1001}),
             boost::test_tools::per_element());
  BOOST_TEST(lost("a") == "");
}

BOOST_AUTO_TEST_CASE(
  a_message_that_passes_while_the_server_is_asked_is_fetched) {
  open_shared("a", 11, 10);
  auto create = request(create_consumer);
  auto locate = request("STREAM.MSG.GET.EVENTS");
  reader = create.what.substr(create_consumer.size());
  answer(create, "{}");
  message(reader, "a", 11, 1);
  answer(locate, R"({"error":{"err_code":10037,"description":"none"}})");
  step(100ms);
  // Back for what the reader met before the branch followed it.
  create = request(create_consumer);
  BOOST_TEST(create.payload.find(R"("opt_start_seq":11)") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(another_stream_loses_the_readers_branches) {
  follow("a", 11, 10, 10);
  open_direct("b");
  stream_state state;
  state.incarnation = "first";
  state.last_seq = 10;
  slots.check_stream(11, state);
  act();
  BOOST_TEST(deliveries.empty());
  state.incarnation = "second";
  slots.check_stream(11, state);
  act();
  BOOST_TEST(lost("a") == "the stream is another");
  BOOST_TEST(lost("b") == "");
  BOOST_TEST(slots.reader_position() == 0u);
}

BOOST_AUTO_TEST_CASE(the_last_branch_takes_the_reader_with_it) {
  follow("a", 11, 10, 10);
  slots.close("a");
  act();
  BOOST_TEST(has_request("CONSUMER.DELETE.EVENTS." + reader));
  BOOST_TEST(slots.reader_position() == 0u);
  // Without it, and without the stream's end, nobody knows where to begin.
  auto opened = slots.open_shared({"b", 1, 1, 0}, std::nullopt, now);
  BOOST_TEST((!opened && opened.error() == errc::unavailable));
}

BOOST_AUTO_TEST_SUITE_END()

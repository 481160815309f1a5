#include "storage/nats/consumer_config.hpp"

#include "messages/codec/json.hpp"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::storage::jetstream;
using namespace std::chrono_literals;

namespace {

std::string_view text_of(const json_value& config, std::string_view name) {
  const auto* x = config.find(name);
  return x != nullptr ? x->text : "none";
}

stream_settings events() {
  stream_settings result;
  result.name = "EVENTS";
  result.subjects = "events.*.made";
  return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(consumer_config_suite)

BOOST_AUTO_TEST_CASE(the_name_of_a_branchs_consumer_gives_the_branch_back) {
  for (const auto* branch : {"b", "branch-1", "a-000000000001"}) {
    auto name = branch_consumer_name(branch, 1);
    BOOST_TEST(branch_of_consumer(name) == branch);
    BOOST_TEST(branch_consumer_name(branch, 2) != name);
    // Digits beyond those of the name are cut.
    BOOST_TEST(branch_consumer_name(branch, (uint64_t{1} << 48) + 1) == name);
  }
  for (const auto* other :
       {"", "shard-", "shard-b", "reader-000000000001", "shard-000000000001"})
    BOOST_TEST(branch_of_consumer(other) == "", other);
  BOOST_TEST(branch_of_consumer(reader_consumer_name(1)) == "");
}

BOOST_AUTO_TEST_CASE(a_branch_takes_the_place_of_the_star) {
  BOOST_TEST(branch_subject("events.*.made", "b-1") == "events.b-1.made");
  BOOST_TEST(branch_subject("events.all", "b-1") == "events.all");
}

BOOST_AUTO_TEST_CASE(a_branchs_consumer_reads_its_subject_and_acknowledges) {
  json_document document;
  BOOST_REQUIRE_EQUAL(
    document.parse(branch_consumer_config(events(), "b-1", "c", 17)), "");
  BOOST_TEST(text_of(document.root(), "stream_name") == "EVENTS");
  const auto& config = *document.root().find("config");
  BOOST_TEST(text_of(config, "durable_name") == "c");
  BOOST_TEST(text_of(config, "filter_subject") == "events.b-1.made");
  BOOST_TEST(text_of(config, "deliver_policy") == "by_start_sequence");
  BOOST_TEST(text_of(config, "opt_start_seq") == "17");
  BOOST_TEST(text_of(config, "ack_policy") == "all");
  BOOST_TEST(text_of(config, "max_ack_pending")
             == std::to_string(ack_pending_max));
}

BOOST_AUTO_TEST_CASE(the_readers_consumer_reads_all_and_acknowledges_nothing) {
  json_document document;
  // Sequences begin at 1.
  BOOST_REQUIRE_EQUAL(document.parse(reader_consumer_config(events(), "r", 0)),
                      "");
  const auto& config = *document.root().find("config");
  BOOST_TEST(text_of(config, "filter_subject") == "events.*.made");
  BOOST_TEST(text_of(config, "opt_start_seq") == "1");
  BOOST_TEST(text_of(config, "ack_policy") == "none");
  BOOST_TEST((config.find("max_ack_pending") == nullptr));
}

BOOST_AUTO_TEST_CASE(requests_are_what_the_api_wants) {
  BOOST_TEST(pull_request(20, 15s) == R"({"batch":20,"expires":15000000000})");
  BOOST_TEST(last_message_request("a.b") == R"({"last_by_subj":"a.b"})");
  BOOST_TEST(consumer_operation("DELETE", "EVENTS", "c")
             == "CONSUMER.DELETE.EVENTS.c");
}

BOOST_AUTO_TEST_SUITE_END()

#include "storage/ports/event_stream.hpp"

#include "messages/core/error.hpp"
#include "storage/nats/jetstream_api.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage;
using namespace std::chrono_literals;

namespace {

constexpr auto timeout = 30s;

template <class T>
std::string why(const caf::expected<T>& x) {
  return x ? "" : describe(x.error());
}

template <class T>
bool fails_with(const caf::expected<T>& x, errc code) {
  return !x && x.error() == code;
}

/// What callbacks of other threads leave behind.
template <class T>
class mailbox {
public:
  void put(std::vector<T> xs) {
    std::lock_guard guard{mutex_};
    for (auto& x : xs)
      items_.push_back(std::move(x));
    changed_.notify_all();
  }

  /// Waits until `enough(items)`, then takes them all.
  template <class Predicate>
  std::vector<T> take_when(Predicate enough) {
    std::unique_lock guard{mutex_};
    bool ok = changed_.wait_for(guard, timeout, [&] { return enough(items_); });
    BOOST_REQUIRE_MESSAGE(ok, "nothing came, or too little");
    return std::exchange(items_, {});
  }

  std::vector<T> take(size_t count) {
    return take_when([=](const auto& xs) { return xs.size() >= count; });
  }

  size_t size() {
    std::lock_guard guard{mutex_};
    return items_.size();
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<T> items_;
};

size_t messages_in(const std::vector<delivery>& xs) {
  size_t result = 0;
  for (const auto& x : xs)
    result += x.messages.size();
  return result;
}

std::string branch_name(size_t number) {
  return fmt::format("branch-{}", number);
}

/// A stream of its own for each case.
struct fixture {
  fixture() {
    static int count = 0;
    auto name = fmt::format("S{}", ++count);
    settings.url = test::nats().nats_url();
    settings.stream.name = name;
    settings.stream.subjects = name + ".created.*";
    settings.stream.bytes_max = 64 << 20;
    auto made = ensure_stream(settings);
    BOOST_REQUIRE_MESSAGE(made, why(made));
  }

  event_publisher_ptr publisher() {
    auto result = connect_publisher(
      settings, [this](auto xs) { acks.put(std::move(xs)); });
    BOOST_REQUIRE_MESSAGE(result, why(result));
    return std::move(*result);
  }

  event_source_ptr source() {
    auto result = connect_source(
      settings, [this](auto xs) { deliveries.put(std::move(xs)); });
    BOOST_REQUIRE_MESSAGE(result, why(result));
    return std::move(*result);
  }

  std::string subject(const std::string& branch) const {
    return fmt::format("{}.created.{}", settings.stream.name, branch);
  }

  /// The consumers of a branch that the server knows.
  std::vector<std::string> consumers(const std::string& branch) const {
    std::vector<std::string> result;
    auto link = jetstream::broker_link::open(settings);
    BOOST_REQUIRE(link);
    auto names
      = jetstream::ask(**link, "CONSUMER.NAMES." + settings.stream.name);
    BOOST_REQUIRE_MESSAGE(names, why(names));
    for (const auto& name : names->root().find("consumers")->elements)
      if (name.text.starts_with("shard-" + branch + "-"))
        result.emplace_back(name.text);
    return result;
  }

  /// Publishes `count` events and waits until they are stored.
  void store(event_publisher& to, const std::string& branch, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      ++token;
      auto sent
        = to.publish(token, subject(branch), fmt::format("id-{}", token),
                     fmt::format("{}:{}", branch, i));
      BOOST_REQUIRE_MESSAGE(sent, why(sent));
    }
    for (const auto& ack : acks.take(count))
      BOOST_REQUIRE_EQUAL(ack.error, "");
  }

  void open(event_source& source, const std::string& branch,
            uint64_t first_seq = 1, uint64_t generation = 1) {
    auto opened = source.open(branch, first_seq, generation);
    BOOST_REQUIRE_MESSAGE(opened, why(opened));
  }

  std::vector<delivered_message>
  pull(event_source& source, const std::string& branch, size_t count) {
    BOOST_REQUIRE(source.fetch(branch, count));
    auto got = deliveries.take_when([&](const auto& xs) {
      return messages_in(xs) >= count
             || std::any_of(xs.begin(), xs.end(),
                            [](const auto& x) { return !x.lost.empty(); });
    });
    std::vector<delivered_message> result;
    for (auto& x : got) {
      BOOST_CHECK_EQUAL(x.branch_id, branch);
      BOOST_REQUIRE_EQUAL(x.lost, "");
      for (auto& message : x.messages)
        result.push_back(std::move(message));
    }
    BOOST_REQUIRE_EQUAL(result.size(), count);
    return result;
  }

  nats_settings settings;
  mailbox<publish_ack> acks;
  mailbox<delivery> deliveries;
  uint64_t token = 0;
};

template <class Predicate>
bool eventually(Predicate condition) {
  auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

struct stopped_broker {
  stopped_broker() {
    BOOST_REQUIRE(test::nats().stop_nats(false));
  }
  ~stopped_broker() {
    start();
  }
  void start() {
    auto started = test::nats().start_nats();
    BOOST_REQUIRE_MESSAGE(started, why(started));
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(event_stream_suite)

BOOST_FIXTURE_TEST_SUITE(streams, fixture)

BOOST_AUTO_TEST_CASE(the_stream_is_made_once_and_keeps_its_incarnation) {
  auto first = ensure_stream(settings);
  auto second = ensure_stream(settings);
  BOOST_REQUIRE_MESSAGE(first && second, why(first));
  BOOST_CHECK(!first->incarnation.empty());
  BOOST_CHECK_EQUAL(first->incarnation, second->incarnation);
  BOOST_CHECK_EQUAL(first->last_seq, 0U);
  BOOST_CHECK_EQUAL(first->bytes_max, 64 << 20);
}

BOOST_AUTO_TEST_CASE(changed_settings_reach_the_stream) {
  settings.stream.bytes_max = 96 << 20;
  settings.stream.age_max_days = 9;
  auto grown = ensure_stream(settings);
  BOOST_REQUIRE_MESSAGE(grown, why(grown));
  BOOST_CHECK_EQUAL(grown->bytes_max, 96 << 20);
}

BOOST_AUTO_TEST_CASE(a_stream_larger_than_the_disk_becomes_smaller) {
  settings.stream.name += "-big";
  settings.stream.subjects = settings.stream.name + ".created.*";
  settings.stream.bytes_max = int64_t{1} << 55;
  auto made = ensure_stream(settings);
  BOOST_REQUIRE_MESSAGE(made, why(made));
  BOOST_CHECK(made->bytes_max < settings.stream.bytes_max);
  BOOST_CHECK(made->bytes_max >= 64 << 20);
  auto again = ensure_stream(settings);
  BOOST_REQUIRE_MESSAGE(again, why(again));
  BOOST_CHECK_EQUAL(again->bytes_max, made->bytes_max);
  auto link = jetstream::broker_link::open(settings);
  BOOST_REQUIRE(link);
  BOOST_REQUIRE(
    jetstream::ask(**link, "STREAM.DELETE." + settings.stream.name));
}

BOOST_AUTO_TEST_CASE(impossible_settings_are_refused) {
  auto bad = settings;
  bad.stream.name = "A.*";
  BOOST_CHECK(fails_with(ensure_stream(bad), errc::invalid));
  bad = settings;
  bad.stream.replicas = 0;
  BOOST_CHECK(fails_with(ensure_stream(bad), errc::invalid));
  bad = settings;
  bad.url = "nats://127.0.0.1:1";
  BOOST_CHECK(fails_with(ensure_stream(bad), errc::unavailable));
  BOOST_CHECK(
    fails_with(connect_publisher(bad, [](auto) {}), errc::unavailable));
  BOOST_CHECK(fails_with(connect_source(bad, [](auto) {}), errc::unavailable));
}

BOOST_AUTO_TEST_CASE(published_events_are_acknowledged_in_order) {
  auto to = publisher();
  BOOST_CHECK(to->connected());
  for (uint64_t i = 1; i <= 500; ++i)
    BOOST_REQUIRE(
      to->publish(i, subject("b"), fmt::format("m{}", i), R"({"x":1})"));
  auto got = acks.take(500);
  BOOST_REQUIRE_EQUAL(got.size(), 500U);
  std::map<uint64_t, uint64_t> seqs;
  for (const auto& ack : got) {
    BOOST_CHECK_EQUAL(ack.error, "");
    BOOST_CHECK(!ack.duplicate);
    seqs[ack.token] = ack.stream_seq;
  }
  for (const auto& [number, seq] : seqs)
    BOOST_CHECK_EQUAL(number, seq);
}

BOOST_AUTO_TEST_CASE(the_same_message_id_is_stored_once) {
  auto to = publisher();
  BOOST_REQUIRE(to->publish(1, subject("b"), "same", "x"));
  auto first = acks.take(1);
  BOOST_REQUIRE(to->publish(2, subject("b"), "same", "x"));
  auto second = acks.take(1);
  BOOST_CHECK(!first[0].duplicate);
  BOOST_CHECK(second[0].duplicate);
  BOOST_CHECK_EQUAL(second[0].error, "");
  BOOST_CHECK_EQUAL(first[0].stream_seq, second[0].stream_seq);
}

BOOST_AUTO_TEST_CASE(a_subject_without_a_stream_is_an_error) {
  auto to = publisher();
  BOOST_REQUIRE(to->publish(7, "nobody.listens", "id", "x"));
  auto got = acks.take(1);
  BOOST_CHECK_EQUAL(got[0].token, 7U);
  BOOST_CHECK(!got[0].error.empty());
}

BOOST_AUTO_TEST_CASE(a_full_stream_refuses_and_says_so) {
  settings.stream.bytes_max = 64 << 10;
  BOOST_REQUIRE(ensure_stream(settings));
  auto to = publisher();
  std::string big(10'000, 'x');
  for (uint64_t i = 1; i <= 20; ++i)
    BOOST_REQUIRE(to->publish(i, subject("b"), fmt::format("m{}", i), big));
  auto got = acks.take(20);
  auto refused = std::count_if(got.begin(), got.end(), [](const auto& ack) {
    return ack.error.find("maximum bytes") != std::string::npos;
  });
  BOOST_CHECK_GT(refused, 0);
  BOOST_CHECK_LT(refused, 20);
}

BOOST_AUTO_TEST_CASE(what_would_break_the_protocol_is_never_sent) {
  auto to = publisher();
  for (const char* bad : {"", "a b", "a\r\nPUB x 0\r\n\r\n", "a\tb", "a\x7f"}) {
    auto sent = to->publish(1, bad, "id", "x");
    BOOST_CHECK_MESSAGE(!sent && sent.error() == errc::invalid, bad);
    sent = to->publish(1, subject("b"), bad, "x");
    BOOST_CHECK_MESSAGE(!sent && sent.error() == errc::invalid, bad);
  }
  store(*to, "b", 1);
}

BOOST_AUTO_TEST_CASE(messages_come_in_order_with_their_numbers) {
  auto to = publisher();
  auto from = source();
  store(*to, "b", 5);
  store(*to, "other", 3);
  store(*to, "b", 5);
  open(*from, "b", 1, 42);
  auto got = pull(*from, "b", 10);
  for (size_t i = 0; i < got.size(); ++i) {
    BOOST_CHECK_EQUAL(*got[i].payload, fmt::format("b:{}", i % 5));
    BOOST_CHECK_EQUAL(got[i].consumer_seq, i + 1);
    BOOST_CHECK_EQUAL(got[i].stream_seq, i < 5 ? i + 1 : i + 4);
    BOOST_CHECK_EQUAL(got[i].delivery, 1U);
  }
  auto state = from->state();
  BOOST_REQUIRE_MESSAGE(state, why(state));
  BOOST_CHECK_EQUAL(state->last_seq, 13U);
  BOOST_CHECK_EQUAL(state->messages, 13U);
}

BOOST_AUTO_TEST_CASE(a_request_waits_for_messages_that_come_later) {
  auto to = publisher();
  auto from = source();
  open(*from, "b", 1, 42);
  BOOST_REQUIRE(from->fetch("b", 2));
  BOOST_REQUIRE(from->fetch("b", 3));
  store(*to, "b", 9);
  auto got
    = deliveries.take_when([](const auto& xs) { return messages_in(xs) >= 5; });
  BOOST_CHECK_EQUAL(messages_in(got), 5U);
  for (const auto& x : got)
    BOOST_CHECK_EQUAL(x.generation, 42U);
  // Nothing beyond what was asked for: the next ones follow without a gap.
  auto rest = pull(*from, "b", 4);
  BOOST_CHECK_EQUAL(rest.front().consumer_seq, 6U);
  BOOST_CHECK_EQUAL(rest.back().consumer_seq, 9U);
}

BOOST_AUTO_TEST_CASE(more_than_one_request_holds_is_asked_for_in_parts) {
  auto to = publisher();
  auto from = source();
  store(*to, "b", 2500);
  open(*from, "b");
  auto got = pull(*from, "b", 2500);
  BOOST_CHECK_EQUAL(got.back().consumer_seq, 2500U);
}

BOOST_AUTO_TEST_CASE(a_branch_opens_again_at_any_sequence) {
  auto to = publisher();
  auto from = source();
  store(*to, "b", 10);
  open(*from, "b");
  pull(*from, "b", 4);
  open(*from, "b", 8, 2);
  auto got = pull(*from, "b", 3);
  BOOST_CHECK_EQUAL(got[0].stream_seq, 8U);
  BOOST_CHECK_EQUAL(got[0].consumer_seq, 1U);
  BOOST_CHECK_EQUAL(got[0].delivery, 1U);
  // Beyond the end: what comes next.
  open(*from, "b", 11, 3);
  BOOST_REQUIRE(from->fetch("b", 1));
  store(*to, "b", 1);
  auto next = deliveries.take(1);
  BOOST_REQUIRE_EQUAL(next[0].messages.size(), 1U);
  BOOST_CHECK_EQUAL(next[0].messages[0].stream_seq, 11U);
  BOOST_CHECK_EQUAL(next[0].generation, 3U);
}

BOOST_AUTO_TEST_CASE(refused_messages_come_again_with_a_higher_number) {
  auto to = publisher();
  auto from = source();
  store(*to, "b", 2);
  open(*from, "b");
  auto first = pull(*from, "b", 2);
  // A negative acknowledgement stands for a time-out, which is long.
  auto link = jetstream::broker_link::open(settings);
  BOOST_REQUIRE(link);
  BOOST_REQUIRE((*link)->send(first[0].reply, {}, "-NAK"));
  auto again = pull(*from, "b", 1);
  BOOST_CHECK_EQUAL(again[0].stream_seq, first[0].stream_seq);
  BOOST_CHECK_EQUAL(again[0].delivery, 2U);
  BOOST_CHECK_EQUAL(again[0].consumer_seq, 3U);
}

BOOST_AUTO_TEST_CASE(acknowledged_messages_are_settled) {
  auto to = publisher();
  auto from = source();
  store(*to, "b", 20);
  open(*from, "b");
  std::vector<std::string> replies{"not.an.ack", ""};
  for (const auto& message : pull(*from, "b", 20))
    replies.push_back(message.reply);
  from->ack(replies);
  auto link = jetstream::broker_link::open(settings);
  BOOST_REQUIRE(link);
  BOOST_CHECK(eventually([&] {
    auto info = jetstream::ask(**link, fmt::format("CONSUMER.INFO.{}.{}",
                                                   settings.stream.name,
                                                   consumers("b").at(0)));
    return info && jetstream::number(info->root(), "num_ack_pending") == 0;
  }));
}

BOOST_AUTO_TEST_CASE(three_hundred_branches_share_one_source) {
  constexpr size_t branches = 300;
  auto to = publisher();
  auto from = source();
  for (size_t i = 0; i < branches; ++i) {
    open(*from, branch_name(i), 1, i);
    BOOST_REQUIRE(from->fetch(branch_name(i), 3));
  }
  for (size_t i = 0; i < branches; ++i)
    store(*to, branch_name(i), 3);
  auto got = deliveries.take_when(
    [](const auto& xs) { return messages_in(xs) >= 3 * branches; });
  std::map<std::string, size_t> counts;
  for (const auto& x : got) {
    BOOST_CHECK_EQUAL(x.lost, "");
    BOOST_CHECK_EQUAL(branch_name(x.generation), x.branch_id);
    for (const auto& message : x.messages)
      BOOST_CHECK_EQUAL(*message.payload, fmt::format("{}:{}", x.branch_id,
                                                      counts[x.branch_id]++));
  }
  BOOST_CHECK_EQUAL(counts.size(), branches);
}

// -- many branches share a reader ---------------------------------------------

BOOST_AUTO_TEST_CASE(branches_that_share_have_no_consumers_of_their_own) {
  settings.shared_reader_min = 1;
  auto to = publisher();
  auto from = source();
  open(*from, "branch-1");
  open(*from, "branch-2", 1, 7);
  BOOST_REQUIRE(from->fetch("branch-1", 10));
  BOOST_REQUIRE(from->fetch("branch-2", 10));
  store(*to, "branch-1", 2);
  store(*to, "branch-2", 1);
  store(*to, "branch-3", 1); // Somebody else's.
  store(*to, "branch-1", 1);
  auto got
    = deliveries.take_when([](const auto& xs) { return messages_in(xs) >= 4; });
  std::map<std::string, std::vector<delivered_message>> by_branch;
  for (auto& x : got) {
    BOOST_REQUIRE_EQUAL(x.lost, "");
    BOOST_CHECK_EQUAL(x.generation, x.branch_id == "branch-2" ? 7u : 1u);
    for (auto& message : x.messages)
      by_branch[x.branch_id].push_back(message);
  }
  BOOST_REQUIRE_EQUAL(by_branch["branch-1"].size(), 3u);
  BOOST_REQUIRE_EQUAL(by_branch["branch-2"].size(), 1u);
  for (size_t i = 0; i < 3; ++i) {
    const auto& x = by_branch["branch-1"][i];
    BOOST_CHECK_EQUAL(x.consumer_seq, i + 1);
    BOOST_CHECK_EQUAL(x.delivery, 1u);
    BOOST_CHECK_EQUAL(x.stream_seq, i < 2 ? i + 1 : 5);
    BOOST_CHECK_EQUAL(*x.payload, fmt::format("branch-1:{}", i < 2 ? i : 0));
  }
  BOOST_CHECK(consumers("branch-1").empty());
  BOOST_CHECK(consumers("branch-2").empty());
}

BOOST_AUTO_TEST_CASE(a_shared_branch_gets_no_more_than_it_asked_for) {
  settings.shared_reader_min = 1;
  auto to = publisher();
  auto from = source();
  open(*from, "branch-1");
  store(*to, "branch-1", 10);
  auto first = pull(*from, "branch-1", 4);
  BOOST_CHECK_EQUAL(first.back().stream_seq, 4u);
  auto second = pull(*from, "branch-1", 6);
  BOOST_CHECK_EQUAL(second.front().stream_seq, 5u);
  BOOST_CHECK_EQUAL(second.back().consumer_seq, 10u);
  BOOST_CHECK_EQUAL(deliveries.size(), 0u);
}

BOOST_AUTO_TEST_CASE(branches_behind_the_shared_reader_have_it_go_back) {
  settings.shared_reader_min = 1;
  auto to = publisher();
  for (int round = 0; round < 5; ++round)
    for (size_t i = 0; i < 40; ++i)
      store(*to, branch_name(i), 1);
  auto from = source();
  // Each has been told of two of its messages before.
  for (size_t i = 0; i < 40; ++i) {
    open(*from, branch_name(i), 81);
    BOOST_REQUIRE(from->fetch(branch_name(i), 100));
  }
  store(*to, branch_name(7), 1);
  auto got = deliveries.take_when(
    [](const auto& xs) { return messages_in(xs) >= 3 * 40 + 1; });
  std::map<std::string, std::vector<uint64_t>> by_branch;
  for (const auto& x : got) {
    BOOST_REQUIRE_EQUAL(x.lost, "");
    for (const auto& message : x.messages) {
      auto& seqs = by_branch[x.branch_id];
      BOOST_CHECK(seqs.empty() || seqs.back() < message.stream_seq);
      seqs.push_back(message.stream_seq);
      BOOST_CHECK_EQUAL(message.consumer_seq, seqs.size());
    }
  }
  for (size_t i = 0; i < 40; ++i) {
    const auto& seqs = by_branch[branch_name(i)];
    BOOST_CHECK_EQUAL(seqs.size(), i == 7 ? 4u : 3u);
    BOOST_CHECK_EQUAL(seqs.front(), 81 + i);
  }
}

BOOST_AUTO_TEST_CASE(a_branch_far_behind_the_shared_reader_reads_by_itself) {
  settings.shared_reader_min = 1;
  settings.shared_rewind_max = 10;
  auto to = publisher();
  store(*to, "branch-1", 5);
  store(*to, "branch-2", 50);
  auto from = source();
  open(*from, "branch-2", 56);
  BOOST_REQUIRE(from->fetch("branch-2", 100));
  open(*from, "branch-1");
  auto old = pull(*from, "branch-1", 5);
  BOOST_CHECK_EQUAL(old.back().stream_seq, 5u);
  // With nothing left it follows the others.
  BOOST_TEST(eventually([&] { return consumers("branch-1").empty(); }));
  store(*to, "branch-1", 2);
  auto fresh = pull(*from, "branch-1", 2);
  BOOST_CHECK_EQUAL(fresh[0].stream_seq, 56u);
  BOOST_CHECK_EQUAL(fresh[1].consumer_seq, 7u);
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_another_is_told_to_those_who_share) {
  settings.shared_reader_min = 1;
  auto to = publisher();
  store(*to, "branch-1", 5);
  auto from = source();
  open(*from, "branch-1", 6);
  BOOST_REQUIRE(from->state());
  BOOST_CHECK_EQUAL(deliveries.size(), 0u);
  auto link = jetstream::broker_link::open(settings);
  BOOST_REQUIRE(link);
  BOOST_REQUIRE(
    jetstream::ask(**link, "STREAM.DELETE." + settings.stream.name));
  BOOST_REQUIRE(ensure_stream(settings));
  // The reader may find out by itself, too.
  BOOST_REQUIRE(from->state());
  auto got = deliveries.take(1);
  BOOST_CHECK_NE(got[0].lost, "");
  open(*from, "branch-1", 1, 2);
  store(*to, "branch-1", 1);
  BOOST_CHECK_EQUAL(pull(*from, "branch-1", 1)[0].stream_seq, 1u);
}

BOOST_AUTO_TEST_CASE(the_last_message_of_a_branch_is_told) {
  auto to = publisher();
  auto from = source();
  BOOST_CHECK((from->last_seq("branch-1") == uint64_t{0}));
  store(*to, "branch-1", 2);
  store(*to, "branch-2", 1);
  BOOST_CHECK((from->last_seq("branch-1") == uint64_t{2}));
  BOOST_CHECK((from->last_seq("branch-2") == uint64_t{3}));
  BOOST_CHECK(fails_with(from->last_seq("not a branch"), errc::invalid));
}

BOOST_AUTO_TEST_CASE(a_closed_branch_says_no_more) {
  auto to = publisher();
  auto from = source();
  open(*from, "b");
  open(*from, "c");
  BOOST_REQUIRE(from->fetch("b", 1));
  from->close("b");
  BOOST_CHECK(fails_with(from->fetch("b", 1), errc::not_found));
  store(*to, "b", 1);
  store(*to, "c", 1);
  pull(*from, "c", 1);
}

BOOST_AUTO_TEST_CASE(a_consumer_of_an_earlier_opening_is_replaced) {
  auto to = publisher();
  auto first = source();
  open(*first, "b", 1, 1);
  auto earlier = consumers("b");
  BOOST_REQUIRE_EQUAL(earlier.size(), 1U);
  open(*first, "b", 1, 2);
  // The old one goes without being waited for.
  BOOST_CHECK(eventually([&] { return consumers("b").size() == 1; }));
  BOOST_CHECK(consumers("b") != earlier);
  // Another node opens the branch: neither takes the other's messages.
  auto second = source();
  open(*second, "b", 1, 3);
  store(*to, "b", 2);
  BOOST_CHECK_EQUAL(pull(*first, "b", 2).size(), 2U);
  BOOST_CHECK_EQUAL(pull(*second, "b", 2).size(), 2U);
}

BOOST_AUTO_TEST_CASE(a_lost_consumer_is_reported) {
  auto from = source();
  open(*from, "asking");
  open(*from, "idle");
  BOOST_REQUIRE(from->fetch("asking", 1));
  auto link = jetstream::broker_link::open(settings);
  BOOST_REQUIRE(link);
  auto remove = [&](const char* branch) {
    auto done = jetstream::ask(**link, fmt::format("CONSUMER.DELETE.{}.{}",
                                                   settings.stream.name,
                                                   consumers(branch).at(0)));
    BOOST_REQUIRE_MESSAGE(done && done->error.empty(), why(done));
  };
  remove("asking");
  auto got = deliveries.take(1);
  BOOST_CHECK_EQUAL(got[0].branch_id, "asking");
  BOOST_CHECK(!got[0].lost.empty());
  // One that asks for nothing notices when it asks.
  remove("idle");
  BOOST_REQUIRE(from->fetch("idle", 1));
  got = deliveries.take(1);
  BOOST_CHECK_EQUAL(got[0].branch_id, "idle");
  BOOST_CHECK(!got[0].lost.empty());
}

BOOST_AUTO_TEST_CASE(a_deleted_stream_is_reported) {
  auto from = source();
  open(*from, "b", 1, 5);
  BOOST_REQUIRE(from->fetch("b", 1));
  auto link = jetstream::broker_link::open(settings);
  BOOST_REQUIRE(link);
  BOOST_REQUIRE(
    jetstream::ask(**link, "STREAM.DELETE." + settings.stream.name));
  auto got = deliveries.take(1);
  BOOST_CHECK_EQUAL(got[0].generation, 5U);
  BOOST_CHECK(!got[0].lost.empty());
  BOOST_CHECK(fails_with(from->state(), errc::not_found));
  BOOST_CHECK(fails_with(from->open("b", 1, 6), errc::not_found));
}

BOOST_AUTO_TEST_CASE(a_broker_that_restarts_is_found_again) {
  auto to = publisher();
  auto from = source();
  store(*to, "b", 3);
  open(*from, "b");
  pull(*from, "b", 2);
  auto before = from->state();
  BOOST_REQUIRE(before);
  {
    stopped_broker gap;
    BOOST_CHECK(
      eventually([&] { return !to->connected() && !from->connected(); }));
    auto sent = to->publish(900, subject("b"), "lost", "x");
    BOOST_CHECK(!sent && sent.error() == errc::unavailable);
    auto opened = from->open("b", 3, 2);
    BOOST_CHECK(!opened && opened.error() == errc::unavailable);
    BOOST_CHECK(!from->state());
  }
  // `open` forgot the branch; only one that was open says 'lost'.
  BOOST_CHECK(eventually([&] { return to->connected() && from->connected(); }));
  open(*from, "b", 3, 3);
  store(*to, "b", 1);
  auto got = pull(*from, "b", 2);
  BOOST_CHECK_EQUAL(got[0].stream_seq, 3U);
  BOOST_CHECK_EQUAL(got[1].stream_seq, 4U);
  auto after = from->state();
  BOOST_REQUIRE(after);
  BOOST_CHECK_EQUAL(before->incarnation, after->incarnation);
  BOOST_CHECK_EQUAL(acks.size(), 0U);
}

BOOST_AUTO_TEST_CASE(a_lost_connection_is_said_for_every_open_branch) {
  auto from = source();
  open(*from, "b", 1, 1);
  open(*from, "c", 1, 2);
  BOOST_REQUIRE(from->fetch("b", 1));
  { stopped_broker gap; }
  auto got = deliveries.take(2);
  BOOST_REQUIRE_EQUAL(got.size(), 2U);
  BOOST_CHECK_EQUAL(got[0].branch_id, "b");
  BOOST_CHECK_EQUAL(got[1].branch_id, "c");
  for (const auto& x : got)
    BOOST_CHECK(!x.lost.empty());
}

BOOST_AUTO_TEST_CASE(events_under_way_at_a_crash_are_answered_or_given_up) {
  auto to = publisher();
  constexpr uint64_t count = 2000;
  std::string payload(1000, 'x');
  uint64_t sent = 0;
  for (uint64_t i = 1; i <= count; ++i)
    sent
      += to->publish(i, subject("b"), fmt::format("c{}", i), payload) ? 1 : 0;
  BOOST_REQUIRE(test::nats().stop_nats(true));
  BOOST_REQUIRE(test::nats().start_nats());
  auto got = acks.take(sent);
  BOOST_CHECK_EQUAL(got.size(), sent);
  BOOST_CHECK(eventually([&] { return to->connected(); }));
  store(*to, "b", 1);
}

BOOST_AUTO_TEST_CASE(payloads_pass_untouched_whatever_they_hold) {
  auto to = publisher();
  auto from = source();
  std::string every_byte;
  for (int i = 0; i < 256; ++i)
    every_byte += static_cast<char>(i);
  const std::vector<std::string> payloads{
    "", every_byte, "\r\nMSG x 1 1\r\n", std::string(900'000, 'z'), "{",
  };
  for (const auto& payload : payloads) {
    ++token;
    BOOST_REQUIRE(
      to->publish(token, subject("b"), fmt::format("p{}", token), payload));
  }
  acks.take(payloads.size());
  // Headers that look like the server's own words.
  natsMsg* raw = nullptr;
  BOOST_REQUIRE_EQUAL(
    natsMsg_Create(&raw, subject("b").c_str(), nullptr, nullptr, 0), NATS_OK);
  jetstream::message_ptr msg{raw};
  natsMsgHeader_Set(raw, "Status", "503");
  natsConnection* connection = nullptr;
  BOOST_REQUIRE_EQUAL(
    natsConnection_ConnectTo(&connection, settings.url.c_str()), NATS_OK);
  BOOST_CHECK_EQUAL(natsConnection_PublishMsg(connection, raw), NATS_OK);
  natsConnection_Flush(connection);
  natsConnection_Destroy(connection);
  open(*from, "b");
  auto got = pull(*from, "b", payloads.size() + 1);
  for (size_t i = 0; i < payloads.size(); ++i)
    BOOST_CHECK(*got[i].payload == payloads[i]);
  BOOST_CHECK_EQUAL(*got.back().payload, "");
}

BOOST_AUTO_TEST_CASE(a_payload_beyond_the_servers_limit_is_refused_alone) {
  auto to = publisher();
  auto sent = to->publish(1, subject("b"), "big", std::string(2 << 20, 'x'));
  BOOST_CHECK(!sent);
  store(*to, "b", 1);
}

BOOST_AUTO_TEST_CASE(a_scan_sees_everything_once_in_order) {
  auto to = publisher();
  for (size_t i = 0; i < 3; ++i)
    store(*to, branch_name(i), 1100);
  uint64_t expected = 0;
  std::map<std::string, size_t> counts;
  auto done = scan_stream(settings, [&](auto subject, auto seq, auto payload) {
    BOOST_CHECK_EQUAL(seq, ++expected);
    auto branch = std::string{subject.substr(subject.rfind('.') + 1)};
    BOOST_CHECK_EQUAL(payload, fmt::format("{}:{}", branch, counts[branch]++));
  });
  BOOST_REQUIRE_MESSAGE(done, why(done));
  BOOST_CHECK_EQUAL(expected, 3300U);
}

BOOST_AUTO_TEST_CASE(a_scan_of_nothing_ends) {
  size_t count = 0;
  auto visit = [&](auto, auto, auto) { ++count; };
  BOOST_CHECK(scan_stream(settings, visit));
  auto link = jetstream::broker_link::open(settings);
  BOOST_REQUIRE(link);
  // A stream that was emptied still has a last sequence.
  auto to = publisher();
  store(*to, "b", 5);
  BOOST_REQUIRE(jetstream::ask(**link, "STREAM.PURGE." + settings.stream.name));
  BOOST_CHECK(scan_stream(settings, visit));
  BOOST_CHECK_EQUAL(count, 0U);
}

BOOST_AUTO_TEST_CASE(a_scan_ends_where_the_stream_ended_at_its_start) {
  auto to = publisher();
  store(*to, "b", 10);
  size_t count = 0;
  auto done = scan_stream(settings, [&](auto, auto, auto) {
    // Selling goes on while we look.
    if (++count <= 3)
      store(*to, "b", 5);
  });
  BOOST_REQUIRE_MESSAGE(done, why(done));
  BOOST_CHECK_EQUAL(count, 10U);
}

BOOST_AUTO_TEST_CASE(nothing_is_called_after_the_end) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<bool> over = false;
    std::atomic<bool> late = false;
    auto to = connect_publisher(settings, [&](auto) {
      if (over)
        late = true;
    });
    auto from = connect_source(settings, [&](auto) {
      if (over)
        late = true;
    });
    BOOST_REQUIRE(to && from);
    open(**from, "b");
    BOOST_REQUIRE((*from)->fetch("b", 1000));
    for (uint64_t i = 1; i <= 50; ++i)
      BOOST_REQUIRE(
        (*to)->publish(i, subject("b"), fmt::format("e{}-{}", round, i), "x"));
    to->reset();
    from->reset();
    over = true;
    BOOST_CHECK(!late);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(both_forms_of_acknowledgement_subjects_are_read) {
  using jetstream::parse_ack_subject;
  for (const char* text :
       {"$JS.ACK.S.shard-b.2.30.4.1700000000000000000.9",
        "$JS.ACK.hub.ACCHASH.S.shard-b.2.30.4.1700000000000000000.9",
        "$JS.ACK._.ACCHASH.S.shard-b.2.30.4.1700000000000000000.9.rnd"}) {
    auto ack = parse_ack_subject(text);
    BOOST_REQUIRE_MESSAGE(ack, text);
    BOOST_CHECK_EQUAL(ack->stream, "S");
    BOOST_CHECK_EQUAL(ack->consumer, "shard-b");
    BOOST_CHECK_EQUAL(ack->delivery, 2U);
    BOOST_CHECK_EQUAL(ack->stream_seq, 30U);
    BOOST_CHECK_EQUAL(ack->consumer_seq, 4U);
    BOOST_CHECK_EQUAL(ack->pending, 9U);
  }
  for (const char* text :
       {"", "$JS.ACK", "$JS.ACK.S.c.1.2.3.4", "$JS.ACK.S.c.1.x.3.4.5",
        "$JS.ACK.S.c.1.-2.3.4.5", "$JS.ACK.S.c.1.2.3.4.5.6",
        "$XX.ACK.S.c.1.2.3.4.5", "............", ".............."})
    BOOST_CHECK_MESSAGE(!parse_ack_subject(text), text);
}

BOOST_AUTO_TEST_SUITE_END()

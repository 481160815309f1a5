#include "tests/support/nats_cluster.hpp"

#include "messages/core/error.hpp"
#include "storage/nats/jetstream_api.hpp"
#include "storage/ports/event_stream.hpp"

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>

/// Three servers, of which one may die.

using namespace tillstream;
using namespace tillstream::storage;
using namespace std::chrono_literals;

namespace {

constexpr auto timeout = 60s;

template <class T>
std::string why(const caf::expected<T>& x) {
  return x ? "" : describe(x.error());
}

template <class F>
bool eventually(F holds) {
  auto end = std::chrono::steady_clock::now() + timeout;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

test::nats_cluster& cluster() {
  static test::nats_cluster instance;
  return instance;
}

/// What JetStream says of a stream's place.
struct place {
  std::string leader;
  std::set<std::string> servers;
};

struct fixture {
  fixture() {
    static int count = 0;
    auto name = fmt::format("C{}", ++count);
    settings.url = cluster().url();
    settings.stream.name = name;
    settings.stream.subjects = name + ".created.*";
    settings.stream.bytes_max = 64 << 20;
  }

  /// A cluster needs a moment until it has a leader.
  caf::expected<stream_state> make_stream() {
    caf::expected<stream_state> result{errc::unavailable};
    eventually([&] {
      result = ensure_stream(settings);
      return result.operator bool();
    });
    return result;
  }

  place where() {
    place result;
    auto link = jetstream::broker_link::open(settings);
    BOOST_REQUIRE(link);
    auto info = jetstream::ask(**link, "STREAM.INFO." + settings.stream.name);
    if (!info || info->root().find("cluster") == nullptr)
      return result;
    const auto& at = *info->root().find("cluster");
    if (const auto* leader = at.find("leader"))
      result.leader = leader->text;
    result.servers.insert(result.leader);
    if (const auto* replicas = at.find("replicas"))
      for (const auto& x : replicas->elements)
        result.servers.emplace(x.find("name")->text);
    return result;
  }

  nats_settings settings;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(nats_cluster_suite, fixture)

BOOST_AUTO_TEST_CASE(replicas_are_a_setting) {
  settings.stream.replicas = 3;
  auto made = make_stream();
  BOOST_REQUIRE_MESSAGE(made, why(made));
  BOOST_TEST(where().servers.size() == 3u);
  // Fewer, later: the stream is brought up to date.
  settings.stream.replicas = 1;
  BOOST_REQUIRE(make_stream());
  BOOST_TEST(eventually([&] { return where().servers.size() == 1; }));
}

BOOST_AUTO_TEST_CASE(placement_is_a_setting) {
  settings.stream.placement_cluster = test::nats_cluster::name;
  settings.stream.placement_tags = {"place:n3"};
  auto made = make_stream();
  BOOST_REQUIRE_MESSAGE(made, why(made));
  BOOST_TEST(where().leader == "n3");
  // To be asked for again changes nothing.
  auto again = ensure_stream(settings);
  BOOST_REQUIRE_MESSAGE(again, why(again));
  BOOST_TEST(again->incarnation == made->incarnation);
}

BOOST_AUTO_TEST_CASE(a_place_that_is_not_there_is_refused) {
  BOOST_REQUIRE(make_stream());
  settings.stream.name += "X";
  settings.stream.subjects = settings.stream.name + ".created.*";
  settings.stream.placement_tags = {"place:mars"};
  auto made = ensure_stream(settings);
  BOOST_REQUIRE(!made);
  BOOST_TEST_MESSAGE(why(made));
}

BOOST_AUTO_TEST_CASE(one_server_dies_and_every_event_arrives) {
  settings.stream.replicas = 3;
  auto made = make_stream();
  BOOST_REQUIRE_MESSAGE(made, why(made));
  constexpr size_t branches = 12;
  constexpr size_t events = 40;
  std::mutex mutex;
  std::set<uint64_t> stored;
  std::set<std::string> lost;
  std::map<std::string, std::set<std::string>> seen;
  auto publisher = connect_publisher(settings, [&](auto acks) {
    std::lock_guard guard{mutex};
    for (const auto& ack : acks)
      if (ack.error.empty())
        stored.insert(ack.token);
  });
  auto source = connect_source(settings, [&](auto xs) {
    std::lock_guard guard{mutex};
    for (const auto& x : xs) {
      if (!x.lost.empty())
        lost.insert(x.branch_id);
      for (const auto& message : x.messages)
        seen[x.branch_id].insert(*message.payload);
    }
  });
  BOOST_REQUIRE((publisher && source));
  auto branch = [](size_t i) { return fmt::format("b-{}", i); };
  auto open = [&](const std::string& id) {
    return (*source)->open(id, 1, 1) && (*source)->fetch(id, 1000);
  };
  for (size_t i = 0; i < branches; ++i)
    BOOST_REQUIRE(open(branch(i)));
  // Publishes until it is stored, as the relay does.
  auto sell = [&](size_t from, size_t to) {
    return eventually([&] {
      size_t missing = 0;
      for (size_t n = from; n < to; ++n)
        for (size_t i = 0; i < branches; ++i) {
          auto token = 1 + n * branches + i;
          {
            std::lock_guard guard{mutex};
            if (stored.count(token) > 0)
              continue;
          }
          ++missing;
          static_cast<void>(
            (*publisher)
              ->publish(token, settings.stream.name + ".created." + branch(i),
                        fmt::format("m{}", token), fmt::format("{}", n)));
        }
      std::this_thread::sleep_for(missing > 0 ? 300ms : 0ms);
      return missing == 0;
    });
  };
  BOOST_TEST(sell(0, events / 2));
  // The leader: whoever talks to it must find another.
  auto dead = cluster().index_of(where().leader);
  cluster().kill(dead);
  BOOST_TEST(sell(events / 2, events));
  // What a shard does: what is lost is opened again, and so is what says
  // nothing although something is pending.
  BOOST_TEST(eventually([&] {
    bool all = true;
    for (size_t i = 0; i < branches; ++i) {
      bool again = false;
      {
        std::lock_guard guard{mutex};
        auto whole = seen[branch(i)].size() == events;
        all = all && whole;
        again = !whole;
        lost.erase(branch(i));
      }
      if (again)
        open(branch(i));
    }
    std::this_thread::sleep_for(all ? 0ms : 500ms);
    return all;
  }));
  cluster().start(dead);
  BOOST_TEST(eventually([&] { return where().servers.size() == 3; }));
}

BOOST_AUTO_TEST_SUITE_END()

#include "storage/ports/peer_link.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage;
using namespace std::chrono_literals;

using kind = peer_message::kind;

namespace {

constexpr auto timeout = 30s;

/// A node on the real server, and what came to it.
class peer {
public:
  explicit peer(const std::string& node) {
    nats_settings settings;
    settings.url = test::nats().nats_url();
    auto made = connect_peers(settings, node, [this](auto xs) {
      std::lock_guard guard{mutex_};
      for (auto& x : xs)
        messages_.push_back(std::move(x));
      changed_.notify_all();
    });
    BOOST_REQUIRE_MESSAGE(made.operator bool(),
                          (made ? "" : describe(made.error())));
    link_ = std::move(*made);
  }

  peer_link& operator*() {
    return *link_;
  }

  peer_link* operator->() {
    return link_.get();
  }

  /// Waits for the next message.
  peer_message next() {
    std::unique_lock guard{mutex_};
    auto came
      = changed_.wait_for(guard, timeout, [&] { return !messages_.empty(); });
    BOOST_REQUIRE_MESSAGE(came, "no message came");
    auto result = std::move(messages_.front());
    messages_.erase(messages_.begin());
    return result;
  }

  /// Waits for the next message of this kind; others are dropped.
  peer_message next(kind what) {
    for (;;)
      if (auto x = next(); x.what == what)
        return x;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<peer_message> messages_;
  /// Last, so that its handler ends first.
  peer_link_ptr link_;
};

} // namespace

BOOST_AUTO_TEST_SUITE(peer_link_suite)

BOOST_AUTO_TEST_CASE(a_query_reaches_its_node_and_its_answers_come_back) {
  peer asks{"ask:1"};
  peer answers{"answer.2:8080"};
  BOOST_TEST(static_cast<bool>(asks->ask("answer.2:8080", 7, "how much?")));
  auto query = answers.next();
  BOOST_TEST((query.what == kind::query));
  BOOST_TEST(query.payload == "how much?");
  for (const auto* part : {"one", "two", "three"})
    BOOST_TEST(static_cast<bool>(answers->answer(query.reply_to, part)));
  for (const auto* part : {"one", "two", "three"}) {
    auto answer = asks.next();
    BOOST_TEST((answer.what == kind::answer));
    BOOST_TEST(answer.token == 7u);
    BOOST_TEST(answer.payload == part);
  }
}

BOOST_AUTO_TEST_CASE(a_query_to_a_node_that_is_not_there_fails_at_once) {
  peer asks{"alone"};
  BOOST_TEST(static_cast<bool>(asks->ask("not-there", 3, "hello?")));
  auto answer = asks.next();
  BOOST_TEST((answer.what == kind::nobody));
  BOOST_TEST(answer.token == 3u);
}

BOOST_AUTO_TEST_CASE(a_notice_to_all_comes_to_all_others_and_not_back) {
  peer a{"a"};
  peer b{"b"};
  peer c{"c"};
  BOOST_TEST(static_cast<bool>(a->tell_all("sold by a")));
  for (auto* who : {&b, &c}) {
    auto notice = who->next();
    BOOST_TEST((notice.what == kind::notice));
    BOOST_TEST(notice.payload == "sold by a");
  }
  // Its own would have come first.
  BOOST_TEST(static_cast<bool>(b->tell_all("sold by b")));
  BOOST_TEST(a.next().payload == "sold by b");
}

BOOST_AUTO_TEST_CASE(a_message_of_the_largest_size_passes_and_no_larger) {
  peer a{"big-a"};
  peer b{"big-b"};
  std::string largest(limits::peer_message_bytes_max, 'x');
  BOOST_TEST(static_cast<bool>(a->ask("big-b", 1, largest)));
  BOOST_TEST((b.next().payload == largest));
  BOOST_TEST(!a->ask("big-b", 2, largest + "x"));
}

BOOST_AUTO_TEST_CASE(nothing_but_an_inbox_is_answered) {
  peer a{"careful"};
  for (const auto* subject :
       {"purchases.created.branch-1", "$JS.API.STREAM.DELETE.PURCHASES", "",
        "tillstream.notes"}) {
    auto sent = a->answer(subject, "{}");
    BOOST_TEST((!sent && sent.error() == errc::invalid), subject);
  }
}

BOOST_AUTO_TEST_CASE(names_of_nodes_become_subjects_one_to_one) {
  BOOST_TEST(peer_subject("host-1_a") == "tillstream.node.host-1_a");
  BOOST_TEST(peer_subject("a.b:80") == "tillstream.node.a=2Eb=3A80");
  BOOST_TEST(peer_subject("a=2Eb") == "tillstream.node.a=3D2Eb");
  BOOST_TEST(peer_subject("* >") == "tillstream.node.=2A=20=3E");
}

BOOST_AUTO_TEST_CASE(a_lost_connection_is_a_gap_and_nothing_is_sent_later) {
  peer a{"a"};
  peer b{"b"};
  BOOST_REQUIRE(test::nats().stop_nats(false));
  auto deadline = std::chrono::steady_clock::now() + timeout;
  while (a->connected() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  BOOST_REQUIRE(!a->connected());
  auto sent = a->tell_all("lost");
  BOOST_TEST((!sent && sent.error() == errc::unavailable));
  BOOST_REQUIRE(test::nats().start_nats());
  a.next(kind::gap);
  std::vector<peer_message> before;
  std::thread answering{[&] {
    auto x = b.next();
    for (; x.what != kind::query; x = b.next())
      before.push_back(x);
    static_cast<void>(b->answer(x.reply_to, "yes"));
  }};
  // The library subscribes again by itself, a moment after it reconnected: a
  // query before that finds nobody.
  peer_message answer;
  do {
    static_cast<void>(a->ask("b", 1, "there again?"));
    answer = a.next();
  } while (answer.what != kind::answer);
  answering.join();
  BOOST_TEST(answer.payload == "yes");
  BOOST_TEST(before.size() == 1u);
  BOOST_TEST((before.at(0).what == kind::gap));
}

BOOST_AUTO_TEST_CASE(without_a_server_it_fails_to_connect) {
  nats_settings settings;
  settings.url = "nats://127.0.0.1:1";
  auto made = connect_peers(settings, "n", [](auto) {});
  BOOST_TEST((!made && made.error() == errc::unavailable));
  BOOST_TEST((!connect_peers(settings, "", [](auto) {})));
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include "actors/query/live_feed.hpp"
#include "messages/core/error.hpp"
#include "tests/support/actor_fixture.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

/// A page's end of a stream.
struct page {
  std::vector<std::string> events;
  /// It does not take anything at the moment.
  bool slow = false;
  bool gone = false;
  /// The server let go.
  bool ended = false;
};

using page_ptr = std::shared_ptr<page>;

class fake_stream : public http_stream {
public:
  explicit fake_stream(page_ptr to) : to_(std::move(to)) {
    // nop
  }

  ~fake_stream() override {
    to_->ended = true;
  }

  bool send(std::string bytes) override {
    if (to_->slow)
      return false;
    to_->events.push_back(std::move(bytes));
    return true;
  }

  bool closed() const override {
    return to_->gone;
  }

private:
  page_ptr to_;
};

/// What QUERY answers.
struct script {
  std::string as_of = "2019-04-17T01:30:00.000Z";
  std::string revenue = "1.00";
  int pending = 0;
  std::optional<int64_t> lag_ms = 0;
  bool fails = false;
  /// It answers that it cannot answer now.
  bool not_ready = false;
  int queries = 0;
  /// Bytes of a name that make the answer large.
  size_t ballast = 0;
};

/// QUERY's answer; what LIVE FEED does not read is no JSON.
query_reply answer_of(const script& play) {
  http_reply reply;
  reply.body = "revenue " + play.revenue + std::string(play.ballast, 'x');
  query_reply result{std::make_shared<const http_reply>(std::move(reply))};
  result.version = "version-" + play.revenue;
  result.progress = {*parse_rfc3339(play.as_of), play.pending, play.lag_ms};
  return result;
}

query_actor::behavior_type fake_query(query_actor::pointer, script* play) {
  return {
    [play](atom::ask,
           const analytics_query_ptr& x) -> caf::result<query_reply> {
      BOOST_TEST(x->name == "summary");
      BOOST_TEST(x->wants_version);
      ++play->queries;
      if (play->fails)
        return caf::make_error(errc::unavailable);
      if (play->not_ready)
        return query_reply{
          std::make_shared<const http_reply>(http_reply{503, {}, {}, {}})};
      return answer_of(*play);
    },
  };
}

struct fixture : tests::actor_fixture {
  fixture() : view(std::make_shared<directory_view>()) {
    key.key_id = uuid_source{1}.v4();
    key.role = storage::key_role::owner;
    set_keys({key});
    query = sys.spawn(fake_query, &play);
    live_feed_options options;
    options.query = query;
    options.view = view;
    subject = sys.spawn(live_feed, options);
    settle();
  }

  ~fixture() {
    end(subject);
    end(query);
  }

  void set_keys(std::vector<storage::api_key> keys) {
    storage::directory_snapshot content;
    content.chain = default_chain();
    content.keys = std::move(keys);
    view->set(std::make_shared<const directory>(content));
  }

  page_ptr open(std::string known_id = "") {
    auto result = std::make_shared<page>();
    auto listener = std::make_shared<live_listener>();
    listener->stream = std::make_shared<fake_stream>(result);
    listener->who.role = storage::key_role::owner;
    listener->who.key_id = key.key_id;
    listener->known_id = std::move(known_id);
    caf::anon_send(subject, atom::open_v, std::move(listener));
    settle();
    return result;
  }

  static std::string kind_of(const std::string& event) {
    auto begin = event.find("event: ") + 7;
    return event.substr(begin, event.find('\n') - begin);
  }

  static std::string id_of(const std::string& event) {
    auto begin = event.find("id: ");
    return begin == std::string::npos
             ? std::string{}
             : event.substr(begin + 4, event.find('\n', begin) - begin - 4);
  }

  script play;
  storage::api_key key;
  directory_view_ptr view;
  query_actor query;
  live_feed_actor subject;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(live_feed_suite, fixture)

BOOST_AUTO_TEST_CASE(a_page_gets_the_state_at_once) {
  auto x = open();
  BOOST_REQUIRE(x->events.size() == 1u);
  BOOST_TEST(kind_of(x->events[0]) == "summary");
  BOOST_TEST(x->events[0]
             == "event: summary\nid: version-1.00\ndata: revenue 1.00\n\n");
}

BOOST_AUTO_TEST_CASE(while_nobody_listens_no_query_is_sent) {
  advance_in_steps(10s, 500ms);
  BOOST_TEST(play.queries == 0);
  auto x = open();
  x->gone = true;
  advance_in_steps(3s, 500ms);
  auto before = play.queries;
  advance_in_steps(10s, 500ms);
  BOOST_TEST(play.queries == before);
  BOOST_TEST(x->ended);
  BOOST_TEST(kind_of(open()->events.at(0)) == "summary");
}

BOOST_AUTO_TEST_CASE(a_change_is_sent_once_and_at_most_one_a_second) {
  auto x = open();
  for (int i = 0; i < 40; ++i) {
    play.revenue = std::to_string(i) + ".50";
    advance(100ms);
  }
  BOOST_TEST(x->events.size() >= 4u);
  BOOST_TEST(x->events.size() <= 6u);
  BOOST_TEST(play.queries <= 6);
  auto ids = x->events.size();
  advance(1s);
  x->events.clear();
  advance_in_steps(3s, 500ms);
  BOOST_TEST(x->events.empty());
  BOOST_TEST(ids > 0u);
}

BOOST_AUTO_TEST_CASE(a_quiet_shop_has_a_heartbeat_with_the_time) {
  auto x = open();
  x->events.clear();
  for (int i = 0; i < 11; ++i) {
    play.as_of = "2019-04-17T01:30:" + std::to_string(10 + i) + ".000Z";
    advance(1s);
  }
  BOOST_REQUIRE(x->events.size() == 2u);
  BOOST_TEST(kind_of(x->events[0]) == "progress");
  BOOST_TEST(
    (x->events[0].find(R"({"as_of":"2019-04-17T01:30:1)") != std::string::npos),
    x->events[0]);
}

BOOST_AUTO_TEST_CASE(pending_sales_are_sent_each_second) {
  play.pending = 3;
  auto x = open();
  x->events.clear();
  advance_in_steps(3s, 1s);
  BOOST_REQUIRE(x->events.size() == 3u);
  BOOST_TEST((x->events[0].find(R"("pending_events":3)") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(a_page_with_the_current_version_gets_progress_only) {
  auto id = id_of(open()->events.at(0));
  auto again = open(id);
  BOOST_REQUIRE(again->events.size() == 1u);
  BOOST_TEST(kind_of(again->events[0]) == "progress");
  play.revenue = "2.00";
  auto late = open(id);
  advance(1s);
  BOOST_REQUIRE(late->events.size() == 2u);
  BOOST_TEST(kind_of(late->events[1]) == "summary");
  BOOST_TEST(id_of(late->events[1]) != id);
}

BOOST_AUTO_TEST_CASE(progress_is_how_far_the_answer_reaches) {
  auto id = id_of(open()->events.at(0));
  play.pending = 2;
  play.lag_ms = 1500;
  advance(1s);
  BOOST_TEST(open(id)->events.at(0)
             == "event: progress\ndata: "
                R"({"as_of":"2019-04-17T01:30:00.000Z","pending_events":2,)"
                R"("lag_ms":1500})"
                "\n\n");
  play.lag_ms.reset();
  advance(1s);
  BOOST_TEST(
    (open(id)->events.at(0).find(R"("lag_ms":null})") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(a_slow_page_misses_states_but_not_the_last) {
  auto x = open();
  x->slow = true;
  for (int i = 0; i < 5; ++i) {
    play.revenue = std::to_string(i) + ".25";
    advance(1s);
  }
  x->slow = false;
  x->events.clear();
  advance(1s);
  BOOST_REQUIRE(x->events.size() == 1u);
  BOOST_TEST((x->events[0].find("4.25") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(after_a_pause_nobody_gets_the_old_state) {
  open()->gone = true;
  advance_in_steps(3s, 500ms);
  play.revenue = "7.00";
  // Two pages come before the answer does.
  auto listen = [&] {
    auto result = std::make_shared<page>();
    auto listener = std::make_shared<live_listener>();
    listener->stream = std::make_shared<fake_stream>(result);
    listener->who.key_id = key.key_id;
    caf::anon_send(subject, atom::open_v, std::move(listener));
    return result;
  };
  auto first = listen();
  auto second = listen();
  settle();
  for (const auto& x : {first, second}) {
    BOOST_REQUIRE(x->events.size() == 1u);
    BOOST_TEST((x->events[0].find("7.00") != std::string::npos));
  }
}

BOOST_AUTO_TEST_CASE(a_revoked_key_ends_the_stream) {
  auto x = open();
  set_keys({});
  advance(1s);
  BOOST_REQUIRE(x->events.size() == 2u);
  BOOST_TEST(kind_of(x->events[1]) == "over");
  BOOST_TEST(x->ended);
}

// Goal: the last word reaches a page that is slow when its key is revoked.
BOOST_AUTO_TEST_CASE(
  a_slow_page_gets_over_before_its_stream_ends) {
  auto x = open();
  x->slow = true;
  set_keys({});
  play.revenue = "2.00";
  advance_in_steps(3s, 500ms);
  BOOST_TEST(!x->ended);
  BOOST_TEST(x->events.size() == 1u);
  x->slow = false;
  advance(1s);
  BOOST_REQUIRE(x->events.size() == 2u);
  BOOST_TEST(kind_of(x->events[1]) == "over");
  BOOST_TEST(x->ended);
}

BOOST_AUTO_TEST_CASE(an_answer_that_is_a_problem_is_trouble) {
  play.not_ready = true;
  auto x = open();
  BOOST_REQUIRE(x->events.size() == 1u);
  BOOST_TEST(kind_of(x->events[0]) == "trouble");
}

BOOST_AUTO_TEST_CASE(trouble_is_sent_and_passes) {
  play.fails = true;
  auto x = open();
  BOOST_REQUIRE(x->events.size() == 1u);
  BOOST_TEST(kind_of(x->events[0]) == "trouble");
  play.fails = false;
  advance(1s);
  BOOST_REQUIRE(x->events.size() == 2u);
  BOOST_TEST(kind_of(x->events[1]) == "summary");
}

BOOST_AUTO_TEST_CASE(a_large_state_is_sent_less_often) {
  play.ballast = 4 * limits::live_bytes_per_second;
  auto x = open();
  auto before = play.queries;
  advance_in_steps(8s, 500ms);
  BOOST_TEST(play.queries - before <= 2);
  BOOST_TEST(play.queries - before >= 1);
}

BOOST_AUTO_TEST_CASE(many_pages_cost_one_query) {
  std::vector<page_ptr> pages;
  for (int i = 0; i < 50; ++i)
    pages.push_back(open());
  auto before = play.queries;
  play.revenue = "9.99";
  advance(1s);
  BOOST_TEST(play.queries == before + 1);
  for (const auto& x : pages)
    BOOST_TEST((x->events.back().find("9.99") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(when_it_ends_so_do_its_streams) {
  auto x = open();
  caf::anon_send_exit(subject, caf::exit_reason::user_shutdown);
  settle();
  BOOST_TEST(x->ended);
}

BOOST_AUTO_TEST_SUITE_END()

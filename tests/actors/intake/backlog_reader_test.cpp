#include <boost/test/unit_test.hpp>

#include "actors/intake/backlog_reader.hpp"
#include "actors/runtime/fault_point.hpp"
#include "messages/core/limits.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_outbox.hpp"

#include <string>

using namespace tillstream;
using namespace tillstream::tests;
using namespace std::chrono_literals;

namespace {

struct fixture : actor_fixture {
  fixture() {
    backlog_reader_options options;
    options.open_store = [this] {
      ++sessions;
      return open_fake_backlog(table);
    };
    options.seed = 1;
    uut = sys.spawn(backlog_reader, options);
    settle();
  }

  ~fixture() {
    end(uut);
    BOOST_TEST(static_cast<bool>(arm_fault_points("")));
  }

  auto recent(const std::string& branch_id) {
    return ask<commit_notices_ptr>(uut, atom::recent_v, branch_id, from_ms(0));
  }

  auto sent_age(const uuid& event_id) {
    return ask<int64_t>(uut, atom::state_v, std::string{"b1"}, event_id);
  }

  fake_outbox table;
  size_t sessions = 0;
  backlog_reader_actor uut;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(backlog_reader_suite, fixture)

BOOST_AUTO_TEST_CASE(recent_events_of_a_branch_are_answered) {
  table.commit("b1", 1);
  table.commit("b2", 2);
  table.commit("b1", 3);
  auto x = recent("b1");
  BOOST_REQUIRE((x && *x));
  BOOST_TEST((**x)->size() == 2u);
}

BOOST_AUTO_TEST_CASE(an_events_state_is_new_or_sent_or_unknown) {
  auto event = table.commit("b1", 1).event_id;
  auto x = sent_age(event);
  BOOST_TEST((x && *x && **x == -1));
  table.rows.at(1).sent = true;
  x = sent_age(event);
  BOOST_TEST((x && *x && **x == 0));
  x = sent_age(uuid{});
  BOOST_TEST((x && !*x && x->error() == errc::not_found));
}

BOOST_AUTO_TEST_CASE(while_the_database_is_away_answers_come_at_once) {
  table.down = true;
  for (int i = 0; i < 5; ++i) {
    auto x = recent("b1");
    BOOST_TEST((x && !*x && x->error() == errc::unavailable));
  }
  BOOST_TEST(sessions == 1u);
  table.down = false;
  advance(limits::backoff_min);
  auto x = recent("b1");
  BOOST_TEST((x && *x));
}

BOOST_AUTO_TEST_CASE(a_throw_is_answered) {
  BOOST_TEST(
    static_cast<bool>(arm_fault_points("backlog-reader.recent=throw:1")));
  auto x = recent("b1");
  BOOST_TEST((x && !*x && x->error() == errc::internal));
}

BOOST_AUTO_TEST_SUITE_END()

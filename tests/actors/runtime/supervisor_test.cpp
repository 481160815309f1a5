#include <boost/test/unit_test.hpp>

#include "actors/runtime/supervisor.hpp"
#include "messages/core/metrics.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/purchase.hpp"
#include "messages/model/readiness.hpp"
#include "tests/support/actor_fixture.hpp"

#include <caf/replies_to.hpp>
#include <caf/send.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <string>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

/// What the children saw and how they behave.
struct world {
  size_t spawned = 0;
  std::vector<size_t> asked;
  size_t ticks = 0;
  bool stubborn = false;
};

using child_actor = caf::typed_actor<
  caf::replies_to<atom::submit, uuid>::with<record_result>,
  caf::replies_to<atom::ready>::with<readiness>, caf::reacts_to<atom::flush>,
  caf::reacts_to<atom::reopen>>;

/// Answers readiness with its number, dies on `flush`, throws on `reopen`.
child_actor::behavior_type child(child_actor::pointer self, world* w) {
  auto number = ++w->spawned;
  if (w->stubborn)
    self->set_exit_handler([](caf::exit_msg&) {
      // Deaf, as an actor is that hangs in a blocking call.
    });
  return {
    [](atom::submit, const uuid&) -> caf::result<record_result> {
      return errc::overloaded;
    },
    [w, number](atom::ready) {
      w->asked.push_back(number);
      return readiness{"child", true, std::to_string(number)};
    },
    [self](atom::flush) {
      self->quit(caf::make_error(errc::internal, "requested"));
    },
    [](atom::reopen) { throw std::runtime_error{"boom"}; },
  };
}

struct fixture : tests::actor_fixture {
  ~fixture() {
    if (uut)
      end(uut);
  }

  void start(size_t children = 1, size_t restarts_max = 2) {
    supervisor_options options;
    options.name = "child-of-test";
    options.children = children;
    options.restarts_max = restarts_max;
    options.restart_window = 10s;
    options.backoff_min = 100ms;
    options.backoff_max = 400ms;
    options.shutdown_grace = 1s;
    options.seed = 7;
    uut = spawn_supervisor<child_actor>(
      sys, options, [this](caf::local_actor* parent) {
        return spawn_actor(*parent, child, &w);
      });
    self->monitor(uut);
    settle();
  }

  /// Which child answered; an error's name if none did.
  std::string who() {
    auto answer = ask<readiness>(uut, atom::ready_v);
    BOOST_REQUIRE(answer.has_value());
    return *answer ? (*answer)->reason : describe(answer->error());
  }

  void kill_one() {
    caf::anon_send(uut, atom::flush_v);
    settle();
  }

  world w;
  child_actor uut;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(supervisor_suite, fixture)

BOOST_AUTO_TEST_CASE(requests_and_their_errors_pass_through) {
  start();
  BOOST_TEST(who() == "1");
  auto answer = ask<record_result>(uut, atom::submit_v, uuid{});
  BOOST_TEST((answer && answer->error() == errc::overloaded));
}

BOOST_AUTO_TEST_CASE(a_dead_child_is_replaced_behind_the_same_address) {
  start();
  kill_one();
  advance(100ms);
  BOOST_TEST(who() == "2");
  BOOST_TEST(w.spawned == 2u);
}

BOOST_AUTO_TEST_CASE(a_child_that_throws_is_replaced_too) {
  start();
  caf::anon_send(uut, atom::reopen_v);
  settle();
  advance(100ms);
  BOOST_TEST(who() == "2");
}

BOOST_AUTO_TEST_CASE(requests_are_answered_at_once_while_the_backoff_runs) {
  start();
  kill_one();
  BOOST_TEST(who() == "unavailable: child-of-test restarts");
  advance(50ms); // The lower half of the wait is never drawn.
  BOOST_TEST(who() == "unavailable: child-of-test restarts");
  BOOST_TEST(w.spawned == 1u);
  advance(50ms);
  BOOST_TEST(who() == "2");
}

BOOST_AUTO_TEST_CASE(messages_without_a_reply_are_dropped_while_it_is_down) {
  start();
  kill_one();
  kill_one(); // Reaches no child.
  advance(100ms);
  BOOST_TEST(who() == "2");
  BOOST_TEST(!down_reason());
}

BOOST_AUTO_TEST_CASE(the_backoff_grows_with_each_restart) {
  start();
  kill_one();
  advance(100ms);
  kill_one();
  advance(100ms);
  BOOST_TEST(who() == "unavailable: child-of-test restarts");
  advance(100ms);
  BOOST_TEST(who() == "3");
}

BOOST_AUTO_TEST_CASE(an_exhausted_budget_fails_upward_with_the_childs_reason) {
  start();
  for (int i = 0; i < 3; ++i) {
    BOOST_TEST(!down_reason());
    kill_one();
    advance(400ms);
  }
  auto reason = down_reason();
  BOOST_TEST((reason && *reason == errc::internal));
  BOOST_TEST(w.spawned == 3u);
}

BOOST_AUTO_TEST_CASE(the_budget_heals_with_time) {
  start();
  for (int i = 0; i < 6; ++i) {
    kill_one();
    advance(6s);
  }
  BOOST_TEST(!down_reason());
  BOOST_TEST(who() == "7");
}

BOOST_AUTO_TEST_CASE(restarts_are_counted) {
  auto& restarts
    = metrics().get_counter("tillstream_actor_restarts_total", "",
                            metric_label("actor", "child-of-test"));
  auto before = restarts.value();
  start();
  kill_one();
  advance(100ms);
  BOOST_TEST(restarts.value() == before + 1);
}

BOOST_AUTO_TEST_CASE(a_pool_uses_its_children_in_turn) {
  start(3);
  for (int i = 0; i < 6; ++i)
    who();
  auto expected = std::vector<size_t>{2, 3, 1, 2, 3, 1};
  BOOST_TEST(w.asked == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_pool_passes_over_a_child_that_is_down) {
  start(3);
  kill_one();
  for (int i = 0; i < 4; ++i)
    BOOST_TEST(who().find("unavailable") == std::string::npos);
  advance(100ms);
  BOOST_TEST(w.spawned == 4u);
}

BOOST_AUTO_TEST_CASE(a_pool_that_gives_up_ends_the_other_children_first) {
  start(3, 0);
  kill_one();
  auto reason = down_reason();
  BOOST_TEST((reason && *reason == errc::internal));
}

BOOST_AUTO_TEST_CASE(an_exit_ends_the_children_first) {
  start(2);
  caf::anon_send_exit(uut, caf::exit_reason::user_shutdown);
  settle();
  auto reason = down_reason();
  BOOST_TEST((reason && *reason == caf::exit_reason::user_shutdown));
  advance(10s); // The grace period's timer finds no child.
}

BOOST_AUTO_TEST_CASE(a_child_that_does_not_end_in_time_is_killed) {
  w.stubborn = true;
  start();
  caf::anon_send_exit(uut, caf::exit_reason::user_shutdown);
  settle();
  BOOST_TEST(!down_reason());
  BOOST_TEST(who() == "shutting-down: child-of-test");
  advance(999ms);
  BOOST_TEST(!down_reason());
  advance(1ms);
  BOOST_TEST(down_reason().has_value());
}

BOOST_AUTO_TEST_CASE(a_shutdown_during_a_backoff_starts_no_child) {
  start();
  kill_one();
  caf::anon_send_exit(uut, caf::exit_reason::user_shutdown);
  settle();
  BOOST_TEST(down_reason().has_value());
  advance(1s);
  BOOST_TEST(w.spawned == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

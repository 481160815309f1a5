#include <boost/test/unit_test.hpp>

#include "actors/outbox/relay.hpp"
#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/supervisor.hpp"
#include "messages/core/metrics.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_outbox.hpp"

#include <caf/send.hpp>

#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::tests;
using namespace std::chrono_literals;

namespace {

using texts = std::vector<std::string>;

struct fixture : actor_fixture {
  fixture() {
    options.open_store = [this] { return open_fake_outbox(table); };
    options.connect = [this](storage::event_publisher::ack_handler on_ack) {
      return connect_fake_broker(broker, std::move(on_ack));
    };
    options.seed = 1;
    options.batch_window = 0ms; // Most tests are about something else.
  }

  ~fixture() {
    if (uut)
      end(uut);
    BOOST_TEST(static_cast<bool>(arm_fault_points("")));
  }

  void start() {
    uut = sys.spawn(outbox_relay, options);
    settle();
  }

  void start_supervised() {
    supervisor_options how;
    how.name = "outbox-relay";
    how.seed = 1;
    uut = spawn_supervisor<outbox_relay_actor>(
      sys, how, [this](caf::local_actor* parent) {
        return parent->spawn(outbox_relay, options);
      });
    settle();
  }

  void wake(std::vector<commit_notice> notices) {
    caf::anon_send(
      uut, atom::committed_v,
      std::make_shared<const std::vector<commit_notice>>(std::move(notices)));
    settle();
  }

  /// Commits events of a branch and wakes the relay.
  void sell(const std::string& branch_id, int64_t from, int64_t to) {
    std::vector<commit_notice> notices;
    for (auto seq = from; seq <= to; ++seq)
      notices.push_back(table.commit(branch_id, seq));
    wake(std::move(notices));
  }

  /// Commits events whose wake-up is lost.
  void sell_unheard(const std::string& branch_id, int64_t from, int64_t to) {
    for (auto seq = from; seq <= to; ++seq)
      table.commit(branch_id, seq);
  }

  void acknowledge(size_t count = SIZE_MAX) {
    broker.acknowledge(count);
    settle();
  }

  /// Lets the broker acknowledge everything for a while.
  void run(caf::timespan time, caf::timespan step = 10ms) {
    for (auto done = caf::timespan{0}; done < time; done += step) {
      acknowledge();
      advance(step);
    }
  }

  static texts
  expected(const std::string& branch_id, int64_t from, int64_t to) {
    texts result;
    for (auto seq = from; seq <= to; ++seq)
      result.push_back(branch_id + "#" + std::to_string(seq));
    return result;
  }

  /// The branch's events are in the stream once each, in order.
  void check(const std::string& branch_id, int64_t from, int64_t to) {
    BOOST_TEST(broker.of(branch_id) == expected(branch_id, from, to),
               boost::test_tools::per_element());
  }

  fake_outbox table;
  fake_broker broker;
  outbox_relay_options options;
  outbox_relay_actor uut;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(relay_suite, fixture)

// -- the way of an event ------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_committed_event_is_published_as_committed_and_marked) {
  start();
  auto notice = table.commit("b1", 7);
  wake({notice});
  acknowledge();
  BOOST_REQUIRE(broker.stream.size() == 1u);
  auto& message = broker.stream.front();
  BOOST_TEST(message.subject == "purchases.created.b1");
  BOOST_TEST(message.id == to_string(notice.event_id));
  BOOST_TEST(message.payload == "b1#7");
  advance(options.confirm_delay);
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(
  few_events_wait_for_the_batch_window_and_the_first_does_not) {
  options.batch_window = pacing::publish_window;
  start();
  advance(1s);
  sell("b1", 1, 1);
  BOOST_TEST(broker.in_flight.size() == 1u);
  sell("b1", 2, 3);
  BOOST_TEST(broker.in_flight.size() == 1u);
  advance(pacing::publish_window);
  BOOST_TEST(broker.in_flight.size() == 3u);
}

BOOST_AUTO_TEST_CASE(nothing_is_marked_before_the_broker_acknowledged_it) {
  start();
  sell("b1", 1, 3);
  advance(1s);
  BOOST_TEST(table.unsent() == 3u);
  acknowledge(1);
  advance(100ms);
  BOOST_TEST(table.unsent() == 2u);
}

BOOST_AUTO_TEST_CASE(acknowledgements_gather_for_one_update) {
  start();
  for (int64_t seq = 1; seq <= 50; ++seq) {
    sell("b1", seq, seq);
    acknowledge();
  }
  advance(options.confirm_delay);
  BOOST_TEST(table.updates == std::vector<size_t>{50},
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_is_in_flight_is_bounded) {
  options.in_flight_max = 5;
  start();
  sell("b1", 1, 40);
  BOOST_TEST(broker.in_flight.size() == 5u);
  run(1s);
  BOOST_TEST(broker.most_in_flight == 5u);
  check("b1", 1, 40);
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(a_late_commit_with_a_lower_number_is_published) {
  start();
  table.open.insert(1);
  sell("b1", 2, 3);
  run(3s);
  sell("b1", 1, 1);
  run(100ms);
  BOOST_TEST(broker.of("b1") == (texts{"b1#2", "b1#3", "b1#1"}),
             boost::test_tools::per_element());
  BOOST_TEST(table.unsent() == 0u);
}

// -- the slow poll ------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_lost_wake_up_is_found_by_the_poll) {
  start();
  sell_unheard("b1", 1, 3);
  run(options.poll_interval + 100ms);
  check("b1", 1, 3);
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(the_poll_doubles_nothing_that_is_on_its_way) {
  options.confirm_delay = 1500ms;
  start();
  sell("b1", 1, 5);
  advance(1s); // In flight.
  acknowledge(3);
  advance(1s); // Acknowledged and not marked; the others still in flight.
  acknowledge();
  advance_in_steps(5s);
  check("b1", 1, 5);
  BOOST_TEST(table.polls >= 5u);
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(a_late_commit_whose_wake_up_is_lost_is_found) {
  start();
  table.open.insert(1);
  sell("b1", 2, 9);
  run(5s);
  sell_unheard("b1", 1, 1);
  run(2s);
  BOOST_TEST(broker.of("b1").back() == "b1#1");
  BOOST_TEST(table.unsent() == 0u);
}

// -- a restart ----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(after_a_restart_what_is_not_marked_goes_out_in_order) {
  options.page_max = 4;
  sell_unheard("b1", 1, 30);
  for (int64_t seq : {1, 2, 5})
    table.rows.at(seq).sent = true;
  start();
  sell("b1", 31, 33); // While the table is still being read.
  run(2s);
  auto all = expected("b1", 1, 33);
  std::erase_if(
    all, [](auto& x) { return x == "b1#1" || x == "b1#2" || x == "b1#5"; });
  BOOST_TEST(broker.of("b1") == all, boost::test_tools::per_element());
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(a_throw_anywhere_loses_no_event) {
  for (auto point : {"committed", "acked", "tick", "flush"}) {
    BOOST_TEST_CONTEXT(point) {
      table = {};
      broker = {};
      start_supervised();
      sell("b1", 1, 4);
      acknowledge(2);
      BOOST_TEST(static_cast<bool>(
        arm_fault_points("outbox-relay." + std::string{point} + "=throw:1")));
      sell("b1", 5, 8);
      run(3s);
      BOOST_TEST(table.unsent() == 0u);
      std::set<std::string> seen;
      for (auto& x : broker.of("b1"))
        seen.insert(x);
      BOOST_TEST(seen.size() == 8u);
      end(uut);
    }
  }
}

// -- the broker refuses -------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_refused_branch_stops_alone_and_starts_at_its_first) {
  start();
  broker.refused.insert(event_subject("bad"));
  sell("bad", 1, 3);
  sell("good", 4, 6);
  acknowledge();
  check("good", 4, 6);
  sell("good", 7, 9);
  sell("bad", 10, 11);
  run(20s);
  check("good", 4, 9);
  BOOST_TEST(broker.of("bad").empty());
  broker.refused.clear();
  run(6s);
  BOOST_TEST(broker.of("bad")
               == (texts{"bad#1", "bad#2", "bad#3", "bad#10", "bad#11"}),
             boost::test_tools::per_element());
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(a_stopped_branch_tries_its_first_event_with_backoff) {
  start();
  broker.refused.insert(event_subject("bad"));
  sell("bad", 1, 50);
  acknowledge();
  size_t attempts = 0;
  for (int i = 0; i < 1000; ++i) {
    advance(10ms);
    BOOST_TEST(broker.in_flight.size() <= 1u);
    for (auto& x : broker.in_flight)
      BOOST_TEST(x.payload == "bad#1");
    attempts += broker.in_flight.size();
    acknowledge();
  }
  BOOST_TEST(attempts >= 7u);
  BOOST_TEST(attempts <= 12u);
}

BOOST_AUTO_TEST_CASE(a_refusal_in_the_middle_repeats_from_there_on) {
  start();
  sell("b1", 1, 4);
  acknowledge(1);
  broker.refused.insert(event_subject("b1"));
  acknowledge(1);
  broker.refused.clear();
  broker.in_flight.clear(); // 3 and 4 are lost with it.
  run(1s);
  check("b1", 1, 4);
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(an_acknowledgement_that_never_comes_is_a_failure) {
  start();
  sell("b1", 1, 2);
  sell("b2", 3, 3);
  broker.in_flight.clear();
  advance(options.publish_timeout - 1ms);
  BOOST_TEST(broker.in_flight.empty());
  advance(1ms);
  // A broker that is frozen keeps its connection. The relay looks a few
  // milliseconds later.
  advance(10ms);
  auto ready = ask<readiness>(uut, atom::ready_v);
  BOOST_TEST((ready && *ready && !(*ready)->ready));
  run(1s);
  check("b1", 1, 2);
  check("b2", 3, 3);
  BOOST_TEST(table.unsent() == 0u);
  ready = ask<readiness>(uut, atom::ready_v);
  BOOST_TEST((ready && *ready && (*ready)->ready));
}

BOOST_AUTO_TEST_CASE(a_stale_acknowledgement_marks_nothing) {
  start();
  sell("b1", 1, 1);
  auto first = broker.in_flight;
  broker.in_flight.clear();
  advance(options.publish_timeout);
  advance(limits::backoff_min);
  BOOST_REQUIRE(broker.in_flight.size() == 1u);
  auto second = std::exchange(broker.in_flight, first);
  acknowledge();
  advance(100ms);
  BOOST_TEST(table.unsent() == 1u);
  broker.in_flight = second;
  acknowledge();
  advance(100ms);
  BOOST_TEST(table.unsent() == 0u);
}

// -- the broker is away -------------------------------------------------------

BOOST_AUTO_TEST_CASE(while_the_broker_is_away_events_wait_and_then_go_out) {
  start();
  broker.away = true;
  sell("b1", 1, 5);
  sell("b2", 6, 8);
  advance_in_steps(10s);
  BOOST_TEST(broker.in_flight.empty());
  broker.away = false;
  run(limits::backoff_max);
  check("b1", 1, 5);
  check("b2", 6, 8);
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(a_broker_that_is_away_at_the_start_is_waited_for) {
  broker.away = true;
  start();
  sell("b1", 1, 5);
  auto ready = ask<readiness>(uut, atom::ready_v);
  BOOST_TEST((ready && *ready && !(*ready)->ready));
  advance_in_steps(20s, 100ms);
  broker.away = false;
  run(limits::backoff_max + 100ms);
  check("b1", 1, 5);
  ready = ask<readiness>(uut, atom::ready_v);
  BOOST_TEST((ready && *ready && (*ready)->ready));
}

BOOST_AUTO_TEST_CASE(what_was_in_flight_when_the_broker_went_goes_out_again) {
  start();
  sell("b1", 1, 5);
  broker.in_flight.clear();
  broker.away = true;
  advance_in_steps(10s);
  broker.away = false;
  run(11s);
  check("b1", 1, 5);
  BOOST_TEST(table.unsent() == 0u);
}

// -- more than fits -----------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_does_not_fit_comes_from_the_table_in_order) {
  options.queue_max = 16;
  options.page_max = 8;
  start();
  broker.away = true;
  for (int64_t seq = 1; seq <= 300; seq += 2) {
    sell("b1", seq, seq);
    sell("b2", seq + 1, seq + 1);
  }
  advance_in_steps(2s);
  auto& depth = metrics().get_gauge("tillstream_relay_queue_depth", "");
  BOOST_TEST(depth.value() <= 16);
  broker.away = false;
  for (int i = 0; i < 2000; ++i) {
    acknowledge();
    advance(10ms);
    BOOST_TEST(depth.value() <= 16);
  }
  BOOST_TEST(table.unsent() == 0u);
  for (int branch = 1; branch <= 2; ++branch) {
    texts all;
    auto id = "b" + std::to_string(branch);
    for (int64_t seq = branch; seq <= 300; seq += 2)
      all.push_back(id + "#" + std::to_string(seq));
    BOOST_TEST(broker.of(id) == all, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_branch_that_is_refused_does_not_keep_the_others_out) {
  options.queue_max = 16;
  options.page_max = 8;
  start();
  broker.refused.insert(event_subject("bad"));
  sell("bad", 1, 200);
  run(5s);
  for (int64_t seq = 201; seq <= 260; ++seq) {
    sell("good", seq, seq);
    acknowledge();
  }
  run(2s);
  check("good", 201, 260);
  // Also what wake-ups missed, far behind the refused ones.
  sell_unheard("good", 261, 300);
  run(60s, 100ms);
  check("good", 201, 300);
  broker.refused.clear();
  run(30s);
  check("bad", 1, 200);
  BOOST_TEST(table.unsent() == 0u);
}

// Goal: a stream that is full (it refuses everybody) makes no busy loop of
// reading the table. Method: count the polls.
BOOST_AUTO_TEST_CASE(a_full_stream_costs_the_database_little) {
  options.queue_max = 64;
  options.page_max = 8;
  start();
  for (int branch = 0; branch < 10; ++branch)
    broker.refused.insert(event_subject("b" + std::to_string(branch)));
  for (int64_t seq = 1; seq <= 400; ++seq) {
    auto id = "b" + std::to_string(seq % 10);
    sell(id, seq, seq);
    acknowledge();
  }
  auto before = table.polls;
  run(60s, 50ms);
  BOOST_TEST(table.polls - before < 1000u);
  broker.refused.clear();
  run(60s, 50ms);
  BOOST_TEST(table.unsent() == 0u);
}

// -- the database is away -----------------------------------------------------

BOOST_AUTO_TEST_CASE(without_the_database_it_publishes_and_marks_later) {
  start();
  std::vector<commit_notice> notices;
  for (int64_t seq = 1; seq <= 5; ++seq)
    notices.push_back(table.commit("b1", seq));
  table.down = true;
  wake(notices);
  run(10s);
  check("b1", 1, 5);
  BOOST_TEST(table.unsent() == 5u);
  table.down = false;
  run(limits::backoff_max + 100ms);
  BOOST_TEST(table.unsent() == 0u);
  check("b1", 1, 5);
}

BOOST_AUTO_TEST_CASE(a_database_that_is_away_at_the_start_is_waited_for) {
  table.down = true;
  sell_unheard("b1", 1, 3);
  start();
  auto ready = ask<readiness>(uut, atom::ready_v);
  BOOST_TEST((ready && *ready && !(*ready)->ready));
  run(10s);
  table.down = false;
  run(limits::backoff_max + 100ms);
  check("b1", 1, 3);
}

// -- the stream lost data
// --------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_the_broker_forgot_is_published_under_a_new_id) {
  start();
  sell("b1", 1, 4);
  sell("b2", 5, 5);
  run(3s); // Long after the floor moved above them.
  broker.stream.clear();
  auto count
    = ask<int64_t>(uut, atom::republish_v, std::string{"b1"}, int64_t{2});
  BOOST_REQUIRE((count && *count));
  BOOST_TEST(**count == 2);
  run(2s);
  check("b1", 3, 4);
  for (auto& x : broker.stream)
    BOOST_TEST(x.id.ends_with(".2"));
  BOOST_TEST(broker.of("b2").empty());
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(what_is_on_its_way_when_the_broker_forgets_goes_again) {
  options.confirm_delay = 10s;
  start();
  sell("b1", 1, 4);
  acknowledge(2); // Not marked yet; 3 and 4 in flight.
  broker.stream.clear();
  broker.in_flight.clear();
  auto count
    = ask<int64_t>(uut, atom::republish_v, std::string{"b1"}, int64_t{0});
  BOOST_REQUIRE((count && *count));
  BOOST_TEST(**count == 2);
  run(12s);
  check("b1", 1, 4);
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(without_the_database_nothing_is_published_again) {
  start();
  sell("b1", 1, 4);
  run(1s);
  table.down = true;
  auto count
    = ask<int64_t>(uut, atom::republish_v, std::string{"b1"}, int64_t{0});
  BOOST_TEST((count && !*count && count->error() == errc::unavailable));
}

// -- the end ------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_drain_waits_until_everything_is_marked) {
  start();
  sell("b1", 1, 3);
  sell_unheard("b1", 4, 5);
  auto drained = post<bool>(uut, atom::drain_v);
  settle();
  BOOST_TEST(drained->count == 0u);
  acknowledge();
  advance(options.confirm_delay);
  BOOST_TEST((drained->count == 1 && *drained->value && **drained->value));
  BOOST_TEST(table.unsent() == 0u);
}

BOOST_AUTO_TEST_CASE(a_drain_ends_in_time_when_the_broker_is_away) {
  start();
  broker.away = true;
  sell("b1", 1, 3);
  auto drained = post<bool>(uut, atom::drain_v);
  settle();
  advance_in_steps(options.drain_max - 100ms);
  BOOST_TEST(drained->count == 0u);
  advance_in_steps(110ms);
  BOOST_TEST((drained->count == 1 && *drained->value && !**drained->value));
}

BOOST_AUTO_TEST_CASE(whoever_waits_for_a_drain_is_answered_at_its_death) {
  start();
  sell("b1", 1, 3);
  auto drained = post<bool>(uut, atom::drain_v);
  settle();
  caf::anon_send_exit(uut, caf::exit_reason::kill);
  settle();
  BOOST_TEST((drained->count == 1 && *drained->value && !**drained->value));
  BOOST_TEST(!broker.on_ack); // The publisher is gone.
}

BOOST_AUTO_TEST_CASE(what_a_poll_finds_is_announced_without_payload) {
  std::vector<commit_notice> announced;
  options.feed = std::make_shared<commit_feed>();
  options.feed->subscribe_all([&](const commit_notices_ptr& xs) {
    announced.insert(announced.end(), xs->begin(), xs->end());
  });
  broker.away = true;
  start();
  sell_unheard("a", 1, 3);
  run(2s, 100ms);
  BOOST_REQUIRE(announced.size() >= 3u);
  for (const auto& x : announced) {
    BOOST_TEST(x.branch_id == "a");
    BOOST_TEST(!x.payload);
  }
  // Announced as long as it waits, and no longer.
  broker.away = false;
  run(10s, 100ms);
  check("a", 1, 3);
  announced.clear();
  run(3s, 100ms);
  BOOST_TEST(announced.empty());
}

BOOST_AUTO_TEST_SUITE_END()

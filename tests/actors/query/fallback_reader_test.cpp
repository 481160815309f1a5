#include "actors/query/fallback_reader.hpp"

#include "messages/core/error.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/dashboard.hpp"
#include "tests/support/made_up_events.hpp"
#include "tests/support/read_side.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

const std::string id = "branch-1";

struct fixture : tests::actor_fixture {
  fixture() {
    reader->tables = tables;
    view->set(test::directory_of(test::made_up_chain()));
    reader_actor = sys.spawn(test::scripted_reader, reader);
    purchases_actor = sys.spawn(test::scripted_purchases, outbox);
    fallback_reader_options options;
    options.reader = reader_actor;
    options.purchases = purchases_actor;
    options.view = view;
    options.at_once = 2;
    options.queue_max = 3;
    fallback = sys.spawn(fallback_reader, options);
    settle();
  }

  ~fixture() {
    end(fallback);
    reader->held.clear();
    end(reader_actor);
    end(purchases_actor);
  }

  /// Sells, as of now by the database.
  std::vector<purchase_event> sell(size_t count) {
    std::vector<purchase_event> result;
    for (size_t i = 0; i < count; ++i) {
      result.push_back(maker.make(id));
      outbox->notices.push_back(test::notice_of(result.back()));
    }
    return result;
  }

  void apply(const std::vector<purchase_event>& xs) {
    tables->put_epoch(id, 1);
    tables->apply({test::make_request(id, 1, tables->cursor(id), xs)});
  }

  shard_query_ptr query(shard_query::kind what) {
    auto result = std::make_shared<shard_query>();
    result->what = what;
    result->from = *parse_day("1990-01-01");
    result->to = *parse_day("2990-12-31");
    result->limit = 10;
    return result;
  }

  auto submit(shard_query::kind what = shard_query::kind::days) {
    return post<shard_answer_ptr>(fallback, atom::ask_v, id, query(what));
  }

  shard_answer_ptr get(shard_query::kind what = shard_query::kind::days) {
    auto slot = submit(what);
    settle();
    BOOST_REQUIRE((slot->value && *slot->value));
    return **slot->value;
  }

  auto wait_for(const uuid& event, std::vector<std::string> branches = {id}) {
    auto slot = post<bool>(
      fallback, atom::after_v, event,
      std::make_shared<const std::vector<std::string>>(std::move(branches)));
    settle();
    return slot;
  }

  static int64_t purchases_in(const shard_answer& x) {
    int64_t result = 0;
    for (const auto& [day, totals] : x.days)
      result += totals.sales.purchases;
    return result;
  }

  timestamp started = wall_clock_now() - 1min;
  test::event_maker maker{7, {.days = 1, .now = started}};
  test::table_model_ptr tables = std::make_shared<test::table_model>();
  test::reader_script_ptr reader = std::make_shared<test::reader_script>();
  test::outbox_script_ptr outbox = std::make_shared<test::outbox_script>();
  directory_view_ptr view = std::make_shared<directory_view>();
  aggregate_reader_actor reader_actor;
  backlog_reader_actor purchases_actor;
  fallback_reader_actor fallback;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(fallback_reader_suite, fixture)

BOOST_AUTO_TEST_CASE(what_is_applied_is_answered_and_nothing_is_pending) {
  apply(sell(20));
  auto before = view->now();
  auto x = get();
  BOOST_TEST(purchases_in(*x) == 20);
  BOOST_TEST(x->pending_events == 0);
  BOOST_TEST((x->lag_ms && *x->lag_ms == 0));
  BOOST_TEST((x->as_of >= before));
  BOOST_TEST((x->as_of <= view->now()));
}

BOOST_AUTO_TEST_CASE(what_is_committed_and_not_applied_is_pending) {
  apply(sell(20));
  auto waiting = sell(3);
  auto x = get();
  BOOST_TEST(purchases_in(*x) == 20);
  BOOST_TEST(x->pending_events == 3);
  BOOST_TEST((x->as_of == waiting[0].recorded_at - 1ms));
  BOOST_REQUIRE(x->lag_ms.has_value());
  BOOST_TEST(*x->lag_ms
             >= (view->now() - waiting[0].recorded_at).count() - 1000);
}

BOOST_AUTO_TEST_CASE(every_kind_of_query_gets_its_slices) {
  using kind = shard_query::kind;
  auto sold = sell(50);
  apply(sold);
  int64_t items = 0;
  for (const auto& x : sold)
    items += static_cast<int64_t>(x.items.size());
  int64_t units = 0;
  // A loop keeps no temporary alive that its range hangs on.
  auto products = get(kind::products);
  for (const auto& x : *products->products)
    units += x.totals.quantity;
  BOOST_TEST(units == items);
  int64_t in_hours = 0;
  auto hours = get(kind::hours);
  for (const auto& x : hours->hours)
    in_hours += x.sales.purchases;
  BOOST_TEST(in_hours == 50);
  int64_t in_cells = 0;
  auto heat = get(kind::heat);
  for (const auto& x : *heat->heat)
    in_cells += x.purchases;
  BOOST_TEST(in_cells == 50);
  BOOST_TEST(get(kind::loyal)->customers.size() == 10u);
}

BOOST_AUTO_TEST_CASE(without_the_outbox_it_says_what_the_cursor_says) {
  apply(sell(20));
  outbox->down = true;
  auto x = get();
  BOOST_TEST(purchases_in(*x) == 20);
  BOOST_TEST(!x->lag_ms);
  BOOST_TEST((x->as_of == tables->cursor(id).recorded_at));
}

BOOST_AUTO_TEST_CASE(an_owner_that_applies_meanwhile_restarts_the_reading) {
  apply(sell(20));
  auto late = sell(1);
  reader->hold = true;
  auto slot = submit();
  settle();
  // The event log is being asked, of the state that was loaded.
  BOOST_REQUIRE(reader->held.size() == 1u);
  apply(late);
  reader->release();
  settle();
  BOOST_TEST(!slot->value);
  BOOST_TEST(reader->loads == 2u);
  reader->release();
  settle();
  BOOST_REQUIRE((slot->value && *slot->value));
  const auto& x = **slot->value;
  BOOST_TEST(purchases_in(*x) == 21);
  BOOST_TEST(x->pending_events == 0);
}

BOOST_AUTO_TEST_CASE(an_owner_that_applies_all_the_time_costs_the_lag_only) {
  apply(sell(20));
  reader->hold = true;
  auto slot = submit();
  settle();
  for (int i = 0; i < 3; ++i) {
    apply(sell(1));
    reader->release();
    settle();
  }
  BOOST_REQUIRE((slot->value && *slot->value));
  BOOST_TEST(!(**slot->value)->lag_ms);
  BOOST_TEST(purchases_in(***slot->value) >= 20);
}

BOOST_AUTO_TEST_CASE(an_event_is_waited_for_until_it_is_in_the_log) {
  auto sold = sell(1);
  auto slot = wait_for(sold[0].event_id);
  advance_in_steps(1s, 50ms);
  BOOST_TEST(!slot->value);
  apply(sold);
  advance_in_steps(300ms, 50ms);
  BOOST_REQUIRE((slot->value && *slot->value));
  BOOST_TEST(**slot->value);
}

BOOST_AUTO_TEST_CASE(an_event_of_another_branch_ends_no_wait) {
  auto sold = sell(1);
  apply(sold);
  auto slot = wait_for(sold[0].event_id, {"branch-2", "branch-3"});
  advance_in_steps(1900ms, 50ms);
  BOOST_TEST(!slot->value);
  advance_in_steps(300ms, 50ms);
  BOOST_REQUIRE((slot->value && *slot->value));
  BOOST_TEST(!**slot->value);
}

BOOST_AUTO_TEST_CASE(one_check_of_the_log_is_for_all_waiters) {
  std::vector<tests::answer<bool>> slots;
  for (const auto& x : sell(30))
    slots.push_back(wait_for(x.event_id));
  reader->slices.clear();
  advance_in_steps(1s, 50ms);
  BOOST_TEST(reader->slices.size() <= 6u);
  advance_in_steps(2s, 50ms);
  for (const auto& x : slots)
    BOOST_TEST(x->count == 1u);
}

BOOST_AUTO_TEST_CASE(a_check_that_fails_loses_nobody_who_waits) {
  auto sold = sell(1);
  reader->error = errc::unavailable;
  auto slot = wait_for(sold[0].event_id);
  advance_in_steps(500ms, 50ms);
  BOOST_TEST(!slot->value);
  reader->error = errc::none;
  apply(sold);
  advance_in_steps(300ms, 50ms);
  BOOST_REQUIRE((slot->value && *slot->value));
  BOOST_TEST(**slot->value);
}

// Goal: nobody waits longer than `limits::after_wait_max`. Method: the event
// log does not answer; the second check begins before the second waiter's time
// is over and would end behind it.
BOOST_AUTO_TEST_CASE(a_check_that_hangs_holds_nobody_beyond_his_time) {
  reader->hold = true;
  auto first = wait_for(maker.new_id());
  advance_in_steps(1500ms, 50ms);
  auto second = wait_for(maker.new_id());
  advance_in_steps(750ms, 50ms);
  BOOST_REQUIRE((first->value && *first->value));
  BOOST_TEST(!**first->value);
  BOOST_TEST(!second->value);
  advance_in_steps(1500ms, 50ms);
  BOOST_REQUIRE((second->value && *second->value));
  BOOST_TEST(!**second->value);
}

BOOST_AUTO_TEST_CASE(the_number_of_branches_at_once_is_bounded) {
  apply(sell(5));
  outbox->notices.clear();
  sell(1);
  reader->hold = true;
  std::vector<tests::answer<shard_answer_ptr>> slots;
  for (int i = 0; i < 6; ++i)
    slots.push_back(submit());
  settle();
  BOOST_TEST(reader->held.size() == 2u);
  // Two are read, three wait, the sixth is one too many.
  BOOST_REQUIRE((slots[5]->value && !*slots[5]->value));
  BOOST_TEST((slots[5]->value->error() == errc::overloaded));
  reader->hold = false;
  reader->release();
  settle();
  for (int i = 0; i < 5; ++i)
    BOOST_TEST((slots[i]->value && *slots[i]->value), i);
}

BOOST_AUTO_TEST_CASE(a_branch_that_waits_too_long_times_out) {
  apply(sell(5));
  reader->hold = true;
  std::vector<tests::answer<shard_answer_ptr>> slots;
  for (int i = 0; i < 4; ++i)
    slots.push_back(submit());
  advance_in_steps(11s, 500ms);
  for (const auto& x : slots)
    BOOST_TEST(x->count == 1u);
}

BOOST_AUTO_TEST_CASE(tables_that_can_not_be_read_fail_the_branch) {
  reader->error = errc::unavailable;
  auto slot = submit();
  settle();
  BOOST_REQUIRE((slot->value && !*slot->value));
  BOOST_TEST((slot->value->error() == errc::unavailable));
  reader->error = errc::none;
  auto unknown
    = post<shard_answer_ptr>(fallback, atom::ask_v, std::string{"nowhere"},
                             query(shard_query::kind::days));
  settle();
  BOOST_REQUIRE((unknown->value && !*unknown->value));
  BOOST_TEST((unknown->value->error() == errc::not_found));
}

BOOST_AUTO_TEST_CASE(when_it_ends_all_waiters_are_answered) {
  sell(1);
  reader->hold = true;
  auto slot = submit();
  auto wait = wait_for(maker.new_id());
  caf::anon_send_exit(fallback, caf::exit_reason::kill);
  settle();
  BOOST_TEST((slot->value && !*slot->value));
  BOOST_TEST((wait->value && !*wait->value));
}

BOOST_AUTO_TEST_SUITE_END()

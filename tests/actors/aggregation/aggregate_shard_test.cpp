#include "actors/aggregation/aggregate_shard.hpp"

#include "messages/core/error.hpp"
#include "messages/model/queries.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/made_up_events.hpp"
#include "tests/support/read_side.hpp"

#include <boost/test/unit_test.hpp>

#include <set>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

const std::string id = "branch-1";

struct fixture : tests::actor_fixture {
  fixture() {
    writer->tables = reader->tables = tables;
    tables->put_epoch(id, 1);
    stream->state.incarnation = test::first_incarnation;
    consumer_actor = sys.spawn(test::scripted_consumer, stream);
    writer_actor = sys.spawn(test::scripted_writer, writer);
    reader_actor = sys.spawn(test::scripted_reader, reader);
    purchases_actor = sys.spawn(test::scripted_purchases, outbox);
    relay_actor = sys.spawn(test::scripted_relay, relay);
  }

  ~fixture() {
    end(shard);
    writer->held.clear();
    reader->held.clear();
    stream->held.clear();
    end(consumer_actor);
    end(writer_actor);
    end(reader_actor);
    end(purchases_actor);
    end(relay_actor);
  }

  aggregate_shard_options make_options() {
    aggregate_shard_options options;
    options.branch_id = id;
    options.epoch = 1;
    options.clock = *branch_clock::make(*test::made_up_chain().find(id));
    options.generation = 100;
    options.consumer = consumer_actor;
    options.writers = pool_of(writer_actor);
    options.reader = reader_actor;
    options.purchases = purchases_actor;
    options.relay = relay_actor;
    options.now = [this] { return now; };
    options.fetch_max = 8;
    options.notices_max = outbox->page;
    options.pending = pending;
    options.seed = 1;
    options.batch_window = batch_window;
    options.batch_window_max = 3;
    return options;
  }

  void start() {
    shard = sys.spawn(aggregate_shard, make_options());
    self->monitor(shard);
    settle();
  }

  purchase_event make() {
    return maker.make(id);
  }

  /// Time goes by, for the database as well.
  void pass(std::chrono::milliseconds time) {
    for (auto done = 0ms; done < time; done += 500ms) {
      now += 500ms;
      advance(500ms);
    }
  }

  /// Puts an event into the stream and delivers it in turn.
  void deliver(std::vector<purchase_event> xs) {
    std::vector<delivered_message> messages;
    for (const auto& x : xs)
      messages.push_back(
        test::message_of(x, ++stream->state.last_seq, ++consumer_seq));
    deliver(std::move(messages));
  }

  void deliver(std::vector<delivered_message> xs, std::string lost = {}) {
    delivery x;
    x.branch_id = id;
    x.generation
      = stream->opened.empty() ? 1 : stream->opened.back().generation;
    x.messages = std::move(xs);
    x.lost = std::move(lost);
    caf::anon_send(shard, atom::deliver_v,
                   std::make_shared<const delivery>(std::move(x)));
    settle();
  }

  void commit(const std::vector<purchase_event>& xs) {
    caf::anon_send(shard, atom::committed_v, test::notices_of(xs));
    settle();
  }

  /// Waits out the longest backoff; deliveries then begin anew.
  void wait_for_reopening() {
    advance_in_steps(5s, 50ms);
    consumer_seq = 0;
  }

  static shard_query_ptr query(shard_query::kind what = {}) {
    shard_query result;
    result.what = what;
    result.from = *parse_day("2026-01-01");
    result.to = *parse_day("2026-12-31");
    result.limit = 10;
    return std::make_shared<const shard_query>(result);
  }

  shard_answer_ptr ask(shard_query::kind what = {}) {
    auto result = tests::actor_fixture::ask<shard_answer_ptr>(
      shard, atom::ask_v, query(what));
    if (!result || !*result)
      return nullptr;
    return **result;
  }

  /// Sends a query and lets everything happen that can.
  auto begin_to_ask() {
    auto slot = post<shard_answer_ptr>(shard, atom::ask_v,
                                       query(shard_query::kind::days));
    settle();
    return slot;
  }

  /// Lets the reader go on: whoever waits for it is told what is pending.
  void check_synced(const tests::answer<shard_answer_ptr>& asked,
                    int64_t pending_events) {
    reader->hold = false;
    reader->release();
    settle();
    BOOST_REQUIRE(asked->value);
    BOOST_TEST((**asked->value)->pending_events == pending_events);
    BOOST_TEST((**asked->value)->lag_ms.has_value());
  }

  /// Whether the applied events are these, in this order.
  void check_applied(const std::vector<purchase_event>& expected) {
    const auto& applied = tables->applied(id);
    BOOST_REQUIRE(applied.size() == expected.size());
    for (size_t i = 0; i < applied.size(); ++i)
      BOOST_TEST((applied[i].event_id == expected[i].event_id));
    int64_t purchases = 0;
    auto answer = ask(shard_query::kind::days);
    BOOST_REQUIRE(answer != nullptr);
    for (const auto& [day, totals] : answer->days)
      purchases += totals.sales.purchases;
    BOOST_TEST(purchases == static_cast<int64_t>(expected.size()));
  }

  /// The reason with which the shard ended.
  caf::error end_reason() {
    caf::error result;
    if (self->mailbox().empty())
      return result;
    self->receive([&](caf::down_msg& x) { result = x.reason; });
    return result;
  }

  timestamp now = *parse_rfc3339("2026-03-10T12:00:00Z");
  test::event_maker maker{5, {20, 5, 3, now}};
  test::table_model_ptr tables = std::make_shared<test::table_model>();
  test::stream_script_ptr stream = std::make_shared<test::stream_script>();
  test::writer_script_ptr writer = std::make_shared<test::writer_script>();
  test::reader_script_ptr reader = std::make_shared<test::reader_script>();
  test::outbox_script_ptr outbox = std::make_shared<test::outbox_script>();
  test::relay_script_ptr relay = std::make_shared<test::relay_script>();
  stream_consumer_actor consumer_actor;
  aggregate_writer_actor writer_actor;
  aggregate_reader_actor reader_actor;
  backlog_reader_actor purchases_actor;
  outbox_relay_actor relay_actor;
  aggregate_shard_actor shard;
  uint64_t consumer_seq = 0;
  caf::timespan batch_window{0};
  backlog_limits pending;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(aggregate_shard_suite, fixture)

// -- order --------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(events_are_applied_in_order_and_acknowledged_afterwards) {
  start();
  BOOST_REQUIRE(stream->opened.size() == 1u);
  BOOST_TEST(stream->opened[0].first_seq == 1u);
  BOOST_TEST(stream->opened[0].generation > 100u);
  BOOST_TEST(stream->fetched == 8u);
  writer->hold = true;
  auto a = make(), b = make(), c = make();
  deliver({a});
  deliver({b});
  deliver({c});
  BOOST_TEST(writer->held.size() == 1u);
  BOOST_TEST(stream->acked.empty());
  writer->release();
  settle();
  BOOST_TEST(stream->acked.size() == 1u);
  BOOST_TEST(writer->held.size() == 1u);
  BOOST_TEST(writer->held.front().first->events.size() == 2u);
  writer->release();
  settle();
  writer->hold = false;
  BOOST_TEST(stream->acked.size() == 3u);
  check_applied({a, b, c});
}

BOOST_AUTO_TEST_CASE(a_few_events_wait_for_more_between_two_applies) {
  batch_window = 20ms;
  start();
  auto a = make(), b = make(), c = make();
  deliver({a}); // After a quiet moment: at once.
  BOOST_TEST(tables->applied(id).size() == 1u);
  deliver({b});
  advance_in_steps(10ms, 5ms);
  deliver({c});
  BOOST_TEST(tables->applied(id).size() == 1u);
  advance_in_steps(10ms, 5ms);
  BOOST_TEST(tables->applied(id).size() == 3u);
  auto many = std::vector{make(), make(), make()};
  deliver(many); // Enough not to wait.
  check_applied({a, b, c, many[0], many[1], many[2]});
}

BOOST_AUTO_TEST_CASE(a_restart_goes_on_behind_the_cursor) {
  start();
  auto a = make(), b = make();
  deliver({a});
  end(shard);
  start();
  BOOST_TEST(stream->opened.back().first_seq == 2u);
  consumer_seq = 0;
  deliver({b});
  check_applied({a, b});
}

BOOST_AUTO_TEST_CASE(an_exit_message_waits_for_the_apply_in_flight) {
  start();
  writer->hold = true;
  auto a = make(), b = make();
  deliver({a});
  deliver({b});
  caf::anon_send_exit(shard, caf::exit_reason::user_shutdown);
  settle();
  BOOST_TEST(stream->acked.empty());
  writer->release();
  settle();
  // The first is acknowledged, the second left to the next owner.
  BOOST_TEST(stream->acked.size() == 1u);
  BOOST_TEST(writer->held.empty());
  BOOST_TEST(tables->applied(id).size() == 1u);
}

BOOST_AUTO_TEST_CASE(credit_is_fetched_again_as_events_are_applied) {
  start();
  writer->hold = true;
  for (int i = 0; i < 5; ++i)
    deliver({make()});
  BOOST_TEST(stream->fetched == 8u);
  writer->release();
  settle();
  writer->release();
  settle();
  BOOST_TEST(stream->fetched == 13u);
}

BOOST_AUTO_TEST_CASE(a_gap_opens_the_branch_again_at_its_cursor) {
  start();
  auto a = make(), b = make(), c = make();
  deliver({a});
  ++consumer_seq; // b got lost
  stream->state.last_seq++;
  deliver({c});
  BOOST_TEST(tables->applied(id).size() == 1u);
  wait_for_reopening();
  BOOST_REQUIRE(stream->opened.size() == 2u);
  BOOST_TEST(stream->opened[1].first_seq == 2u);
  BOOST_TEST(stream->opened[1].generation > stream->opened[0].generation);
  deliver({test::message_of(b, 2, 1), test::message_of(c, 3, 2)});
  check_applied({a, b, c});
}

BOOST_AUTO_TEST_CASE(a_redelivery_opens_the_branch_again_at_its_cursor) {
  start();
  auto a = make();
  auto again = test::message_of(a, ++stream->state.last_seq, 1);
  again.delivery = 2;
  deliver({again});
  BOOST_TEST(tables->applied(id).empty());
  wait_for_reopening();
  BOOST_REQUIRE(stream->opened.size() == 2u);
  deliver({test::message_of(a, 1, 1)});
  check_applied({a});
}

BOOST_AUTO_TEST_CASE(lost_deliveries_open_the_branch_again_at_its_cursor) {
  start();
  auto a = make(), b = make();
  deliver({a});
  deliver({}, "the connection was lost");
  wait_for_reopening();
  BOOST_REQUIRE(stream->opened.size() == 2u);
  BOOST_TEST(stream->opened[1].first_seq == 2u);
  deliver({b});
  check_applied({a, b});
}

BOOST_AUTO_TEST_CASE(opening_waits_for_the_apply_that_is_in_flight) {
  start();
  writer->hold = true;
  deliver({make()});
  deliver({}, "gone");
  advance_in_steps(5s, 50ms);
  BOOST_TEST(stream->opened.size() == 1u);
  writer->release();
  settle();
  BOOST_REQUIRE(stream->opened.size() == 2u);
  BOOST_TEST(stream->opened[1].first_seq == 2u);
}

BOOST_AUTO_TEST_CASE(a_broker_that_is_away_is_asked_until_it_is_back) {
  stream->down = true;
  start();
  BOOST_TEST(stream->opened.empty());
  BOOST_TEST((ask() != nullptr));
  advance_in_steps(20s, 100ms);
  auto queries = stream->state_queries;
  BOOST_TEST(queries > 3u);
  BOOST_TEST(queries < 20u);
  stream->down = false;
  advance_in_steps(6s, 100ms);
  BOOST_TEST(stream->opened.size() == 1u);
}

BOOST_AUTO_TEST_CASE(pending_events_that_do_not_come_open_the_branch_again) {
  start();
  auto a = make();
  commit({a});
  stream->state.last_seq = 1; // It is there, and does not come.
  pass(15s);
  BOOST_TEST(stream->opened.size() == 2u);
  // The next time it waits for longer.
  pass(15s);
  BOOST_TEST(stream->opened.size() == 2u);
  consumer_seq = 0;
  deliver({test::message_of(a, 1, 1)});
  pass(100s);
  BOOST_TEST(stream->opened.size() == 2u);
  BOOST_TEST(relay->asked.empty());
}

BOOST_AUTO_TEST_CASE(what_is_in_the_stream_is_never_published_again) {
  start();
  commit({make()});
  stream->state.last_seq = 1;
  pass(10min);
  BOOST_TEST(stream->opened.size() > 3u);
  BOOST_TEST(stream->opened.size() < 12u); // less and less often
  BOOST_TEST(relay->asked.empty());
}

BOOST_AUTO_TEST_CASE(while_the_relay_is_behind_nothing_is_done_again) {
  start();
  auto a = make();
  commit({a});
  outbox->sent_age = -1;
  pass(5min);
  BOOST_TEST(outbox->sent_asked.size() > 10u);
  BOOST_TEST((outbox->sent_asked.back() == a.event_id));
  BOOST_TEST(stream->opened.size() == 1u);
  BOOST_TEST(stream->last_asked.empty());
  // Published, but only just.
  outbox->sent_age = 2000;
  pass(1min);
  BOOST_TEST(stream->opened.size() == 1u);
  BOOST_TEST(relay->asked.empty());
  deliver({a});
  check_applied({a});
}

BOOST_AUTO_TEST_CASE(what_is_sent_and_missing_is_opened_then_published_again) {
  start();
  auto a = make(), b = make();
  deliver({a});
  commit({b}); // SENT, and the stream has nothing behind a.
  pass(15s);
  BOOST_TEST(stream->opened.size() == 2u);
  BOOST_TEST(relay->asked.empty());
  pass(25s);
  BOOST_REQUIRE(relay->asked.size() == 1u);
  BOOST_TEST(relay->asked[0].second == b.outbox_seq - 1);
  BOOST_TEST(stream->opened.size() == 3u);
  consumer_seq = 0;
  deliver({b});
  pass(5min);
  BOOST_TEST(relay->asked.size() == 1u);
  check_applied({a, b});
}

BOOST_AUTO_TEST_CASE(a_notice_for_what_is_applied_is_no_stall) {
  start();
  auto a = make();
  deliver({a});
  end(shard);
  start(); // It does not remember what it applied one by one.
  commit({a});
  BOOST_TEST(ask()->pending_events == 1);
  pass(20s);
  BOOST_TEST(ask()->pending_events == 0);
  BOOST_TEST(stream->opened.size() == 2u); // one each start
  BOOST_TEST(stream->last_asked.empty());
}

BOOST_AUTO_TEST_CASE(an_outbox_that_is_away_repairs_nothing) {
  start();
  commit({make()});
  outbox->down = true;
  pass(2min);
  BOOST_TEST(outbox->sent_asked.size() > 5u);
  BOOST_TEST(stream->opened.size() == 1u);
  BOOST_TEST(relay->asked.empty());
}

BOOST_AUTO_TEST_CASE(few_branches_probe_and_publish_again_at_once) {
  repair_limiter_limits bounds;
  bounds.probes_per_second = 2;
  bounds.probes_burst = 3;
  bounds.republish_max = 2;
  constexpr size_t count = 20;
  auto limiter = std::make_shared<repair_limiter>(bounds);
  std::vector<aggregate_shard_actor> all;
  relay->hold = true;
  for (size_t i = 0; i < count; ++i) {
    auto missing = make();
    missing.branch_id = "many-" + std::to_string(i);
    tables->put_epoch(missing.branch_id, 1);
    auto options = make_options();
    options.branch_id = missing.branch_id;
    options.limiter = limiter;
    all.push_back(sys.spawn(aggregate_shard, options));
    settle();
    caf::anon_send(all.back(), atom::committed_v, test::notices_of({missing}));
    settle();
  }
  pass(11s);
  auto probes = outbox->sent_asked.size();
  BOOST_TEST(probes > 0u);
  BOOST_TEST(probes <= 3u + 2u * 2u);
  pass(10s);
  BOOST_TEST(outbox->sent_asked.size() - probes <= 3u + 2u * 10u);
  // All of them miss an event; two ask, the others wait for their turn.
  for (int i = 0; i < 60 && relay->held.size() < 2; ++i)
    pass(1s);
  pass(10s);
  BOOST_TEST(relay->held.size() == 2u);
  BOOST_TEST(relay->asked.size() == 2u);
  relay->release();
  settle();
  pass(10s);
  BOOST_TEST(relay->held.size() == 2u);
  BOOST_TEST(relay->asked.size() == 4u);
  relay->hold = false;
  relay->release();
  pass(5min);
  std::set<std::string> served;
  for (const auto& [branch_id, after] : relay->asked)
    served.insert(branch_id);
  BOOST_TEST(served.size() == count);
  for (auto& x : all)
    end(x);
}

// -- failures -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_failed_apply_loads_the_tables_and_starts_at_the_cursor) {
  start();
  auto a = make(), b = make();
  deliver({a});
  writer->error = errc::unavailable;
  deliver({b});
  BOOST_TEST(reader->loads == 1u);
  wait_for_reopening();
  BOOST_TEST(reader->loads == 2u);
  BOOST_REQUIRE(stream->opened.size() == 2u);
  BOOST_TEST(stream->opened[1].first_seq == 2u);
  deliver({test::message_of(b, 2, 1)});
  check_applied({a, b});
}

BOOST_AUTO_TEST_CASE(a_commit_in_doubt_that_landed_is_not_applied_again) {
  start();
  auto a = make(), b = make();
  commit({a});
  writer->error = errc::in_doubt;
  writer->landed = true;
  deliver({a});
  wait_for_reopening();
  BOOST_TEST(stream->opened.back().first_seq == 2u);
  // The event log tells that it is applied.
  BOOST_TEST(ask()->pending_events == 0);
  deliver({b});
  check_applied({a, b});
}

BOOST_AUTO_TEST_CASE(one_probe_of_the_stream_is_under_way_at_a_time) {
  start();
  stream->hold = true;
  advance_in_steps(11s, 500ms);
  // The check of the incarnation has no answer yet.
  BOOST_REQUIRE(stream->held.size() == 1u);
  writer->error = errc::unavailable;
  deliver({make()});
  advance_in_steps(2s, 100ms);
  BOOST_TEST(reader->loads == 2u);
  BOOST_TEST(stream->held.size() == 1u);
  BOOST_TEST(stream->opened.size() == 1u);
  // Its late answer is older than the state that was loaded.
  auto queries = stream->state_queries;
  stream->hold = false;
  stream->release();
  settle();
  BOOST_TEST(stream->state_queries == queries + 1);
  BOOST_TEST(stream->opened.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_stale_epoch_ends_the_shard) {
  start();
  tables->put_epoch(id, 2);
  deliver({make()});
  BOOST_TEST((end_reason() == errc::not_owner));
  BOOST_TEST(tables->applied(id).empty());
}

BOOST_AUTO_TEST_CASE(a_cursor_that_moved_loads_the_tables) {
  start();
  auto a = make(), b = make();
  deliver({a});
  auto moved = tables->cursor(id);
  moved.stream_seq = 7;
  tables->put_cursor(id, moved);
  deliver({b});
  stream->state.last_seq = 7;
  wait_for_reopening();
  BOOST_TEST(reader->loads == 2u);
  BOOST_TEST(stream->opened.back().first_seq == 8u);
}

BOOST_AUTO_TEST_CASE(a_load_that_fails_is_tried_again) {
  reader->error = errc::unavailable;
  start();
  BOOST_TEST((ask() == nullptr));
  advance_in_steps(10s, 100ms);
  BOOST_TEST(reader->loads > 3u);
  BOOST_TEST(stream->opened.empty());
  reader->error = errc::none;
  wait_for_reopening();
  BOOST_TEST(stream->opened.size() == 1u);
  BOOST_TEST((ask() != nullptr));
}

BOOST_AUTO_TEST_CASE(a_message_that_is_no_event_is_set_aside_and_stops_nobody) {
  start();
  auto a = make(), b = make();
  auto broken = test::message_of(make(), 2, 2);
  broken.payload = std::make_shared<const std::string>("not JSON");
  stream->state.last_seq = 3;
  deliver({test::message_of(a, 1, 1), broken, test::message_of(b, 3, 3)});
  BOOST_REQUIRE(tables->set_aside(id).size() == 1u);
  BOOST_TEST(tables->set_aside(id).begin()->stream_seq == 2u);
  BOOST_TEST(tables->set_aside(id).begin()->reason != "");
  BOOST_TEST(stream->acked.size() == 3u);
  check_applied({a, b});
}

BOOST_AUTO_TEST_CASE(an_event_that_comes_twice_counts_once) {
  start();
  auto a = make();
  deliver({a});
  deliver({a}); // under another stream sequence, as after a publish time-out
  check_applied({a});
  BOOST_TEST(stream->acked.size() == 2u);
  BOOST_TEST(tables->cursor(id).stream_seq == 2u);
}

// -- the stream lost data -----------------------------------------------------

BOOST_AUTO_TEST_CASE(
  the_first_incarnation_of_the_stream_is_stored_before_any_event) {
  start();
  BOOST_REQUIRE(writer->seen.size() == 1u);
  BOOST_TEST(writer->seen[0]->events.empty());
  BOOST_TEST(tables->cursor(id).stream_incarnation == test::first_incarnation);
  BOOST_TEST(relay->asked.empty());
}

BOOST_AUTO_TEST_CASE(another_incarnation_of_the_stream_is_published_again) {
  start();
  auto a = make(), b = make();
  deliver({a});
  commit({b});
  std::string incarnation_at_republish;
  relay->on_republish = [&](int64_t) {
    incarnation_at_republish = tables->cursor(id).stream_incarnation;
  };
  stream->state.incarnation = "2026-02-02T00:00:00Z";
  stream->state.last_seq = 0;
  deliver({}, "the broker came back");
  wait_for_reopening();
  BOOST_REQUIRE(relay->asked.size() == 1u);
  BOOST_TEST(relay->asked[0].second == a.outbox_seq);
  // Before the cursor moves: a crash in between repeats it.
  BOOST_TEST(incarnation_at_republish == test::first_incarnation);
  BOOST_TEST(tables->cursor(id).stream_incarnation == "2026-02-02T00:00:00Z");
  BOOST_TEST(stream->opened.back().first_seq == 1u);
  deliver({a, b});
  check_applied({a, b});
}

BOOST_AUTO_TEST_CASE(a_stream_that_came_back_shorter_is_noticed_while_idle) {
  start();
  auto a = make(), b = make(), c = make();
  deliver({a});
  deliver({b});
  stream->state.last_seq = 1; // b is lost
  advance_in_steps(15s, 500ms);
  BOOST_REQUIRE(relay->asked.size() == 1u);
  BOOST_TEST(relay->asked[0].second == b.outbox_seq);
  BOOST_TEST(tables->cursor(id).stream_incarnation
             == test::first_incarnation + "#1");
  BOOST_TEST(stream->opened.back().first_seq == 1u);
  // It is no alarm for ever.
  advance_in_steps(30s, 500ms);
  BOOST_TEST(relay->asked.size() == 1u);
  consumer_seq = 0;
  deliver({test::message_of(a, 1, 1), test::message_of(c, 2, 2)});
  check_applied({a, b, c});
}

BOOST_AUTO_TEST_CASE(what_is_published_again_begins_below_what_is_unread) {
  outbox->page = 3;
  outbox->down = true;
  pending.ids_max = 3; // No room for a second page.
  start();
  auto a = make(), b = make(), c = make(), unread = make(), last = make();
  a.outbox_seq = 10;
  b.outbox_seq = 7;
  c.outbox_seq = 12;
  unread.outbox_seq = 8;
  last.outbox_seq = 20;
  deliver({b});
  deliver({last});
  outbox->notices = *test::notices_of({a, b, c, unread});
  outbox->down = false;
  advance_in_steps(5s, 500ms);
  stream->state.incarnation = "other";
  deliver({}, "gone");
  wait_for_reopening();
  BOOST_REQUIRE(relay->asked.size() == 1u);
  BOOST_TEST(relay->asked[0].second < unread.outbox_seq);
}

BOOST_AUTO_TEST_CASE(what_is_published_again_begins_below_what_is_pending) {
  start();
  auto a = make(), b = make();
  commit({a});
  deliver({b}); // overtook a
  stream->state.incarnation = "other";
  deliver({}, "gone");
  wait_for_reopening();
  BOOST_REQUIRE(relay->asked.size() == 1u);
  BOOST_TEST(relay->asked[0].second == a.outbox_seq - 1);
}

BOOST_AUTO_TEST_CASE(without_the_outbox_the_cursor_stays_in_its_incarnation) {
  start();
  deliver({make()});
  stream->state.incarnation = "other";
  relay->down = true;
  deliver({}, "gone");
  wait_for_reopening();
  BOOST_TEST(tables->cursor(id).stream_incarnation == test::first_incarnation);
  relay->down = false;
  wait_for_reopening();
  BOOST_TEST(tables->cursor(id).stream_incarnation == "other");
}

// -- queries ----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(nothing_is_applied_while_a_slice_is_loaded) {
  start();
  auto a = make(), b = make();
  deliver({a});
  reader->hold = true;
  auto asked = self->request(shard, caf::infinite, atom::ask_v, [&] {
    shard_query x;
    x.what = shard_query::kind::loyal;
    x.limit = 5;
    return std::make_shared<const shard_query>(x);
  }());
  settle();
  BOOST_REQUIRE(reader->held.size() == 1u);
  auto applies = writer->seen.size();
  deliver({b});
  BOOST_TEST(writer->seen.size() == applies);
  reader->hold = false;
  reader->release();
  settle();
  BOOST_TEST(writer->seen.size() == applies + 1);
  // From before or from behind the apply, both are true; nothing in between.
  asked.receive(
    [](const shard_answer_ptr& x) {
      BOOST_TEST(x->customers.size() >= 1u);
      BOOST_TEST(x->customers.size() <= 2u);
    },
    [](caf::error& err) { BOOST_FAIL(describe(err)); });
  check_applied({a, b});
}

BOOST_AUTO_TEST_CASE(no_slice_is_loaded_while_an_apply_is_in_flight) {
  start();
  deliver({make()});
  writer->hold = true;
  deliver({make()});
  reader->slices.clear();
  auto asked = self->request(shard, caf::infinite, atom::ask_v, [&] {
    shard_query x;
    x.what = shard_query::kind::loyal;
    x.limit = 5;
    return std::make_shared<const shard_query>(x);
  }());
  settle();
  BOOST_TEST(reader->slices.empty());
  writer->release();
  settle();
  BOOST_TEST(reader->slices.size() == 1u);
  asked.receive(
    [](const shard_answer_ptr& x) {
      int64_t purchases = 0;
      for (const auto& y : x->customers)
        purchases += y.totals.purchases;
      BOOST_TEST(purchases == 2);
    },
    [](caf::error& err) { BOOST_FAIL(describe(err)); });
}

BOOST_AUTO_TEST_CASE(a_slice_that_cannot_be_read_answers_the_query) {
  start();
  deliver({make()});
  reader->error = errc::unavailable;
  BOOST_TEST((ask(shard_query::kind::loyal) == nullptr));
  reader->error = errc::none;
  BOOST_TEST((ask(shard_query::kind::loyal) != nullptr));
}

BOOST_AUTO_TEST_CASE(a_snapshot_mismatch_loads_everything_again) {
  start();
  auto a = make();
  deliver({a});
  auto moved = tables->cursor(id);
  moved.apply_no += 1; // somebody else wrote
  tables->put_cursor(id, moved);
  ask(shard_query::kind::loyal);
  advance_in_steps(5s, 100ms);
  BOOST_TEST(reader->loads == 2u);
  BOOST_TEST((ask(shard_query::kind::loyal) != nullptr));
}

BOOST_AUTO_TEST_CASE(a_shard_that_ends_answers_whoever_waits) {
  start();
  deliver({make()});
  reader->hold = true;
  auto asked = self->request(shard, caf::infinite, atom::ask_v,
                             query(shard_query::kind::loyal));
  auto waiting
    = self->request(shard, caf::infinite, atom::after_v, make().event_id);
  settle();
  caf::anon_send_exit(shard, caf::exit_reason::kill);
  settle();
  asked.receive(
    [](const shard_answer_ptr&) { BOOST_FAIL("an answer"); },
    [](caf::error& err) { BOOST_TEST((err == errc::unavailable)); });
  waiting.receive(
    [](bool) { BOOST_FAIL("an answer"); },
    [](caf::error& err) { BOOST_TEST((err == errc::unavailable)); });
}

// -- the backlog --------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_answer_tells_what_is_pending_and_for_how_long) {
  start();
  auto x = ask();
  BOOST_TEST(x->pending_events == 0);
  BOOST_TEST(*x->lag_ms == 0);
  BOOST_TEST((x->as_of == now));
  auto a = make(), b = make();
  commit({a, b});
  now = b.recorded_at + 400ms;
  x = ask();
  BOOST_TEST(x->pending_events == 2);
  BOOST_TEST(*x->lag_ms == (now - a.recorded_at).count());
  BOOST_TEST((x->as_of == a.recorded_at - 1ms));
  deliver({a});
  x = ask();
  BOOST_TEST(x->pending_events == 1);
  BOOST_TEST((x->as_of == b.recorded_at - 1ms));
  deliver({b});
  x = ask();
  BOOST_TEST(x->pending_events == 0);
  BOOST_TEST((x->as_of == now));
}

BOOST_AUTO_TEST_CASE(at_its_start_a_shard_syncs_the_backlog) {
  start();
  auto a = make(), b = make();
  deliver({a});
  end(shard);
  outbox->notices = *test::notices_of({a, b});
  start();
  auto x = ask();
  BOOST_TEST(x->pending_events == 1);
  BOOST_TEST((x->as_of == b.recorded_at - 1ms));
}

BOOST_AUTO_TEST_CASE(a_long_outbox_is_read_page_by_page) {
  outbox->page = 3;
  std::vector<purchase_event> events;
  for (int i = 0; i < 8; ++i) {
    events.push_back(make());
    events.back().recorded_at += 3s * i;
  }
  outbox->notices = *test::notices_of(events);
  start();
  advance_in_steps(3s, 500ms);
  BOOST_TEST(ask()->pending_events == 8);
  using batch = std::vector<purchase_event>;
  deliver(batch{events.begin(), events.begin() + 4});
  deliver(batch{events.begin() + 4, events.end()});
  BOOST_TEST(ask()->pending_events == 0);
}

BOOST_AUTO_TEST_CASE(without_the_outbox_the_lag_is_not_known) {
  outbox->down = true;
  start();
  deliver({make()});
  auto x = ask();
  BOOST_TEST(!x->lag_ms.has_value());
  BOOST_TEST((x->as_of == tables->cursor(id).recorded_at));
  outbox->down = false;
  advance_in_steps(5s, 500ms);
  BOOST_TEST(*ask()->lag_ms == 0);
}

BOOST_AUTO_TEST_CASE(a_pending_event_that_is_in_the_log_is_found_applied) {
  start();
  auto a = make();
  deliver({a});
  end(shard);
  start();
  commit({a}); // a notice that comes late, to a shard that did not apply it
  BOOST_TEST(ask()->pending_events == 1);
  now += 60s;
  advance_in_steps(60s, 500ms);
  BOOST_TEST(ask()->pending_events == 0);
}

// -- waiting for an event -----------------------------------------------------

BOOST_AUTO_TEST_CASE(who_waits_for_an_event_is_answered_when_it_is_applied) {
  start();
  auto a = make();
  commit({a});
  auto waiting = self->request(shard, caf::infinite, atom::after_v, a.event_id);
  settle();
  BOOST_TEST(self->mailbox().empty());
  deliver({a});
  waiting.receive([](bool x) { BOOST_TEST(x); },
                  [](caf::error& err) { BOOST_FAIL(describe(err)); });
  BOOST_TEST(
    **tests::actor_fixture::ask<bool>(shard, atom::after_v, a.event_id));
}

BOOST_AUTO_TEST_CASE(who_waits_in_vain_is_answered_after_two_seconds) {
  start();
  auto waiting
    = self->request(shard, caf::infinite, atom::after_v, make().event_id);
  settle();
  advance_in_steps(1900ms, 100ms);
  BOOST_TEST(self->mailbox().empty());
  advance_in_steps(200ms, 100ms);
  waiting.receive([](bool x) { BOOST_TEST(!x); },
                  [](caf::error& err) { BOOST_FAIL(describe(err)); });
}

BOOST_AUTO_TEST_CASE(an_event_applied_long_ago_is_found_in_the_log) {
  start();
  auto a = make();
  deliver({a});
  end(shard);
  now += 1h;
  start();
  BOOST_TEST(
    **tests::actor_fixture::ask<bool>(shard, atom::after_v, a.event_id));
}

BOOST_AUTO_TEST_CASE(a_failed_lookup_in_the_event_log_loses_no_waiter) {
  start();
  auto a = make();
  deliver({a});
  end(shard);
  now += 1h;
  start();
  reader->slices.clear();
  reader->error = errc::unavailable;
  auto waiting = post<bool>(shard, atom::after_v, a.event_id);
  settle();
  advance_in_steps(1s, 50ms);
  BOOST_TEST(!waiting->value);
  // Not as fast as it can.
  BOOST_TEST(reader->slices.size() <= 6u);
  reader->error = errc::none;
  advance_in_steps(500ms, 50ms);
  BOOST_REQUIRE(waiting->value);
  BOOST_TEST(**waiting->value);
}

BOOST_AUTO_TEST_CASE(a_fresh_event_costs_no_lookup_in_the_log) {
  start();
  now += 1h;
  reader->slices.clear();
  uuid_source source{3};
  tests::actor_fixture::ask<bool>(shard, atom::after_v, source.v7(now));
  BOOST_TEST(reader->slices.empty());
}

BOOST_AUTO_TEST_CASE(what_cannot_be_an_event_keeps_nobody_waiting) {
  start();
  uuid_source source{3};
  BOOST_TEST(
    !**tests::actor_fixture::ask<bool>(shard, atom::after_v, source.v4()));
}

BOOST_AUTO_TEST_CASE(the_number_of_those_who_wait_is_bounded) {
  start();
  for (size_t i = 0; i < limits::after_waiters_max; ++i)
    caf::anon_send(shard, atom::after_v, make().event_id);
  settle();
  auto one_more
    = tests::actor_fixture::ask<bool>(shard, atom::after_v, make().event_id);
  BOOST_REQUIRE(one_more.has_value());
  BOOST_TEST((one_more->error() == errc::overloaded));
}

BOOST_AUTO_TEST_CASE(notices_that_were_missed_are_read_from_the_outbox) {
  start();
  deliver({make()});
  BOOST_TEST(ask()->pending_events == 0);
  // Committed by another node, whose notice was lost.
  auto missed = make();
  outbox->notices.push_back(test::notice_of(missed));
  BOOST_TEST(ask()->pending_events == 0);
  caf::anon_send(shard, atom::poll_v);
  settle();
  BOOST_TEST(ask()->pending_events == 1);
  BOOST_TEST((ask()->as_of < missed.recorded_at));
  deliver({missed});
  BOOST_TEST(ask()->pending_events == 0);
}

BOOST_AUTO_TEST_CASE(a_comparison_that_was_overtaken_counts_no_more) {
  start();
  auto first = make();
  outbox->notices.push_back(test::notice_of(first));
  reader->hold = true;
  caf::anon_send(shard, atom::poll_v);
  settle();
  // The log is being asked about the first; another round begins meanwhile.
  BOOST_REQUIRE(reader->held.size() == 1u);
  auto second = make();
  outbox->notices.push_back(test::notice_of(second));
  caf::anon_send(shard, atom::poll_v);
  settle();
  auto asked = begin_to_ask();
  reader->release();
  settle();
  BOOST_TEST(!asked->value);
  check_synced(asked, 2);
}

BOOST_AUTO_TEST_CASE(an_answer_waits_until_the_backlog_is_synced) {
  auto a = make(), b = make();
  outbox->notices = *test::notices_of({a, b});
  start();
  reader->hold = true;
  caf::anon_send(shard, atom::poll_v);
  auto asked = begin_to_ask();
  BOOST_TEST(!asked->value);
  check_synced(asked, 2);
}

BOOST_AUTO_TEST_CASE(an_answer_waits_a_second_for_it_and_no_longer) {
  start();
  deliver({make()});
  outbox->notices = *test::notices_of({make()});
  reader->hold = true;
  caf::anon_send(shard, atom::poll_v);
  auto asked = begin_to_ask();
  advance(limits::shard_sync_grace - 10ms);
  BOOST_TEST(!asked->value);
  // Whoever only asks whether it has loaded is told, behind whoever waits.
  BOOST_TEST((ask() != nullptr));
  // Asking again whether notices are missing does not begin the wait anew.
  caf::anon_send(shard, atom::poll_v);
  settle();
  advance(10ms);
  BOOST_REQUIRE(asked->value);
  BOOST_TEST(!(**asked->value)->lag_ms.has_value());
  BOOST_TEST(((**asked->value)->as_of == tables->cursor(id).recorded_at));
  BOOST_TEST(!ask()->lag_ms.has_value());
}

BOOST_AUTO_TEST_CASE(an_idle_branch_ticks_seldom) {
  start();
  advance_in_steps(12s, 100ms);
  auto before = sched.jobs.size();
  size_t ticks = 0;
  for (int i = 0; i < 600; ++i) {
    sched.advance_time(100ms);
    ticks += sched.jobs.size() > before ? 1 : 0;
    settle();
  }
  // A tick every 10 s, and as often the time-out of a query that it asked.
  BOOST_TEST(ticks <= 14u);
  // Something to do brings the short waits back.
  commit({make()});
  ticks = 0;
  for (int i = 0; i < 50; ++i) {
    sched.advance_time(100ms);
    ticks += sched.jobs.size() > before ? 1 : 0;
    settle();
  }
  BOOST_TEST(ticks >= 4u);
}

BOOST_AUTO_TEST_SUITE_END()

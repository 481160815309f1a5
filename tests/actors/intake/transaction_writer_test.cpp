#include <boost/test/unit_test.hpp>

#include "actors/intake/transaction_writer.hpp"
#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/supervisor.hpp"
#include "messages/core/metrics.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_purchase_store.hpp"

#include <caf/send.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace tillstream::tests;
using namespace std::chrono_literals;

namespace {

/// Short words for what a client got.
std::string brief(const answer<record_result>& x) {
  if (!x->value)
    return "-";
  if (x->count != 1)
    return "answered " + std::to_string(x->count) + " times";
  if (*x->value)
    return to_string((*x->value)->outcome);
  auto& err = x->value->error();
  if (err.category() != caf::atom("tillstream"))
    return caf::to_string(err);
  return to_string(static_cast<errc>(err.code()));
}

uint64_t settled() {
  return metrics().get_counter("tillstream_in_doubt_settled_total", "").value();
}

int64_t queue_depth() {
  return metrics().get_gauge("tillstream_write_queue_depth", "").value();
}

struct fixture : actor_fixture {
  fixture() {
    options.open_store = [this] { return open_fake_store(db); };
    options.on_committed
      = [this](const commit_notices_ptr& notices) { noted += notices->size(); };
    options.batch_max = 3;
    options.seed = 1;
  }

  ~fixture() {
    if (uut)
      end(uut);
    BOOST_TEST(queue_depth() == 0);
    BOOST_TEST(static_cast<bool>(arm_fault_points("")));
  }

  void start() {
    uut = sys.spawn(transaction_writer, options);
    self->monitor(uut);
    settle();
  }

  auto submit(uint64_t key, uint8_t content = 0) {
    return post<record_result>(
      uut, atom::submit_v,
      make_submission(key, content,
                      sched.clock().now() + limits::write_wait_max));
  }

  /// Commits three purchases; the store needs `commit_time` for it, and three
  /// more arrive meanwhile.
  /// @returns how long the writer waited afterwards.
  std::chrono::steady_clock::duration
  window_after_three(std::chrono::milliseconds commit_time) {
    using std::chrono::steady_clock;
    steady_clock::time_point committed;
    db.on_record = [&] {
      for (int i = 0; i < 3; ++i)
        options.pacer->arrived();
      committed = steady_clock::now() + commit_time;
      while (steady_clock::now() < committed)
        ; // A commit takes its time.
    };
    for (uint64_t key = 1; key <= 3; ++key)
      submit(key);
    settle();
    return steady_clock::now() - committed;
  }

  /// Sizes of the batches so far.
  std::vector<size_t> batches() const {
    std::vector<size_t> sizes;
    for (auto& x : db.batches)
      sizes.push_back(x.size());
    return sizes;
  }

  bool durable(uint64_t key) const {
    return db.rows.contains({"b1", numbered_uuid(key)});
  }

  fake_database db;
  size_t noted = 0;
  transaction_writer_options options;
  transaction_writer_actor uut;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(transaction_writer_suite, fixture)

// -- group commit -------------------------------------------------------------

BOOST_AUTO_TEST_CASE(purchases_that_arrive_together_share_one_commit) {
  start();
  auto a = submit(1);
  auto b = submit(2);
  settle();
  BOOST_TEST(brief(a) == "recorded");
  BOOST_TEST(brief(b) == "recorded");
  BOOST_TEST(batches() == std::vector<size_t>{2},
             boost::test_tools::per_element());
  BOOST_TEST(noted == 2u);
}

BOOST_AUTO_TEST_CASE(a_full_batch_commits_at_once) {
  start();
  for (uint64_t key = 1; key <= 7; ++key)
    submit(key);
  settle();
  auto expected = std::vector<size_t>{3, 3, 1};
  BOOST_TEST(batches() == expected, boost::test_tools::per_element());
  BOOST_TEST(db.rows.size() == 7u);
}

// Who arrives during the commit does not end the wait.
BOOST_AUTO_TEST_CASE(after_a_small_commit_the_writer_waits_for_more) {
  options.pacer = std::make_shared<commit_pacer>(1h);
  start();
  BOOST_TEST((window_after_three(20ms) >= 20ms));
}

BOOST_AUTO_TEST_CASE(the_wait_ends_when_all_who_were_answered_are_back) {
  options.pacer = std::make_shared<commit_pacer>(1h);
  // They are answered now; the writer has yet to wait.
  options.on_committed = [this](const commit_notices_ptr& notices) {
    for (size_t i = 0; i < notices->size(); ++i)
      options.pacer->arrived();
  };
  start();
  BOOST_TEST((window_after_three(500ms) < 500ms));
}

BOOST_AUTO_TEST_CASE(one_till_or_two_are_never_made_to_wait) {
  options.pacer = std::make_shared<commit_pacer>(1h);
  start();
  for (uint64_t key = 1; key <= 5; ++key) {
    auto alone = submit(key);
    settle();
    BOOST_TEST(brief(alone) == "recorded");
    auto one = submit(10 + key);
    auto two = submit(20 + key);
    settle();
    BOOST_TEST(brief(one) == "recorded");
    BOOST_TEST(brief(two) == "recorded");
  }
}

BOOST_AUTO_TEST_CASE(each_purchase_gets_its_own_verdict) {
  start();
  submit(1, 1);
  settle();
  auto same = submit(1, 1);
  auto reused = submit(1, 2);
  auto unseen = submit(2);
  settle();
  BOOST_TEST(brief(same) == "replayed");
  BOOST_TEST(brief(reused) == to_string(verdict::key_reused));
  BOOST_TEST(brief(unseen) == "recorded");
}

// Goal: who asks after a 201 finds the event pending. Method: one actor is
// client and is told of the commit; its mailbox keeps the order.
BOOST_AUTO_TEST_CASE(the_commit_is_announced_before_anybody_is_answered) {
  std::vector<std::string> order;
  caf::actor client;
  options.on_committed = [&](const commit_notices_ptr& notices) {
    caf::anon_send(client, atom::committed_v, notices);
  };
  start();
  client = sys.spawn([&](caf::event_based_actor* me) -> caf::behavior {
    me->request(uut, caf::infinite, atom::submit_v, make_submission(1))
      .then([&](record_result&) { order.push_back("answer"); });
    return {
      [&](atom::committed, const commit_notices_ptr&) {
        order.push_back("notices");
      },
    };
  });
  settle();
  auto expected = std::vector<std::string>{"notices", "answer"};
  BOOST_TEST(order == expected, boost::test_tools::per_element());
  end(client);
}

// -- keys that are held elsewhere ---------------------------------------------

BOOST_AUTO_TEST_CASE(a_held_key_waits_until_it_is_free) {
  db.held.insert(numbered_uuid(1));
  start();
  auto a = submit(1);
  settle();
  BOOST_TEST(brief(a) == "-");
  db.held.clear();
  advance(5ms);
  BOOST_TEST(brief(a) == "recorded");
}

BOOST_AUTO_TEST_CASE(a_held_key_is_told_in_progress_after_the_longest_wait) {
  db.held.insert(numbered_uuid(1));
  start();
  auto a = submit(1);
  settle();
  advance_in_steps(limits::write_wait_max - 10ms, 5ms);
  BOOST_TEST(brief(a) == "-");
  advance_in_steps(10ms, 5ms);
  BOOST_TEST(brief(a) == to_string(verdict::in_progress));
  BOOST_TEST(!durable(1));
  // Each attempt may cost a lock time-out: they must be few.
  BOOST_TEST(db.batches.size() <= 7u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_written_waits_and_is_our_trouble_then) {
  db.unwritable.insert(numbered_uuid(1));
  start();
  auto a = submit(1);
  auto b = submit(2);
  settle();
  BOOST_TEST(brief(b) == "recorded");
  advance_in_steps(limits::write_wait_max - 10ms, 5ms);
  BOOST_TEST(brief(a) == "-");
  advance_in_steps(10ms, 5ms);
  BOOST_TEST(brief(a) == to_string(errc::unavailable));
  BOOST_TEST(!durable(1));
  // The session is not to blame.
  BOOST_TEST(db.sessions == 1u);
  auto c = submit(3);
  settle();
  BOOST_TEST(brief(c) == "recorded");
  // In doubt, it stays so.
  db.faults.push_back(store_fault::in_doubt_lost);
  auto d = submit(1);
  settle();
  advance_in_steps(limits::write_wait_max, 5ms);
  BOOST_TEST(brief(d) == to_string(errc::in_doubt));
}

BOOST_AUTO_TEST_CASE(a_held_key_never_shares_a_batch_with_new_ones) {
  db.held.insert(numbered_uuid(1));
  start();
  auto a = submit(1);
  settle();
  sched.advance_time(5ms); // Due, and two new ones are there first.
  auto b = submit(2);
  auto c = submit(3);
  settle();
  BOOST_TEST(brief(a) == "-");
  BOOST_TEST(brief(b) == "recorded");
  BOOST_TEST(brief(c) == "recorded");
  for (auto& batch : db.batches)
    for (auto& key : batch)
      BOOST_TEST((key != numbered_uuid(1) || batch.size() == 1));
}

BOOST_AUTO_TEST_CASE(new_ones_go_at_once_while_a_key_is_held) {
  db.held.insert(numbered_uuid(1));
  start();
  auto a = submit(1);
  advance(5ms);
  for (uint64_t key = 2; key < 20; ++key) {
    auto x = submit(key);
    settle();
    BOOST_TEST(brief(x) == "recorded");
  }
  BOOST_TEST(brief(a) == "-");
}

// -- the database goes away ---------------------------------------------------

BOOST_AUTO_TEST_CASE(a_lost_session_answers_everybody_at_once) {
  db.held.insert(numbered_uuid(1));
  start();
  auto held = submit(1);
  settle();
  db.faults.push_back(store_fault::unavailable);
  auto a = submit(2);
  auto b = submit(3);
  settle();
  for (auto& x : {held, a, b})
    BOOST_TEST(brief(x) == "unavailable");
  BOOST_TEST(db.rows.empty());
}

BOOST_AUTO_TEST_CASE(while_the_database_is_away_answers_come_at_once) {
  start();
  db.down = true;
  submit(1);
  settle();
  auto sessions = db.sessions;
  for (uint64_t key = 2; key < 10; ++key) {
    auto x = submit(key);
    settle();
    BOOST_TEST(brief(x) == "unavailable");
  }
  BOOST_TEST(db.sessions == sessions);
  db.down = false;
  advance(limits::backoff_max);
  auto x = submit(10);
  settle();
  BOOST_TEST(brief(x) == "recorded");
}

BOOST_AUTO_TEST_CASE(a_database_that_is_away_at_the_start_is_waited_for) {
  db.down = true;
  start();
  auto ready = ask<readiness>(uut, atom::ready_v);
  BOOST_REQUIRE((ready && *ready));
  BOOST_TEST(!(*ready)->ready);
  BOOST_TEST((*ready)->reason == "unavailable: fake database is down");
  advance_in_steps(30s, 100ms);
  db.down = false;
  advance(limits::backoff_max);
  ready = ask<readiness>(uut, atom::ready_v);
  BOOST_TEST((ready && *ready && (*ready)->ready));
  BOOST_TEST(!down_reason());
}

BOOST_AUTO_TEST_CASE(a_bug_of_the_store_is_told_as_such_and_replaces_it) {
  start();
  db.faults.push_back(store_fault::internal);
  auto a = submit(1);
  settle();
  BOOST_TEST(brief(a) == "internal");
  advance(limits::backoff_min);
  BOOST_TEST(db.sessions == 2u);
}

// -- a COMMIT without an answer -----------------------------------------------

BOOST_AUTO_TEST_CASE(a_doubtful_batch_that_had_landed_is_recorded) {
  start();
  auto before = settled();
  db.faults.push_back(store_fault::in_doubt_landed);
  auto a = submit(1);
  auto b = submit(2);
  settle();
  BOOST_TEST(brief(a) == "-");
  advance(limits::backoff_min);
  BOOST_TEST(brief(a) == "recorded");
  BOOST_TEST(brief(b) == "recorded");
  BOOST_TEST(settled() == before + 2);
  // The same batch, again.
  BOOST_REQUIRE(db.batches.size() == 2u);
  BOOST_TEST((db.batches[0] == db.batches[1]));
  BOOST_TEST(db.rows.size() == 2u);
}

BOOST_AUTO_TEST_CASE(what_a_lost_commit_recorded_is_told_before_its_answer) {
  std::vector<commit_notice> told;
  answer<record_result> a;
  options.on_committed = [&](const commit_notices_ptr& notices) {
    BOOST_TEST(brief(a) == "-");
    told.insert(told.end(), notices->begin(), notices->end());
  };
  start();
  db.faults.push_back(store_fault::in_doubt_landed);
  a = submit(1);
  auto same = submit(1);
  settle();
  BOOST_TEST(told.empty());
  advance(limits::backoff_min);
  BOOST_TEST(brief(a) == "recorded");
  BOOST_TEST(brief(same) == "replayed");
  BOOST_REQUIRE(told.size() == 1u);
  const auto& row = db.rows.begin()->second.purchase;
  BOOST_TEST(told[0].branch_id == "b1");
  BOOST_TEST(told[0].seq == row.outbox_seq);
  BOOST_TEST((told[0].event_id == row.event_id));
  BOOST_TEST((told[0].recorded_at == row.recorded_at));
  // A replay that was never in doubt is told to nobody.
  auto again = submit(1);
  settle();
  BOOST_TEST(brief(again) == "replayed");
  BOOST_TEST(told.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_doubtful_batch_that_was_lost_is_recorded_once) {
  start();
  db.faults.push_back(store_fault::in_doubt_lost);
  auto a = submit(1);
  settle();
  advance(limits::backoff_min);
  BOOST_TEST(brief(a) == "recorded");
  BOOST_TEST(db.rows.size() == 1u);
  BOOST_TEST(noted == 1u);
}

BOOST_AUTO_TEST_CASE(of_two_who_asked_the_same_in_doubt_one_is_recorded) {
  start();
  db.faults.push_back(store_fault::in_doubt_landed);
  auto a = submit(1);
  auto b = submit(1);
  settle();
  advance(limits::backoff_min);
  BOOST_TEST(brief(a) == "recorded");
  BOOST_TEST(brief(b) == "replayed");
}

BOOST_AUTO_TEST_CASE(others_are_answered_at_once_while_a_doubt_is_open) {
  start();
  db.faults.push_back(store_fault::in_doubt_lost);
  auto a = submit(1);
  settle();
  auto b = submit(2);
  settle();
  BOOST_TEST(brief(a) == "-");
  BOOST_TEST(brief(b) == "unavailable");
  BOOST_TEST(!durable(2));
}

BOOST_AUTO_TEST_CASE(a_doubt_survives_a_session_that_is_lost_again) {
  start();
  db.faults = {store_fault::in_doubt_landed, store_fault::unavailable,
               store_fault::in_doubt_lost};
  auto a = submit(1);
  settle();
  advance_in_steps(1s);
  BOOST_TEST(brief(a) == "recorded");
}

BOOST_AUTO_TEST_CASE(a_doubt_waits_for_locks_of_the_dead_session) {
  start();
  db.faults.push_back(store_fault::in_doubt_landed);
  auto a = submit(1);
  settle();
  db.held.insert(numbered_uuid(1));
  advance_in_steps(1s);
  BOOST_TEST(brief(a) == "-");
  db.held.clear();
  advance_in_steps(2s);
  BOOST_TEST(brief(a) == "recorded");
}

BOOST_AUTO_TEST_CASE(a_doubt_that_cannot_be_settled_is_told_in_time) {
  for (auto down : {true, false}) {
    BOOST_TEST_CONTEXT((down ? "no session" : "the key stays held")) {
      db = {};
      start();
      db.faults.push_back(store_fault::in_doubt_landed);
      auto a = submit(1);
      settle();
      db.down = down;
      db.held.insert(numbered_uuid(1));
      advance_in_steps(limits::write_wait_max - 20ms);
      BOOST_TEST(brief(a) == "-");
      advance_in_steps(30ms);
      BOOST_TEST(brief(a) == "in-doubt");
      end(uut);
    }
  }
}

// -- the actor ends -----------------------------------------------------------

// Goal: nobody waits for a writer that is gone. Method: queue a request and a
// kill, so that the flush of the request arrives too late.
BOOST_AUTO_TEST_CASE(a_killed_writer_answers_whoever_waits) {
  start();
  auto a = submit(1);
  caf::anon_send_exit(uut, caf::exit_reason::kill);
  settle();
  BOOST_TEST(brief(a) == "unavailable");
  BOOST_TEST(db.batches.empty());
}

BOOST_AUTO_TEST_CASE(a_killed_writer_tells_the_doubtful_that_they_are) {
  start();
  db.faults.push_back(store_fault::in_doubt_landed);
  auto a = submit(1);
  settle();
  caf::anon_send_exit(uut, caf::exit_reason::kill);
  settle();
  BOOST_TEST(brief(a) == "in-doubt");
}

BOOST_AUTO_TEST_CASE(a_throw_before_the_commit_is_answered_unavailable) {
  start();
  BOOST_TEST(
    static_cast<bool>(arm_fault_points("transaction-writer.batch=throw:1")));
  auto a = submit(1);
  auto b = submit(2);
  settle();
  BOOST_TEST(brief(a) == "unavailable");
  BOOST_TEST(brief(b) == "unavailable");
  BOOST_TEST(db.rows.empty());
  auto reason = down_reason();
  BOOST_TEST((reason && *reason == errc::internal));
}

BOOST_AUTO_TEST_CASE(a_throw_after_the_commit_is_answered_in_doubt) {
  start();
  BOOST_TEST(
    static_cast<bool>(arm_fault_points("transaction-writer.answer=throw:1")));
  auto a = submit(1);
  settle();
  BOOST_TEST(brief(a) == "in-doubt");
  BOOST_TEST(durable(1));
}

BOOST_AUTO_TEST_CASE(a_throw_on_arrival_answers_the_one_and_the_others) {
  start();
  auto a = submit(1);
  auto b = submit(2);
  BOOST_REQUIRE(sched.prioritize(uut));
  sched.run_once(); // Takes `a` in.
  BOOST_TEST(
    static_cast<bool>(arm_fault_points("transaction-writer.submit=throw:1")));
  settle();
  BOOST_TEST(brief(a) == "unavailable");
  BOOST_TEST(brief(b) == "internal");
  BOOST_TEST(db.rows.empty());
}

BOOST_AUTO_TEST_CASE(after_a_throw_the_next_writer_replays_what_was_recorded) {
  supervisor_options how;
  how.name = "transaction-writer";
  how.seed = 1;
  uut = spawn_supervisor<transaction_writer_actor>(
    sys, how, [this](caf::local_actor* parent) {
      return parent->spawn(transaction_writer, options);
    });
  settle();
  BOOST_TEST(
    static_cast<bool>(arm_fault_points("transaction-writer.answer=throw:1")));
  auto a = submit(1);
  settle();
  BOOST_TEST(brief(a) == "in-doubt");
  advance(limits::backoff_min);
  auto again = submit(1);
  settle();
  BOOST_TEST(brief(again) == "replayed");
  BOOST_TEST(db.rows.size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

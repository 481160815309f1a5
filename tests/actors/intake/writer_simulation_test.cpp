#include <boost/test/unit_test.hpp>

#include "actors/intake/admission.hpp"
#include "actors/intake/transaction_writer.hpp"
#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/supervisor.hpp"
#include "messages/core/metrics.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_purchase_store.hpp"

#include <caf/sec.hpp>
#include <caf/send.hpp>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::tests;
using namespace std::chrono_literals;

namespace {

/// What one client asked and got.
struct attempt {
  uint64_t key = 0;
  answer<record_result> got = std::make_shared<answer_slot<record_result>>();
};

/// Admission, two supervised writers and a moody database; a seed decides who
/// runs next, when time goes by, and what fails.
struct simulation : actor_fixture {
  explicit simulation(unsigned seed) : prng(seed) {
    admission_options options;
    for (int i = 0; i < 2; ++i) {
      options.writers.push_back(std::make_shared<writer_slot>());
      supervisors.push_back(spawn_writer(i, options.writers.back()));
    }
    options.in_flight_max = 4;
    intake = std::make_shared<admission>(std::move(options));
  }

  ~simulation() {
    for (auto& x : supervisors)
      end(x);
    for (auto& x : clients)
      caf::anon_send_exit(x, caf::exit_reason::kill);
    settle();
  }

  transaction_writer_actor
  spawn_writer(int number, const writer_slot_ptr& slot) {
    supervisor_options how;
    how.name = "transaction-writer";
    how.restarts_max = 1000;
    how.seed = prng();
    transaction_writer_options options;
    options.open_store
      = [this, number] { return open_fake_store(dbs[number]); };
    options.on_committed = [this](const commit_notices_ptr& notices) {
      for (auto& notice : *notices)
        noted.insert(notice.event_id);
    };
    options.batch_max = 4;
    options.seed = prng();
    return spawn_supervisor<transaction_writer_actor>(
      sys, how,
      publish_child<transaction_writer_actor>(
        {slot, &slot->current},
        [options](caf::local_actor* parent) -> transaction_writer_actor {
          return parent->spawn(transaction_writer, options);
        }));
  }

  /// Half of the keys belong to each branch, so that each has its database.
  static std::string branch_of(uint64_t key) {
    return key % 2 == 0 ? "b1" : "b2";
  }

  /// As the gateway does: a permit, then straight to the writer.
  void ask_for(uint64_t key) {
    attempts.push_back({key});
    auto got = attempts.back().got;
    auto permit = intake->admit(branch_of(key));
    if (!permit) {
      got->set(std::move(permit.error()));
      return;
    }
    // Moved into the request, so that the client keeps no permit.
    auto what = std::make_shared<submission>(
      submission{make_purchase(key, 0, branch_of(key)),
                 sched.clock().now() + limits::write_wait_max, *permit});
    auto run
      = [what, got, to = (*permit)->writer()](caf::event_based_actor* client) {
          client->request(to, caf::infinite, atom::submit_v, std::move(*what))
            .then([got](record_result& x) { got->set(std::move(x)); },
                  [got](caf::error& err) { got->set(std::move(err)); });
        };
    auto client = sys.spawn(run);
    sched.prioritize(client);
    sched.run_once();
    clients.push_back(std::move(client));
    (*permit)->sent();
  }

  bool one_in(unsigned n) {
    return prng() % n == 0;
  }

  /// Lets something go wrong, or heal.
  void meddle() {
    auto& db = dbs[prng() % 2];
    switch (prng() % 8) {
      case 0:
        db.down = !db.down;
        break;
      case 1:
        db.held.insert(numbered_uuid(1 + prng() % keys));
        break;
      case 2:
        db.held.clear();
        break;
      case 3:
        arm();
        break;
      default:
        db.faults.push_back(static_cast<store_fault>(prng() % 5));
    }
  }

  void arm() {
    static const char* points[] = {"transaction-writer.submit=throw:1",
                                   "transaction-writer.batch=throw:1",
                                   "transaction-writer.answer=throw:1"};
    BOOST_TEST(static_cast<bool>(arm_fault_points(points[prng() % 3])));
  }

  void run() {
    for (int step = 0; step < 400; ++step) {
      if (one_in(8))
        ask_for(1 + prng() % keys);
      if (one_in(20))
        meddle();
      if (one_in(5))
        sched.advance_time(std::chrono::milliseconds{prng() % 300});
      run_one_at_random(prng);
    }
  }

  /// Takes all faults away and lets everything come to an end.
  void heal() {
    BOOST_TEST(static_cast<bool>(arm_fault_points("")));
    for (auto& db : dbs) {
      db.faults.clear();
      db.held.clear();
      db.down = false;
    }
    settle();
    advance_in_steps(15s, 50ms);
  }

  const fake_database::row* find(uint64_t key) const {
    for (auto& db : dbs)
      if (auto i = db.rows.find({branch_of(key), numbered_uuid(key)});
          i != db.rows.end())
        return &i->second;
    return nullptr;
  }

  void check(const attempt& x, std::set<uint64_t>& unsure) const {
    BOOST_TEST(x.got->count == 1u);
    if (x.got->count != 1)
      return;
    if (*x.got->value) {
      auto& result = **x.got->value;
      if (result.outcome == verdict::in_progress)
        return;
      auto row = find(x.key);
      BOOST_TEST(
        (row && row->purchase.purchase_id == result.purchase.purchase_id));
      unsure.insert(x.key);
      return;
    }
    auto& err = x.got->value->error();
    // CAF answers for what was still in the mailbox of a writer that threw, and
    // for a writer that was not there yet.
    BOOST_TEST((err == caf::sec::request_receiver_down
                || err == caf::sec::invalid_argument
                || err.category() == caf::atom("tillstream")));
    if (err == errc::in_doubt)
      unsure.insert(x.key);
  }

  void check_all() const {
    // Keys that somebody was told are, or may be, durable.
    std::set<uint64_t> unsure;
    for (auto& x : attempts)
      check(x, unsure);
    // Nobody who was told 'nothing was written' was lied to.
    for (auto& db : dbs)
      for (auto& [key, row] : db.rows)
        BOOST_TEST(unsure.contains(key.second.bytes[15]));
    // What relay and shards hear of is durable.
    std::set<uuid> events;
    for (auto& db : dbs)
      for (auto& [key, row] : db.rows)
        events.insert(row.purchase.event_id);
    for (auto& event_id : noted)
      BOOST_TEST(events.contains(event_id));
  }

  static constexpr uint64_t keys = 60;

  std::mt19937 prng;
  std::vector<fake_database> dbs{2};
  std::set<uuid> noted;
  std::vector<transaction_writer_actor> supervisors;
  admission_ptr intake;
  std::vector<caf::actor> clients;
  std::vector<attempt> attempts;
};

} // namespace

BOOST_AUTO_TEST_SUITE(writer_simulation_suite)

// Goal: whatever the order of events and whatever fails, each request is
// answered exactly once, a 'recorded' stands for a durable row, and a 'nothing
// was written' for none. Method: a seed decides all. Rerun a failure with its
// seed.
BOOST_AUTO_TEST_CASE(every_purchase_is_answered_once_and_truly) {
  quiet_log quiet;
  std::map<std::string, size_t> seen;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      simulation world{seed};
      world.run();
      world.heal();
      world.check_all();
      for (auto& x : world.attempts) {
        if (!x.got->value)
          ++seen["unanswered"];
        else if (*x.got->value)
          ++seen[to_string((*x.got->value)->outcome)];
        else
          ++seen[describe(x.got->value->error())];
      }
    }
  }
  // Else the faults did not happen.
  for (auto what :
       {"recorded", "replayed", "in-doubt: no session to settle it",
        "in-doubt: the key is still held", "in-doubt: the writer ended",
        "unavailable: the writer ended", "unavailable: no database session",
        "unavailable: fake", "internal: fake",
        "overloaded: too many purchases in flight"})
    BOOST_TEST(seen[what] > 0u, what << " was never seen");
  BOOST_TEST(seen["unanswered"] == 0u);
  BOOST_TEST(
    metrics().get_counter("tillstream_in_doubt_settled_total", "").value()
    > 0u);
  BOOST_TEST(metrics().get_gauge("tillstream_write_queue_depth", "").value()
             == 0);
  BOOST_TEST(metrics().get_gauge("tillstream_purchases_in_flight", "").value()
             == 0);
}

BOOST_AUTO_TEST_SUITE_END()

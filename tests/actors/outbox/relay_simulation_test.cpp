#include <boost/test/unit_test.hpp>

#include "actors/outbox/relay.hpp"
#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/supervisor.hpp"
#include "messages/core/metrics.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_outbox.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::tests;
using namespace std::chrono_literals;

namespace {

/// Which faults a run may have.
enum class mood {
  /// Everything: wake-ups get lost, numbers commit late, the broker refuses
  /// and forgets to answer, the relay throws.
  wild,
  /// Servers go away and the memory is too small, but no message that was
  /// taken is lost: the order must hold.
  orderly,
};

/// A supervised relay with a small memory, a table and a broker; a seed
/// decides what happens.
struct simulation : actor_fixture {
  simulation(unsigned seed, mood how) : prng(seed), how_(how) {
    outbox_relay_options options;
    options.open_store = [this] { return open_fake_outbox(table); };
    options.connect = [this](storage::event_publisher::ack_handler on_ack) {
      return connect_fake_broker(broker, std::move(on_ack));
    };
    options.queue_max = 8 + prng() % 30;
    options.page_max = 2 + prng() % 8;
    options.in_flight_max = 1 + prng() % 10;
    options.confirm_max = 1 + prng() % 10;
    options.seed = prng();
    queue_max = options.queue_max;
    supervisor_options supervision;
    supervision.name = "outbox-relay";
    supervision.restarts_max = 1000;
    supervision.seed = prng();
    uut = spawn_supervisor<outbox_relay_actor>(
      sys, supervision, [options](caf::local_actor* parent) {
        return parent->spawn(outbox_relay, options);
      });
  }

  ~simulation() {
    end(uut);
  }

  bool one_in(unsigned n) {
    return prng() % n == 0;
  }

  std::string some_branch() {
    return "b" + std::to_string(prng() % branches);
  }

  /// Commits a few events of one branch.
  void sell() {
    std::vector<commit_notice> notices;
    auto branch_id = some_branch();
    for (auto count = 1 + prng() % 4; count > 0; --count) {
      auto seq = ++last_seq;
      if (how_ == mood::wild && one_in(10)) {
        table.open.insert(seq);
        late.emplace(seq, branch_id);
      } else {
        notices.push_back(table.commit(branch_id, seq));
      }
    }
    wake(std::move(notices));
  }

  /// Commits what took its number long ago.
  void sell_late() {
    if (late.empty())
      return;
    auto first = late.extract(late.begin());
    wake({table.commit(first.mapped(), first.key())});
  }

  void wake(std::vector<commit_notice> notices) {
    if (how_ == mood::wild && one_in(6))
      return; // Lost.
    caf::anon_send(
      uut, atom::committed_v,
      std::make_shared<const std::vector<commit_notice>>(std::move(notices)));
  }

  void meddle() {
    switch (prng() % (how_ == mood::wild ? 6 : 2)) {
      case 0:
        table.down = !table.down;
        break;
      case 1:
        broker.away = !broker.away;
        break;
      case 2:
        broker.refused.insert(event_subject(some_branch()));
        break;
      case 3:
        broker.refused.clear();
        break;
      case 4:
        broker.in_flight.clear(); // Nobody will ever answer for these.
        break;
      default:
        arm();
    }
  }

  void arm() {
    static const char* points[]
      = {"outbox-relay.committed=throw:1", "outbox-relay.acked=throw:1",
         "outbox-relay.tick=throw:1", "outbox-relay.flush=throw:1"};
    BOOST_TEST(static_cast<bool>(arm_fault_points(points[prng() % 4])));
  }

  void step() {
    if (one_in(3))
      sell();
    if (one_in(10))
      sell_late();
    if (one_in(25))
      meddle();
    if (one_in(2))
      broker.acknowledge(prng() % 6);
    if (one_in(4))
      sched.advance_time(std::chrono::milliseconds{prng() % 400});
    run_one_at_random(prng);
    deepest = std::max(deepest, depth());
  }

  static int64_t depth() {
    return metrics().get_gauge("tillstream_relay_queue_depth", "").value();
  }

  /// Takes all faults away and waits until all is marked, at most 5 minutes
  /// of the world's time.
  void heal() {
    BOOST_TEST(static_cast<bool>(arm_fault_points("")));
    while (!late.empty())
      sell_late();
    table.down = false;
    broker.away = false;
    broker.refused.clear();
    settle();
    for (int i = 0; i < 6000 && table.unsent() > 0; ++i) {
      broker.acknowledge();
      advance(50ms);
    }
  }

  /// No row lost: each was published, and is marked.
  void check_all() const {
    BOOST_TEST(deepest <= static_cast<int64_t>(queue_max));
    BOOST_TEST(table.unsent() == 0u);
    std::map<std::string, size_t> published;
    for (auto& x : broker.stream)
      ++published[x.payload];
    BOOST_TEST(published.size() == table.rows.size());
    for (auto& [seq, row] : table.rows)
      if (!published.contains(*row.notice.payload))
        BOOST_ERROR("never published: " << *row.notice.payload);
  }

  /// The first appearances of a branch's events are in order.
  void check_order() const {
    std::map<std::string, int64_t> last;
    std::set<std::string> seen;
    for (auto& x : broker.stream) {
      if (!seen.insert(x.payload).second)
        continue;
      auto hash = x.payload.find('#');
      auto seq = std::stoll(x.payload.substr(hash + 1));
      auto& before = last[x.payload.substr(0, hash)];
      BOOST_TEST(before < seq);
      before = seq;
    }
  }

  static constexpr unsigned branches = 4;

  std::mt19937 prng;
  mood how_;
  size_t queue_max = 0;
  fake_outbox table;
  fake_broker broker;
  /// Taken by open transactions.
  std::map<int64_t, std::string> late;
  int64_t last_seq = 0;
  /// Most notices that were in memory at once.
  int64_t deepest = 0;
  outbox_relay_actor uut;
};

} // namespace

BOOST_AUTO_TEST_SUITE(relay_simulation_suite)

// Goal: whatever happens in whatever order, every committed event is published
// at least once and marked, and only what was published is marked. Method: a
// seed decides all. Rerun a failure with its seed.
BOOST_AUTO_TEST_CASE(no_event_is_lost_whatever_happens) {
  quiet_log quiet;
  size_t doubles = 0;
  for (unsigned seed = 0; seed < 400; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      simulation world{seed, mood::wild};
      for (int i = 0; i < 300; ++i)
        world.step();
      world.heal();
      world.check_all();
      doubles += world.broker.stream.size() - world.table.rows.size();
    }
  }
  BOOST_TEST(doubles > 0u); // Else the faults did not happen.
}

// Goal: neither a small memory nor servers that come and go change the order
// within a branch, or double what was acknowledged.
BOOST_AUTO_TEST_CASE(order_holds_while_servers_come_and_go) {
  quiet_log quiet;
  for (unsigned seed = 0; seed < 400; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      simulation world{seed, mood::orderly};
      for (int i = 0; i < 300; ++i)
        world.step();
      world.heal();
      world.check_all();
      world.check_order();
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

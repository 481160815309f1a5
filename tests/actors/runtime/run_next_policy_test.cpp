#include <boost/test/unit_test.hpp>

#include "actors/runtime/system_config.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scoped_actor.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

/// What an actor of these tests does with a number.
using job = std::function<void(caf::event_based_actor*, int32_t)>;

caf::behavior worker(caf::event_based_actor* self, const job& f) {
  return {[self, f](int32_t x) { f(self, x); }};
}

/// The node's scheduler with real threads.
struct fixture {
  explicit fixture(size_t threads) : config(threads), sys(config) {
    // nop
  }

  caf::actor spawn(job f) {
    return sys.spawn(worker, std::move(f));
  }

  node_config config;
  caf::actor_system sys;
};

struct one_worker : fixture {
  one_worker() : fixture(1) {
    // nop
  }
};

struct two_workers : fixture {
  two_workers() : fixture(2) {
    // nop
  }
};

constexpr auto timeout = 30s;

} // namespace

BOOST_AUTO_TEST_SUITE(run_next_policy_suite)

BOOST_FIXTURE_TEST_CASE(what_an_actor_calls_for_runs_next_on_its_worker,
                        two_workers) {
  constexpr int32_t rounds = 500;
  int32_t moved = 0;
  std::promise<void> started, done;
  auto* end = &started;
  std::thread::id caller;
  auto second = spawn([&](caf::event_based_actor* self, int32_t x) {
    if (std::this_thread::get_id() != caller)
      ++moved;
    self->send(caf::actor_cast<caf::actor>(self->current_sender()), x - 1);
  });
  auto first = spawn([&](caf::event_based_actor* self, int32_t x) {
    if (x == 0)
      return end->set_value();
    caller = std::this_thread::get_id();
    self->send(second, x);
  });
  auto play = [&](std::promise<void>& mine) {
    end = &mine;
    caf::anon_send(first, rounds);
    BOOST_REQUIRE(mine.get_future().wait_for(timeout)
                  == std::future_status::ready);
  };
  // The first time `second` may be at its start still, on the other worker, and
  // actors of CAF's own may be in the queue.
  play(started);
  moved = 0;
  play(done);
  BOOST_TEST(moved == 0);
}

BOOST_FIXTURE_TEST_CASE(two_who_talk_to_each_other_leave_time_for_others,
                        one_worker) {
  std::atomic<bool> stop{false};
  auto echo = [&](caf::event_based_actor* self, int32_t x) {
    if (!stop)
      self->send(caf::actor_cast<caf::actor>(self->current_sender()), x);
  };
  auto first = spawn(echo);
  auto second = spawn(echo);
  caf::send_as(first, second, int32_t{1});
  std::promise<void> done;
  auto other
    = spawn([&](caf::event_based_actor*, int32_t) { done.set_value(); });
  caf::anon_send(other, int32_t{1});
  auto in_time = done.get_future().wait_for(timeout);
  stop = true;
  BOOST_TEST((in_time == std::future_status::ready));
}

BOOST_FIXTURE_TEST_CASE(a_second_call_goes_to_a_worker_that_sleeps,
                        two_workers) {
  // Each waits for the other: on one worker alone neither would come through.
  std::promise<void> here, there, both;
  std::atomic<int> met{0};
  auto meet = [&](std::promise<void>& own, std::promise<void>& others) {
    own.set_value();
    auto in_time = others.get_future().wait_for(timeout);
    if (in_time == std::future_status::ready && ++met == 2)
      both.set_value();
  };
  auto one
    = spawn([&](caf::event_based_actor*, int32_t) { meet(here, there); });
  auto two
    = spawn([&](caf::event_based_actor*, int32_t) { meet(there, here); });
  auto caller = spawn([&](caf::event_based_actor* self, int32_t x) {
    self->send(one, x);
    self->send(two, x);
  });
  caf::anon_send(caller, int32_t{1});
  BOOST_TEST(
    (both.get_future().wait_for(timeout) == std::future_status::ready));
}

BOOST_FIXTURE_TEST_CASE(nothing_is_lost_when_many_threads_send, two_workers) {
  constexpr int senders = 4;
  constexpr int32_t each = 20'000;
  std::atomic<int64_t> sum{0};
  std::promise<void> done;
  auto last = spawn([&](caf::event_based_actor*, int32_t x) {
    if (sum.fetch_add(x) + x == int64_t{senders} * each)
      done.set_value();
  });
  std::vector<caf::actor> relays;
  for (int i = 0; i < senders; ++i)
    relays.push_back(spawn(
      [&](caf::event_based_actor* self, int32_t x) { self->send(last, x); }));
  std::vector<std::thread> threads;
  for (int i = 0; i < senders; ++i)
    threads.emplace_back([&, i] {
      for (int32_t n = 0; n < each; ++n)
        caf::anon_send(relays[static_cast<size_t>(i)], int32_t{1});
    });
  for (auto& x : threads)
    x.join();
  BOOST_TEST(
    (done.get_future().wait_for(timeout) == std::future_status::ready));
}

BOOST_AUTO_TEST_SUITE_END()

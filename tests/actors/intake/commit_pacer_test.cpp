#include <boost/test/unit_test.hpp>

#include "actors/intake/commit_pacer.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

BOOST_AUTO_TEST_SUITE(commit_pacer_suite)

BOOST_AUTO_TEST_CASE(without_arrivals_the_deadline_ends_the_sleep) {
  arrivals uut;
  auto deadline = steady_clock::now() + 20ms;
  uut.await(1, deadline);
  BOOST_TEST((steady_clock::now() >= deadline));
}

BOOST_AUTO_TEST_CASE(who_has_come_already_is_not_waited_for) {
  arrivals uut;
  uut.add();
  auto began = steady_clock::now();
  uut.await(1, began + 60s);
  BOOST_TEST((steady_clock::now() - began < 60s));
}

// Goal: no call is lost between the sleeper's look and its sleep. Method: many
// short sleeps, each ended by the last of several threads; one that is missed
// costs a minute.
BOOST_AUTO_TEST_CASE(the_last_one_wakes_the_sleeper) {
  constexpr uint64_t rounds = 5000;
  constexpr uint64_t tills = 3;
  arrivals uut;
  std::atomic<uint64_t> round{0};
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < tills; ++i)
    threads.emplace_back([&] {
      for (uint64_t mine = 1; mine <= rounds; ++mine) {
        while (round < mine)
          std::this_thread::yield();
        uut.add();
      }
    });
  auto began = steady_clock::now();
  for (uint64_t i = 1; i <= rounds; ++i) {
    round = i;
    uut.await(i * tills, began + 60s);
  }
  auto took = steady_clock::now() - began;
  for (auto& x : threads)
    x.join();
  BOOST_TEST((took < 60s));
  BOOST_TEST(uut.count() == rounds * tills);
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include "actors/intake/commit_pacer.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

const auto began = steady_clock::now();

commit_pacer::commit a_commit(size_t purchases, std::chrono::microseconds took,
                              uint64_t arrived_meanwhile = 10) {
  return {purchases, began, began + took, 7, 7 + arrived_meanwhile};
}

/// How long a window opens after a commit; nothing: none.
std::optional<std::chrono::microseconds>
window_after(size_t purchases, std::chrono::microseconds took) {
  commit_pacer uut{10ms};
  auto end = uut.window_end(a_commit(purchases, took));
  if (!end)
    return std::nullopt;
  return std::chrono::duration_cast<std::chrono::microseconds>(
    *end - (began + took));
}

} // namespace

BOOST_AUTO_TEST_SUITE(commit_pacer_suite)

// -- how long a window is -----------------------------------------------------

BOOST_AUTO_TEST_CASE(a_window_costs_nobody_more_than_one_commit) {
  BOOST_TEST((window_after(5, 1ms) == 1ms));
  BOOST_TEST((window_after(5, 3ms) == 3ms));
}

BOOST_AUTO_TEST_CASE(commits_begin_ten_milliseconds_apart_at_most) {
  BOOST_TEST((window_after(20, 7ms) == 3ms));
  BOOST_TEST(!window_after(20, 10ms));
  BOOST_TEST(!window_after(20, 30ms));
}

BOOST_AUTO_TEST_CASE(one_till_or_two_are_never_made_to_wait) {
  BOOST_TEST(!window_after(0, 3ms));
  BOOST_TEST(!window_after(1, 3ms));
  BOOST_TEST(!window_after(2, 3ms));
  BOOST_TEST(window_after(3, 3ms).has_value());
}

// At 500 a second and 3 ms a commit: a window would hold up every sale and save
// few commits.
BOOST_AUTO_TEST_CASE(where_commits_keep_up_there_is_no_window) {
  commit_pacer uut{10ms};
  BOOST_TEST(!uut.window_end(a_commit(5, 3ms, 2)));
  BOOST_TEST(uut.window_end(a_commit(5, 3ms, 3)).has_value());
}

BOOST_AUTO_TEST_CASE(a_large_commit_is_followed_at_once) {
  BOOST_TEST(window_after(31, 3ms).has_value());
  BOOST_TEST(!window_after(32, 3ms));
}

BOOST_AUTO_TEST_CASE(without_a_longest_window_there_is_none) {
  commit_pacer uut;
  BOOST_TEST(!uut.window_end(a_commit(5, 3ms)));
}

// -- waiting ------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_window_lasts_to_its_end_if_not_all_are_back) {
  commit_pacer uut{1h};
  commit_pacer::commit last;
  last.purchases = 3;
  last.ended = steady_clock::now();
  last.began = last.ended - 20ms;
  // Those who arrived during the commit are not the ones who were answered.
  for (int i = 0; i < 3; ++i)
    uut.arrived();
  last.arrivals = uut.arrivals();
  uut.arrived();
  uut.arrived();
  uut.pace(last);
  BOOST_TEST((steady_clock::now() >= last.ended + 20ms));
}

BOOST_AUTO_TEST_CASE(a_window_ends_when_all_who_were_answered_are_back) {
  commit_pacer uut{2h};
  commit_pacer::commit last;
  last.purchases = 3;
  last.ended = steady_clock::now();
  last.began = last.ended - 1h;
  for (int i = 0; i < 3; ++i)
    uut.arrived();
  last.arrivals = uut.arrivals();
  std::thread tills{[&] {
    for (int i = 0; i < 3; ++i)
      uut.arrived();
  }};
  uut.pace(last);
  tills.join();
  BOOST_TEST((steady_clock::now() < last.ended + 1h));
}

// Tills that wait for their answers: while a commit runs nobody arrives.
BOOST_AUTO_TEST_CASE(after_a_window_in_which_all_were_back_the_next_one_opens) {
  commit_pacer uut{2h};
  auto last = a_commit(3, 1h);
  last.arrivals_before = 0;
  last.arrivals = 0;
  BOOST_TEST(!uut.window_end(last));
  for (int i = 0; i < 6; ++i)
    uut.arrived();
  last.arrivals = 3; // Three arrived meanwhile, and three are back.
  uut.pace(last);
  last.arrivals_before = last.arrivals = uut.arrivals();
  BOOST_TEST(uut.window_end(last).has_value());
  // They do not come back: at the window's end it is known.
  last.ended = steady_clock::now();
  last.began = last.ended - 1ms;
  uut.pace(last);
  BOOST_TEST(!uut.window_end(last));
}

BOOST_AUTO_TEST_CASE(without_arrivals_the_deadline_ends_the_wait) {
  commit_pacer uut;
  auto deadline = steady_clock::now() + 20ms;
  uut.await(1, deadline);
  BOOST_TEST((steady_clock::now() >= deadline));
}

BOOST_AUTO_TEST_CASE(who_has_arrived_already_is_not_waited_for) {
  commit_pacer uut;
  uut.arrived();
  auto start = steady_clock::now();
  uut.await(1, start + 60s);
  BOOST_TEST((steady_clock::now() - start < 60s));
}

// Goal: no call is lost between the writer's check and its wait. Method: many
// short waits, each ended by the last of several threads; one that is missed
// lasts to its deadline, a minute away.
BOOST_AUTO_TEST_CASE(the_last_one_wakes_the_writer) {
  constexpr uint64_t rounds = 5000;
  constexpr uint64_t tills = 3;
  commit_pacer uut;
  std::atomic<uint64_t> round{0};
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < tills; ++i)
    threads.emplace_back([&] {
      for (uint64_t mine = 1; mine <= rounds; ++mine) {
        while (round < mine)
          std::this_thread::yield();
        uut.arrived();
      }
    });
  uint64_t missed = 0;
  for (uint64_t i = 1; i <= rounds; ++i) {
    round = i;
    if (!uut.await(i * tills, steady_clock::now() + 60s))
      ++missed;
  }
  for (auto& x : threads)
    x.join();
  BOOST_TEST(missed == 0u);
  BOOST_TEST(uut.arrivals() == rounds * tills);
}

BOOST_AUTO_TEST_SUITE_END()

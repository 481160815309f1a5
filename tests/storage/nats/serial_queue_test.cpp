#include "storage/nats/serial_queue.hpp"

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

using namespace tillstream::storage::jetstream;

BOOST_AUTO_TEST_SUITE(serial_queue_suite)

BOOST_AUTO_TEST_CASE(items_are_run_in_order_and_those_added_meanwhile_follow) {
  std::vector<int> seen;
  serial_queue<int>* self = nullptr;
  serial_queue<int> queue{[&](int x) {
    if (x == 1) {
      self->add(3);
      // Called from inside: the item comes after this one.
      self->run();
    }
    seen.push_back(x);
  }};
  self = &queue;
  queue.add(1);
  queue.add(2);
  BOOST_TEST(seen.empty());
  queue.run();
  BOOST_TEST(seen == (std::vector{1, 2, 3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(two_threads_keep_the_order_and_never_run_together) {
  constexpr int count = 20'000;
  std::mutex order;
  int next = 0;
  std::atomic<int> running = 0;
  bool together = false;
  std::vector<int> seen;
  serial_queue<int> queue{[&](int x) {
    together = together || running.fetch_add(1) != 0;
    seen.push_back(x);
    running.fetch_sub(1);
  }};
  auto work = [&] {
    for (int i = 0; i < count; ++i) {
      {
        std::lock_guard guard{order};
        queue.add(next++);
      }
      queue.run();
    }
  };
  std::thread other{work};
  work();
  other.join();
  BOOST_TEST(!together);
  BOOST_REQUIRE_EQUAL(seen.size(), size_t{2 * count});
  for (int i = 0; i < 2 * count; ++i)
    if (seen[static_cast<size_t>(i)] != i)
      BOOST_FAIL("out of order at " << i);
}

BOOST_AUTO_TEST_CASE(a_slow_item_holds_up_nobody_who_adds) {
  std::mutex order;
  std::atomic<bool> entered = false;
  std::atomic<bool> added = false;
  int ran = 0;
  serial_queue<int> queue{[&](int) {
    entered = true;
    // Were the lock of `order` held here, `added` would never come.
    while (!added)
      std::this_thread::yield();
    ++ran;
  }};
  queue.add(1);
  std::thread runs{[&] { queue.run(); }};
  while (!entered)
    std::this_thread::yield();
  {
    std::lock_guard guard{order};
    queue.add(2);
  }
  queue.run(); // Leaves the item to the other thread.
  added = true;
  runs.join();
  BOOST_TEST(ran == 2);
}

BOOST_AUTO_TEST_SUITE_END()

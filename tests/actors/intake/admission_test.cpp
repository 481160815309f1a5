#include <boost/test/unit_test.hpp>

#include "actors/intake/admission.hpp"
#include "messages/core/error.hpp"
#include "messages/core/metrics.hpp"

#include <caf/expected.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

constexpr size_t writers = 3;
constexpr size_t in_flight_max = 4;

struct fixture {
  fixture() {
    for (size_t i = 0; i < writers; ++i)
      slots.push_back(std::make_shared<writer_slot>());
    start();
  }

  ~fixture() {
    held.clear();
    BOOST_TEST(metrics().get_gauge("tillstream_purchases_in_flight", "").value()
               == 0);
  }

  void start(size_t spread_min = 0) {
    admission_options options;
    options.writers = slots;
    options.in_flight_max = in_flight_max;
    options.spread_min = spread_min;
    uut = std::make_shared<admission>(std::move(options));
  }

  /// Admits a purchase and counts it as sent.
  caf::expected<admission_permit_ptr> admit(const std::string& branch = "b1") {
    auto permit = uut->admit(branch);
    if (permit)
      (*permit)->sent();
    return permit;
  }

  void fill() {
    while (held.size() < in_flight_max)
      held.push_back(*admit());
  }

  std::vector<uint64_t> arrivals() const {
    std::vector<uint64_t> result;
    for (const auto& slot : slots)
      result.push_back(slot->pacer->arrivals());
    return result;
  }

  std::vector<writer_slot_ptr> slots;
  admission_ptr uut;
  std::vector<admission_permit_ptr> held;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(admission_suite, fixture)

BOOST_AUTO_TEST_CASE(beyond_the_limit_purchases_are_refused_at_once) {
  fill();
  auto refused = admit();
  BOOST_TEST((!refused && refused.error() == errc::overloaded));
  BOOST_TEST(uut->in_flight() == in_flight_max);
  held.pop_back();
  BOOST_TEST(static_cast<bool>(admit()));
}

BOOST_AUTO_TEST_CASE(a_place_comes_back_with_the_last_reference) {
  fill();
  std::shared_ptr<const void> copy = held.back();
  held.pop_back();
  BOOST_TEST(!admit());
  copy.reset();
  BOOST_TEST(static_cast<bool>(admit()));
}

BOOST_AUTO_TEST_CASE(a_branch_always_has_the_same_writer) {
  std::vector<uint64_t> expected(writers);
  for (int i = 0; i < 30; ++i) {
    auto branch = "branch-" + std::to_string(i % 10);
    BOOST_TEST(static_cast<bool>(admit(branch)));
    ++expected[writer_of(branch, writers)];
  }
  BOOST_TEST(arrivals() == expected, boost::test_tools::per_element());
  for (auto count : expected)
    BOOST_TEST(count > 0u);
}

BOOST_AUTO_TEST_CASE(with_few_in_flight_the_first_writer_gets_all) {
  start(2);
  std::string branch = "b";
  while (writer_of(branch, writers) == 0)
    branch += "b";
  auto owner = writer_of(branch, writers);
  held.push_back(*admit(branch));
  held.push_back(*admit(branch));
  BOOST_TEST(slots[0]->pacer->arrivals() == 2u);
  held.push_back(*admit(branch));
  BOOST_TEST(slots[owner]->pacer->arrivals() == 1u);
}

// The split is part of what nodes agree on: FNV-1a, 64 bits, with the vectors
// of its authors (their low halves).
BOOST_AUTO_TEST_CASE(the_hash_is_the_published_one) {
  constexpr auto low_half = size_t{1} << 32;
  BOOST_TEST(writer_of("", low_half) == 0x84222325u);
  BOOST_TEST(writer_of("a", low_half) == 0x8601ec8cu);
  BOOST_TEST(writer_of("foobar", low_half) == 0xf73967e8u);
}

BOOST_AUTO_TEST_CASE(before_a_writer_ever_started_there_is_none) {
  auto permit = admit();
  BOOST_REQUIRE(static_cast<bool>(permit));
  BOOST_TEST(!(*permit)->writer());
}

// -- drain --------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_drain_with_nothing_in_flight_is_done_at_once) {
  BOOST_TEST(uut->drain(0ms));
  auto refused = admit();
  BOOST_TEST((!refused && refused.error() == errc::shutting_down));
}

BOOST_AUTO_TEST_CASE(a_drain_waits_for_what_was_admitted) {
  fill();
  std::atomic<bool> done{false};
  std::thread drainer{[&] { done = uut->drain(60s); }};
  // The drain has begun when nothing more is admitted.
  held.pop_back();
  for (;;) {
    auto permit = admit();
    if (!permit && permit.error() == errc::shutting_down)
      break;
    std::this_thread::yield();
  }
  BOOST_TEST(!done);
  held.clear();
  drainer.join();
  BOOST_TEST(done);
}

BOOST_AUTO_TEST_CASE(a_drain_gives_up_at_its_timeout) {
  fill();
  BOOST_TEST(!uut->drain(1ms));
}

// -- threads ------------------------------------------------------------------

// Goal: the bound holds whoever admits. Method: threads that admit and give
// back as fast as they can, and look at the count in between.
BOOST_AUTO_TEST_CASE(the_bound_holds_from_many_threads) {
  std::atomic<bool> exceeded{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5000; ++round) {
        auto one = uut->admit("b" + std::to_string(i));
        auto two = uut->admit("b" + std::to_string(round));
        if (uut->in_flight() > in_flight_max)
          exceeded = true;
      }
    });
  for (auto& x : threads)
    x.join();
  BOOST_TEST(!exceeded);
  BOOST_TEST(uut->in_flight() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

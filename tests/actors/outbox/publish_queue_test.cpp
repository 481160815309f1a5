#include <boost/test/unit_test.hpp>

#include "actors/outbox/publish_queue.hpp"
#include "messages/core/limits.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

using seqs = std::vector<int64_t>;

constexpr size_t notices_max = 10;

struct fixture {
  static commit_notice notice(const std::string& branch_id, int64_t seq) {
    commit_notice x;
    x.branch_id = branch_id;
    x.seq = seq;
    x.event_id.bytes[15] = static_cast<uint8_t>(seq);
    x.payload = std::make_shared<const std::string>("payload");
    return x;
  }

  /// Says that the table holds these rows and no more.
  void read_table(std::vector<commit_notice> rows = {}) {
    uut.admit_page(0, publish_queue::no_end, std::move(rows));
  }

  void admit(const std::string& branch_id, int64_t from, int64_t to) {
    for (auto seq = from; seq <= to; ++seq)
      uut.admit(notice(branch_id, seq));
  }

  /// Sends all that may be sent. @returns the tokens
  std::vector<uint64_t> send_all() {
    std::vector<uint64_t> tokens;
    while (auto token = uut.send_next(now))
      tokens.push_back(*token);
    return tokens;
  }

  seqs seqs_of(const std::vector<uint64_t>& tokens) const {
    seqs result;
    for (auto token : tokens)
      result.push_back(uut.in_flight(token).seq);
    return result;
  }

  void check(const std::vector<uint64_t>& tokens, const seqs& expected) const {
    BOOST_TEST(seqs_of(tokens) == expected, boost::test_tools::per_element());
  }

  publish_queue::time_point now{};
  publish_queue uut{notices_max, 1};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(publish_queue_suite, fixture)

// -- in -----------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_notice_without_payload_is_read_from_the_table) {
  read_table();
  admit("a", 1, 1);
  auto settled = notice("b", 3);
  settled.payload = nullptr;
  uut.admit(settled);
  check(send_all(), {1});
  BOOST_REQUIRE(uut.gap(100));
  BOOST_TEST(*uut.gap(100) == 3);
  read_table({notice("b", 3)});
  check(send_all(), {3});
  BOOST_TEST(!uut.gap(100));
}

BOOST_AUTO_TEST_CASE(before_the_table_is_read_notices_are_ignored) {
  admit("a", 1, 1);
  BOOST_TEST(uut.size() == 0u);
  BOOST_TEST(!uut.done());
  BOOST_TEST((uut.gap(4) == std::optional<int64_t>{0}));
  read_table({notice("a", 1)});
  BOOST_TEST(uut.size() == 1u);
  BOOST_TEST(!uut.gap(4));
}

BOOST_AUTO_TEST_CASE(a_notice_that_is_known_is_taken_once) {
  read_table();
  admit("a", 1, 1);
  admit("a", 1, 1);
  check(send_all(), {1});
  admit("a", 1, 1); // In flight.
  BOOST_TEST(send_all().empty());
}

BOOST_AUTO_TEST_CASE(pages_close_the_gap_one_after_the_other) {
  uut.admit_page(0, 3, {notice("a", 1), notice("a", 2)});
  BOOST_TEST((uut.gap(4) == std::optional<int64_t>{3}));
  uut.admit_page(3, publish_queue::no_end, {notice("a", 3)});
  BOOST_TEST(!uut.gap(4));
  check(send_all(), {1, 2, 3});
}

// -- bounds -------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_longest_branch_gives_way_and_comes_from_the_table) {
  read_table();
  admit("a", 1, 9);
  admit("b", 20, 21);
  BOOST_TEST(uut.size() <= notices_max);
  // The newest half of `a` is in the table only, and so is what comes later.
  BOOST_TEST((uut.gap(100) == std::optional<int64_t>{5}));
  admit("a", 10, 10);
  check(send_all(), {1, 2, 3, 4, 20, 21});
  uut.admit_page(5, publish_queue::no_end, {notice("a", 5)});
  check(send_all(), {5});
  admit("a", 11, 11); // The gap is closed.
  check(send_all(), {11});
}

BOOST_AUTO_TEST_CASE(a_page_has_room_only_if_a_refused_branch_gives_way) {
  read_table();
  admit("a", 1, 8);
  BOOST_TEST(!uut.make_room_for(4));
  uut.failed(send_all().front(), now);
  BOOST_TEST(uut.make_room_for(4));
  BOOST_TEST(uut.size() == 4u);
}

// -- publishing ---------------------------------------------------------------

BOOST_AUTO_TEST_CASE(healthy_branches_share_one_order) {
  read_table();
  admit("b", 2, 2);
  admit("a", 1, 1);
  admit("b", 3, 3);
  check(send_all(), {1, 2, 3});
}

BOOST_AUTO_TEST_CASE(what_was_not_sent_keeps_its_place) {
  read_table();
  admit("a", 1, 3);
  uut.unsent(*uut.send_next(now), now);
  BOOST_TEST(uut.waiting() == 3u);
  check(send_all(), {1, 2, 3});
}

BOOST_AUTO_TEST_CASE(a_refused_branch_stops_alone_and_keeps_its_order) {
  read_table();
  admit("a", 1, 3);
  auto tokens = send_all();
  BOOST_TEST(uut.failed(tokens[1], now));
  BOOST_TEST(!uut.failed(tokens[2], now)); // Taken back with it.
  BOOST_TEST(!uut.acked(tokens[0]));
  BOOST_TEST(uut.in_flight() == 0u);
  admit("b", 4, 4);
  check(send_all(), {4});
}

BOOST_AUTO_TEST_CASE(the_first_one_probes_and_the_others_follow) {
  read_table();
  admit("a", 1, 3);
  uut.failed(send_all().front(), now);
  auto due = uut.next_due(1h);
  BOOST_REQUIRE(due.has_value());
  BOOST_TEST((*due > now));
  now = *due;
  auto probe = send_all();
  check(probe, {1});
  BOOST_TEST(uut.acked(probe.front()).has_value());
  check(send_all(), {2, 3});
}

BOOST_AUTO_TEST_CASE(a_probe_that_fails_waits_longer) {
  read_table();
  admit("a", 1, 1);
  uut.failed(send_all().front(), now);
  for (int i = 0; i < 20; ++i) {
    now = *uut.next_due(1h);
    auto probe = send_all();
    check(probe, {1});
    uut.failed(probe.front(), now);
  }
  BOOST_TEST((*uut.next_due(1h) - now > limits::backoff_min));
}

BOOST_AUTO_TEST_CASE(a_probe_that_was_not_sent_may_go_again) {
  read_table();
  admit("a", 1, 2);
  uut.failed(send_all().front(), now);
  now = *uut.next_due(1h);
  uut.unsent(*uut.send_next(now), now);
  check(send_all(), {1});
}

BOOST_AUTO_TEST_CASE(what_gets_no_answer_in_time_fails) {
  read_table();
  admit("a", 1, 1);
  auto sent_at = now;
  send_all();
  BOOST_TEST((uut.next_due(5s) == sent_at + 5s));
  BOOST_TEST(uut.fail_overdue(sent_at - 1ms, now) == 0u);
  BOOST_TEST(uut.fail_overdue(sent_at, now) == 1u);
  BOOST_TEST(uut.in_flight() == 0u);
}

// -- confirming ---------------------------------------------------------------

BOOST_AUTO_TEST_CASE(acknowledged_rows_are_kept_until_they_are_confirmed) {
  read_table();
  admit("a", 1, 3);
  for (auto token : send_all())
    uut.acked(token);
  auto rows = uut.sent_rows(2);
  BOOST_REQUIRE(rows.size() == 2u);
  BOOST_TEST(rows[0].seq == 1);
  BOOST_TEST((rows[1].event_id == notice("a", 2).event_id));
  uut.confirm_sent(2);
  BOOST_TEST(uut.sent_rows() == 1u);
  BOOST_TEST(!uut.done());
  uut.confirm_sent(1);
  BOOST_TEST(uut.done());
}

BOOST_AUTO_TEST_CASE(a_branch_that_is_forgotten_comes_from_the_table) {
  read_table();
  admit("a", 1, 4);
  admit("b", 5, 5);
  auto stale = *uut.send_next(now);
  uut.forget("a", 2);
  BOOST_TEST(!uut.acked(stale));
  BOOST_TEST((uut.gap(100) == std::optional<int64_t>{3}));
  check(send_all(), {1, 2, 5});
}

BOOST_AUTO_TEST_SUITE_END()

#include "actors/aggregation/backlog.hpp"

#include <boost/test/unit_test.hpp>

#include <random>
#include <set>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

struct fixture {
  /// The n-th event of the branch, made at n milliseconds.
  commit_notice notice(int64_t n) {
    while (static_cast<int64_t>(ids.size()) <= n)
      ids.push_back(source.v7(from_ms(static_cast<int64_t>(ids.size()))));
    commit_notice result;
    result.branch_id = "branch-1";
    result.seq = n;
    result.event_id = ids[static_cast<size_t>(n)];
    result.recorded_at = from_ms(n);
    return result;
  }

  void apply(backlog& to, int64_t n) {
    to.apply(notice(n).event_id, n);
  }

  uuid_source source{7};
  std::vector<uuid> ids;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(backlog_suite, fixture)

BOOST_AUTO_TEST_CASE(what_is_committed_and_not_applied_is_pending) {
  backlog pending;
  BOOST_TEST(pending.count() == 0);
  BOOST_TEST(!pending.oldest());
  pending.add(notice(2));
  pending.add(notice(1));
  pending.add(notice(1));
  BOOST_TEST(pending.count() == 2);
  BOOST_TEST((pending.oldest() == from_ms(1)));
  BOOST_TEST(*pending.lowest_seq() == 1);
  apply(pending, 1);
  BOOST_TEST(pending.count() == 1);
  BOOST_TEST((pending.oldest() == from_ms(2)));
  BOOST_TEST(pending.recently_applied(notice(1).event_id));
  BOOST_TEST(!pending.recently_applied(notice(2).event_id));
}

BOOST_AUTO_TEST_CASE(a_notice_that_comes_behind_its_commit_is_not_pending) {
  backlog pending;
  apply(pending, 5);
  pending.add(notice(5));
  BOOST_TEST(pending.count() == 0);
}

BOOST_AUTO_TEST_CASE(what_was_set_aside_is_neither_pending_nor_applied) {
  backlog pending;
  pending.add(notice(1));
  pending.remove(notice(1).event_id, 1);
  pending.remove(notice(2).event_id, 2);
  pending.add(notice(2));
  BOOST_TEST(pending.count() == 0);
  BOOST_TEST(!pending.recently_applied(notice(1).event_id));
}

BOOST_AUTO_TEST_CASE(forgotten_ids_raise_the_horizon) {
  backlog pending{{100, 3}};
  for (int64_t i = 1; i <= 5; ++i)
    apply(pending, i);
  BOOST_TEST(!pending.recently_applied(notice(2).event_id));
  BOOST_TEST(pending.recently_applied(notice(3).event_id));
  BOOST_TEST(pending.may_be_forgotten(notice(2).event_id));
  BOOST_TEST(!pending.may_be_forgotten(notice(4).event_id));
  pending.raise_horizon(from_ms(9));
  BOOST_TEST(pending.may_be_forgotten(notice(9).event_id));
  BOOST_TEST(!pending.may_be_forgotten(notice(10).event_id));
}

BOOST_AUTO_TEST_CASE(beyond_the_bound_events_are_counted_and_read_later) {
  backlog pending{{4, 100}};
  for (int64_t i = 1; i <= 10; ++i)
    pending.add(notice(i));
  BOOST_TEST(pending.count() == 10);
  BOOST_TEST(*pending.lowest_seq() == 1);
  BOOST_TEST((pending.unread() == from_ms(5)));
  BOOST_TEST(!pending.has_room());
  for (int64_t i = 1; i <= 3; ++i)
    apply(pending, i);
  BOOST_TEST(pending.count() == 7);
  BOOST_TEST(pending.has_room());
  // One more comes while the outbox is read: it is in the answer or not.
  pending.begin_refill();
  pending.add(notice(11));
  pending.refill({notice(5), notice(6)}, backlog::rest{from_ms(6), 3});
  BOOST_TEST(pending.unread().has_value());
  // One of the rest may be numbered before all that is held.
  BOOST_TEST(*pending.lowest_seq() == 3);
  pending.begin_refill();
  apply(pending, 4);
  apply(pending, 5);
  pending.refill(
    {notice(6), notice(7), notice(8), notice(9), notice(10), notice(11)},
    std::nullopt);
  BOOST_TEST(*pending.lowest_seq() == 6);
  BOOST_TEST(pending.count() == 6);
  for (int64_t i = 6; i <= 11; ++i)
    apply(pending, i);
  BOOST_TEST(pending.count() == 0);
}

BOOST_AUTO_TEST_CASE(a_notice_that_comes_while_the_outbox_is_read_is_kept) {
  backlog pending{{2, 100}};
  for (int64_t i = 1; i <= 4; ++i)
    pending.add(notice(i));
  apply(pending, 1);
  apply(pending, 2);
  pending.begin_refill();
  pending.add(notice(5));
  pending.add(notice(4)); // known to the answer as well
  pending.refill({notice(3), notice(4)}, std::nullopt);
  BOOST_TEST(pending.count() == 3);
}

BOOST_AUTO_TEST_CASE(a_counted_event_may_have_the_lowest_number) {
  backlog pending{{2, 100}};
  pending.add(notice(5));
  pending.add(notice(6));
  auto late = notice(7);
  late.seq = 4;
  pending.add(late);
  BOOST_TEST(*pending.lowest_seq() == 4);
}

BOOST_AUTO_TEST_CASE(counted_events_that_are_applied_count_no_more) {
  backlog pending{{2, 100}};
  for (int64_t i = 1; i <= 5; ++i)
    pending.add(notice(i));
  // The early one has no notice yet: it is not one of those counted.
  apply(pending, 0);
  BOOST_TEST(pending.count() == 5);
  for (int64_t i = 1; i <= 4; ++i)
    apply(pending, i);
  BOOST_TEST(pending.count() == 1);
  BOOST_TEST((pending.oldest() == from_ms(3)));
}

// Goal: whatever the order of notices and commits, the number is that of the
// difference of both sets. Method: a seed draws the order; notices may come
// behind the commit, but both are in commit order.
BOOST_AUTO_TEST_CASE(the_count_is_exact_under_any_interleaving) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 prng{seed};
      backlog pending{{1000, 64}};
      int64_t noted = 0;
      int64_t applied = 0;
      for (int step = 0; step < 400; ++step) {
        if (prng() % 2 == 0)
          pending.add(notice(noted++));
        else if (applied < noted + 8)
          apply(pending, applied++);
        BOOST_TEST(pending.count() == std::max<int64_t>(noted - applied, 0));
        if (noted > applied)
          BOOST_TEST((pending.oldest() == from_ms(applied)));
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

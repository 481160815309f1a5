#include "storage/postgres/rows_below_floor.hpp"

#include "tests/support/outbox_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage::postgres;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

struct fixture : outbox_fixture {
  fixture() {
    sold = sell(20);
    confirm(sold);
    floor = sold.back().seq + 1;
    // As the store has them.
    connection_options options;
    options.pinned_plans = true;
    db = must(open_connection(dsn, options));
  }

  void make_new(size_t i) {
    psql->run(fmt::format("UPDATE outbox_events SET status = 'NEW', sent_at = "
                          "NULL WHERE seq = {}",
                          sold[i].seq));
  }

  std::vector<int64_t> find(size_t limit = 100, int64_t generation = 1) {
    std::vector<int64_t> result;
    for (auto row : rows.find(*db, floor, generation, limit))
      result.push_back(as_int(row["seq"]));
    return result;
  }

  std::vector<int64_t> seqs_of(std::vector<size_t> places) {
    std::vector<int64_t> result;
    for (auto i : places)
      result.push_back(sold[i].seq);
    return result;
  }

  std::vector<commit_notice> sold;
  int64_t floor = 0;
  connection_ptr db;
  rows_below_floor rows{{.interval = 0ms, .rows_max = 4}};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(rows_below_floor_suite, fixture)

BOOST_AUTO_TEST_CASE(where_all_is_sent_there_is_nothing) {
  for (int i = 0; i < 10; ++i)
    BOOST_TEST(find().empty());
  sell(1);
  BOOST_TEST(find().empty());
}

BOOST_AUTO_TEST_CASE(a_sweep_goes_down_from_where_the_last_one_ended) {
  make_new(1);
  make_new(9);
  std::vector<size_t> sizes;
  for (int i = 0; i < 5; ++i)
    sizes.push_back(find().size());
  // Rows 19 to 12, to 8, to 4, to 0.
  BOOST_TEST(sizes == (std::vector<size_t>{0, 1, 1, 2, 2}),
             boost::test_tools::per_element());
  BOOST_TEST(find() == seqs_of({1, 9}), boost::test_tools::per_element());
  // At the oldest row it starts again.
  make_new(5);
  BOOST_TEST(eventually([&] { return find() == seqs_of({1, 5, 9}); }));
}

BOOST_AUTO_TEST_CASE(just_below_the_floor_each_sweep_looks) {
  for (int i = 0; i < 3; ++i)
    find();
  make_new(17);
  BOOST_TEST(find() == seqs_of({17}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_is_found_is_given_until_it_is_sent) {
  make_new(16);
  make_new(17);
  make_new(18);
  BOOST_TEST(find(2) == seqs_of({16, 17}), boost::test_tools::per_element());
  BOOST_TEST(rows.size() == 3u);
  confirm({sold[16], sold[17]});
  find();
  BOOST_TEST(find() == seqs_of({18}), boost::test_tools::per_element());
  BOOST_TEST(rows.size() == 1u);
  confirm({sold[18]});
  BOOST_TEST(find().empty());
  BOOST_TEST(rows.size() == 0u);
}

BOOST_AUTO_TEST_CASE(what_a_republish_makes_new_is_not_lost) {
  must(outbox->republish("branch-1", sold[15].seq));
  // With the floor of before.
  BOOST_TEST(find().empty());
  floor = sold[15].seq + 1;
  BOOST_TEST(find(100, 2).empty());
}

BOOST_AUTO_TEST_CASE(between_two_sweeps_nothing_is_read) {
  rows = rows_below_floor{{.interval = 1h, .rows_max = 4}};
  BOOST_TEST(find().empty());
  make_new(18);
  BOOST_TEST(find().empty());
}

BOOST_AUTO_TEST_CASE(a_sweep_reads_no_whole_partition) {
  make_new(18);
  find();
  db.reset();
  auto sum = [&](const std::string& column) {
    return number(*psql, fmt::format("SELECT sum({}) FROM pg_stat_user_tables "
                                     "WHERE relname LIKE 'outbox_events_%'",
                                     column));
  };
  BOOST_TEST(eventually([&] { return sum("idx_scan") > 0; }));
  BOOST_TEST(sum("seq_scan") == 0);
}

BOOST_AUTO_TEST_SUITE_END()

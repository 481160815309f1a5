#include "actors/aggregation/writer_pool.hpp"

#include "tests/support/actor_fixture.hpp"
#include "tests/support/read_side.hpp"

#include <boost/test/unit_test.hpp>

#include <optional>
#include <utility>

using namespace tillstream;

namespace {

struct fixture : tests::actor_fixture {
  fixture() {
    for (int i = 0; i < 3; ++i)
      writers.push_back(sys.spawn(test::scripted_writer, script));
    pool = std::make_shared<writer_pool>(writers);
  }

  ~fixture() {
    pool = nullptr;
    for (auto& x : writers)
      end(x);
  }

  writer_pool::place take(bool much) {
    return writer_pool::take(pool, much);
  }

  test::writer_script_ptr script = std::make_shared<test::writer_script>();
  std::vector<aggregate_writer_actor> writers;
  writer_pool_ptr pool;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(writer_pool_suite, fixture)

BOOST_AUTO_TEST_CASE(small_batches_share_the_first_writer) {
  auto a = take(false);
  auto b = take(false);
  BOOST_TEST((a.writer() == writers[0]));
  BOOST_TEST((b.writer() == writers[0]));
}

BOOST_AUTO_TEST_CASE(large_batches_take_the_writer_with_the_fewest) {
  auto a = take(true);
  auto b = take(true);
  auto c = take(true);
  auto d = take(true);
  BOOST_TEST((a.writer() == writers[0]));
  BOOST_TEST((b.writer() == writers[1]));
  BOOST_TEST((c.writer() == writers[2]));
  BOOST_TEST((d.writer() == writers[0]));
}

BOOST_AUTO_TEST_CASE(a_batch_that_ended_frees_its_writer) {
  auto a = std::optional{take(true)};
  auto b = take(true);
  a.reset();
  auto c = take(true);
  BOOST_TEST((c.writer() == writers[0]));
}

BOOST_AUTO_TEST_CASE(a_place_that_is_moved_counts_once) {
  auto a = take(true);
  auto b = std::move(a);
  // Assigning to one that holds a writer frees that one.
  auto c = take(true);
  BOOST_TEST((c.writer() == writers[1]));
  c = std::move(b);
  BOOST_TEST((c.writer() == writers[0]));
  auto d = take(true);
  BOOST_TEST((d.writer() == writers[1]));
}

BOOST_AUTO_TEST_CASE(a_place_keeps_its_pool_alive) {
  auto a = take(true);
  pool = nullptr;
  BOOST_TEST((a.writer() == writers[0]));
}

BOOST_AUTO_TEST_SUITE_END()

#include "actors/aggregation/aggregate_reader.hpp"

#include "messages/core/error.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/table_model.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

struct fixture : tests::actor_fixture {
  fixture() {
    aggregate_reader_options options;
    options.open_store
      = [this]() -> caf::expected<storage::aggregate_store_ptr> {
      ++opened;
      if (away)
        return caf::make_error(errc::unavailable, "told to be away");
      return storage::aggregate_store_ptr{
        std::make_unique<test::model_store>(tables, mood)};
    };
    options.open_replica
      = [this]() -> caf::expected<storage::aggregate_store_ptr> {
      ++replicas_opened;
      if (replica_away)
        return caf::make_error(errc::unavailable, "told to be away");
      return storage::aggregate_store_ptr{
        std::make_unique<test::model_store>(replica, replica_mood)};
    };
    options.seed = 1;
    reader = sys.spawn(aggregate_reader, options);
    settle();
  }

  ~fixture() {
    end(reader);
  }

  auto load() {
    return *ask<branch_state_ptr>(reader, atom::load_v,
                                  std::string{"branch-1"});
  }

  /// Asks for a piece as a shard whose memory stands at `apply_no`.
  /// @returns where the piece stood.
  int64_t read_at(int64_t apply_no) {
    slice_request what;
    what.branch_id = "branch-1";
    what.apply_no = apply_no;
    auto piece = ask<slice_ptr>(reader, atom::load_v, what);
    BOOST_REQUIRE((piece && *piece));
    return (**piece)->apply_no;
  }

  test::table_model_ptr replica = std::make_shared<test::table_model>();
  std::shared_ptr<test::model_store::mood> replica_mood
    = std::make_shared<test::model_store::mood>();
  bool replica_away = false;
  size_t replicas_opened = 0;
  test::table_model_ptr tables = std::make_shared<test::table_model>();
  std::shared_ptr<test::model_store::mood> mood
    = std::make_shared<test::model_store::mood>();
  bool away = false;
  size_t opened = 0;
  aggregate_reader_actor reader;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(aggregate_reader_suite, fixture)

BOOST_AUTO_TEST_CASE(it_reads_states_and_slices) {
  tables->put_cursor("branch-1", {"life", 3, 4, 5, {}});
  BOOST_TEST((*load())->cursor.apply_no == 5);
  slice_request what;
  what.branch_id = "branch-1";
  auto piece = ask<slice_ptr>(reader, atom::load_v, what);
  BOOST_TEST((**piece)->apply_no == 5);
}

BOOST_AUTO_TEST_CASE(a_lost_session_is_replaced_after_a_backoff) {
  BOOST_TEST(static_cast<bool>(load()));
  mood->read_error = errc::unavailable;
  BOOST_TEST((load().error() == errc::unavailable));
  mood->read_error = errc::none;
  away = true;
  for (int i = 0; i < 50; ++i)
    BOOST_TEST((load().error() == errc::unavailable));
  BOOST_TEST(opened < 5u);
  away = false;
  advance(10s);
  BOOST_TEST(static_cast<bool>(load()));
}

BOOST_AUTO_TEST_CASE(a_refused_request_keeps_the_session) {
  BOOST_TEST(static_cast<bool>(load()));
  mood->read_error = errc::internal;
  BOOST_TEST((load().error() == errc::internal));
  mood->read_error = errc::none;
  BOOST_TEST(static_cast<bool>(load()));
  BOOST_TEST(opened == 1u);
}

BOOST_AUTO_TEST_CASE(history_is_read_from_a_replica_that_stands_right) {
  tables->put_cursor("branch-1", {"life", 3, 4, 5, {}});
  replica->put_cursor("branch-1", {"life", 3, 4, 5, {}});
  // The primary would fail: it was not asked.
  mood->read_error = errc::internal;
  BOOST_TEST(read_at(5) == 5);
}

BOOST_AUTO_TEST_CASE(a_replica_that_is_behind_or_away_is_not_believed) {
  tables->put_cursor("branch-1", {"life", 3, 4, 5, {}});
  replica->put_cursor("branch-1", {"life", 2, 3, 4, {}});
  BOOST_TEST(read_at(5) == 5);
  replica->put_cursor("branch-1", {"life", 3, 4, 5, {}});
  replica_mood->read_error = errc::unavailable;
  BOOST_TEST(read_at(5) == 5);
  replica_away = true;
  for (int i = 0; i < 20; ++i)
    BOOST_TEST(read_at(5) == 5);
  // A backoff keeps it from being tried each time.
  BOOST_TEST(replicas_opened < 4u);
}

BOOST_AUTO_TEST_CASE(a_replica_is_never_asked_for_what_is_now) {
  tables->put_cursor("branch-1", {"life", 3, 4, 5, {}});
  BOOST_TEST((*load())->cursor.apply_no == 5);
  BOOST_TEST(read_at(-1) == 5);
  BOOST_TEST(replicas_opened == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

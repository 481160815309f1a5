#include "storage/ports/purchase_lookup_store.hpp"

#include "messages/core/error.hpp"
#include "storage/postgres/purchase_batch.hpp"
#include "tests/support/made_up_purchases.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::test;

namespace {

struct fixture {
  std::string dsn = fresh_database("oltp");
  purchase_lookup_store_ptr lookup = must(open_purchase_lookup_store(dsn));
  postgres::connection_ptr psql = open_psql(dsn);
  purchase_maker make;

  caf::expected<std::optional<purchase_details>> find(const purchase_ptr& x) {
    return lookup->find_by_key(x->branch_id, x->idempotency_key);
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(purchase_lookup_store_suite)

BOOST_FIXTURE_TEST_CASE(a_key_that_nobody_holds_has_no_purchase, fixture) {
  auto found = find(make.make());
  BOOST_REQUIRE(found);
  BOOST_TEST(!*found);
}

BOOST_FIXTURE_TEST_CASE(a_held_key_is_in_progress, fixture) {
  auto wanted = make.make();
  psql->run(fmt::format("BEGIN; SELECT pg_advisory_xact_lock({})",
                        postgres::key_lock(*wanted)));
  for (int i = 0; i < 2; ++i) {
    auto found = find(wanted);
    BOOST_REQUIRE(!found);
    BOOST_TEST((found.error() == errc::in_progress));
    // Of another key, and of another branch's, nothing is said.
    BOOST_TEST(!must(find(make.make())));
    BOOST_TEST(!must(lookup->find_by_key("branch-3", wanted->idempotency_key)));
  }
  psql->run("ROLLBACK");
  BOOST_TEST(!must(find(wanted)));
}

BOOST_FIXTURE_TEST_CASE(a_purchase_is_never_missing_after_its_commit, fixture) {
  // Its COMMIT takes a while.
  psql->run("CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS $$"
            "BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER doze AFTER INSERT ON purchases "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
            "EXECUTE FUNCTION doze()");
  auto store = open_purchases(dsn);
  auto wanted = make.make();
  std::atomic<bool> recorded = false;
  std::thread writer{[&] {
    auto done = must(store->record({wanted}));
    recorded = done.results[0].outcome == verdict::recorded;
  }};
  // 404, then 'in progress', then found: never back.
  int stage = 0;
  bool back = false;
  int stages_seen = 0;
  auto look = [&] {
    auto found = find(wanted);
    auto now = !found ? 1 : *found ? 2 : 0;
    if (!found)
      BOOST_TEST((found.error() == errc::in_progress));
    back = back || now < stage;
    stages_seen |= 1 << now;
    stage = now;
    return now == 2;
  };
  BOOST_TEST(eventually(look));
  writer.join();
  BOOST_TEST(recorded.load());
  BOOST_TEST(!back);
  BOOST_TEST((stages_seen & 2) != 0);
}

BOOST_AUTO_TEST_SUITE_END()

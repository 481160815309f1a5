#include <boost/test/unit_test.hpp>

#include "actors/intake/purchase_lookup.hpp"
#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/supervisor.hpp"
#include "messages/core/limits.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_purchase_store.hpp"

#include <string>

using namespace tillstream;
using namespace tillstream::tests;
using namespace std::chrono_literals;

namespace {

/// One purchase, `b2`'s number 7 under key 8.
struct fake_rows {
  bool down = false;
  bool break_next = false;
  bool held = false;
  size_t sessions = 0;
  size_t last_limit = 0;
};

class fake_reader : public storage::purchase_lookup_store {
public:
  explicit fake_reader(fake_rows& rows) : rows_(rows) {
    ++rows_.sessions;
  }

  caf::expected<std::optional<purchase_details>>
  find(const std::vector<std::string>& branches,
       const uuid& purchase_id) override {
    if (fails())
      return caf::make_error(errc::unavailable, "fake");
    for (auto& id : branches)
      if (id == "b2" && purchase_id == numbered_uuid(7))
        return std::optional{details()};
    return std::optional<purchase_details>{};
  }

  caf::expected<std::optional<purchase_details>>
  find_by_key(const std::string& branch_id, const uuid& key) override {
    if (fails())
      return caf::make_error(errc::unavailable, "fake");
    if (rows_.held)
      return caf::make_error(errc::in_progress, "fake");
    if (branch_id == "b2" && key == numbered_uuid(8))
      return std::optional{details()};
    return std::optional<purchase_details>{};
  }

  caf::expected<std::vector<customer>>
  customers(const std::optional<uuid>& after, size_t limit) override {
    if (fails())
      return caf::make_error(errc::unavailable, "fake");
    rows_.last_limit = limit;
    return std::vector<customer>{{after.value_or(uuid{}), from_ms(5)}};
  }

private:
  static purchase_details details() {
    purchase_details x;
    x.head.purchase_id = numbered_uuid(7);
    return x;
  }

  bool fails() {
    return rows_.down || std::exchange(rows_.break_next, false);
  }

  fake_rows& rows_;
};

struct fixture : actor_fixture {
  fixture() {
    purchase_lookup_options options;
    options.open_store
      = [this]() -> caf::expected<storage::purchase_lookup_store_ptr> {
      if (rows.down)
        return caf::make_error(errc::unavailable, "fake is down");
      return storage::purchase_lookup_store_ptr{std::make_unique<fake_reader>(rows)};
    };
    options.seed = 1;
    uut = sys.spawn(purchase_lookup, options);
    settle();
  }

  ~fixture() {
    end(uut);
    BOOST_TEST(static_cast<bool>(arm_fault_points("")));
  }

  auto find(std::vector<std::string> branches, uint64_t id) {
    purchase_key what;
    what.branches = std::move(branches);
    what.purchase_id = numbered_uuid(id);
    return ask<purchase_details_ptr>(uut, atom::find_v, what);
  }

  auto find_key(std::vector<std::string> branches, uint64_t key) {
    purchase_key what;
    what.branches = std::move(branches);
    what.idempotency_key = numbered_uuid(key);
    return ask<purchase_details_ptr>(uut, atom::find_v, what);
  }

  fake_rows rows;
  purchase_lookup_actor uut;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(purchase_lookup_suite, fixture)

BOOST_AUTO_TEST_CASE(a_purchase_is_found_by_its_id) {
  auto x = find({"b1", "b2"}, 7);
  BOOST_REQUIRE((x && *x && **x));
  BOOST_TEST(((**x)->head.purchase_id == numbered_uuid(7)));
}

BOOST_AUTO_TEST_CASE(a_purchase_is_found_by_its_key_in_any_branch_asked) {
  auto x = find_key({"b1", "b2"}, 8);
  BOOST_TEST((x && *x && **x));
}

BOOST_AUTO_TEST_CASE(what_is_not_there_is_null_and_no_error) {
  for (auto& x : {find({"b1"}, 7), find({"b2"}, 9), find_key({"b1"}, 8),
                  find_key({"b2"}, 9)})
    BOOST_TEST((x && *x && !**x));
}

BOOST_AUTO_TEST_CASE(a_key_that_is_held_ends_no_session) {
  rows.held = true;
  for (int i = 0; i < 2; ++i) {
    auto x = find_key({"b1"}, 8);
    BOOST_TEST((x && !*x && x->error() == errc::in_progress));
  }
  rows.held = false;
  auto x = find_key({"b2"}, 8);
  BOOST_TEST((x && *x && **x));
  BOOST_TEST(rows.sessions == 1u);
}

BOOST_AUTO_TEST_CASE(a_page_of_customers_is_bounded) {
  customer_page_request what;
  what.after = numbered_uuid(3);
  what.limit = 1'000'000;
  auto x = ask<customer_page_ptr>(uut, atom::list_v, what);
  BOOST_REQUIRE((x && *x && (**x)->size() == 1));
  BOOST_TEST(((**x)->front().user_id == numbered_uuid(3)));
  BOOST_TEST(rows.last_limit == limits::customers_page_max);
}

BOOST_AUTO_TEST_CASE(a_session_that_broke_while_idle_costs_nobody_an_error) {
  BOOST_TEST((find({"b2"}, 7) && *find({"b2"}, 7)));
  advance(1min);
  rows.break_next = true;
  auto x = find({"b2"}, 7);
  BOOST_TEST((x && *x && **x));
  BOOST_TEST(rows.sessions == 2u);
}

BOOST_AUTO_TEST_CASE(a_session_that_breaks_at_once_is_not_opened_in_a_loop) {
  rows.break_next = true;
  auto x = find({"b2"}, 7);
  BOOST_TEST((x && !*x && x->error() == errc::unavailable));
  BOOST_TEST(rows.sessions == 1u);
}

BOOST_AUTO_TEST_CASE(while_the_database_is_away_answers_come_at_once) {
  rows.down = true;
  for (int i = 0; i < 5; ++i) {
    auto x = find({"b2"}, 7);
    BOOST_TEST((x && !*x && x->error() == errc::unavailable));
  }
  rows.down = false;
  advance(limits::backoff_min);
  auto x = find({"b2"}, 7);
  BOOST_TEST((x && *x && **x));
}

BOOST_AUTO_TEST_CASE(a_throw_is_answered) {
  BOOST_TEST(
    static_cast<bool>(arm_fault_points("purchase-lookup.find=throw:1")));
  auto x = find({"b2"}, 7);
  BOOST_TEST((x && !*x && x->error() == errc::internal));
}

BOOST_AUTO_TEST_SUITE_END()

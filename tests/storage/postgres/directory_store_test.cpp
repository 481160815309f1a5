#include "storage/ports/directory_store.hpp"

#include "messages/core/error.hpp"
#include "tests/support/made_up_purchases.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage;
using namespace tillstream::test;

namespace {

struct fixture {
  std::string dsn = fresh_database("oltp");
  directory_store_ptr store = must(open_directory_store(dsn));
  purchase_maker make;

  api_key make_key(key_role role, const std::string& branch_id = {}) {
    api_key result;
    result.key_id = make.new_id();
    result.digest = sha256(to_string(result.key_id));
    result.role = role;
    result.branch_id = branch_id;
    result.label = "counter \"2\"";
    result.created_at = must(store->now());
    return result;
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(directory_store_suite)

BOOST_FIXTURE_TEST_CASE(a_chain_comes_back_as_it_was_saved, fixture) {
  BOOST_TEST((store->load().error() == errc::not_found));
  tillstream::chain chain;
  chain.name = "Coffee \\ chain";
  chain.currency = *find_currency("JPY");
  chain.branches = {{"a", "A", "Asia/Tokyo", 240}, {"b", "B", "UTC", 0}};
  must(store->save_chain(chain));
  auto found = must(store->load());
  BOOST_TEST(found.chain.name == chain.name);
  BOOST_TEST((found.chain.currency == chain.currency));
  BOOST_TEST((found.chain.branches == chain.branches));
  BOOST_TEST(found.keys.empty());
  BOOST_TEST(found.catalog.empty());
}

BOOST_FIXTURE_TEST_CASE(branches_that_a_new_chain_lacks_stay, fixture) {
  must(store->save_chain(default_chain()));
  auto chain = default_chain();
  chain.branches = {{"branch-2", "Renamed", "Europe/Berlin", 30}};
  must(store->save_chain(chain));
  auto found = must(store->load()).chain;
  BOOST_REQUIRE(found.branches.size() == 3u);
  BOOST_TEST((found.branches[0] == default_chain().branches[0]));
  BOOST_TEST((found.branches[1] == chain.branches[0]));
}

BOOST_FIXTURE_TEST_CASE(the_currency_is_fixed_by_the_first_sale, fixture) {
  must(store->save_chain(default_chain()));
  auto euros = default_chain();
  euros.currency = *find_currency("EUR");
  must(store->save_chain(euros));
  must(store->save_chain(default_chain()));
  must(open_purchases(dsn)->record({make.make()}));
  BOOST_TEST((store->save_chain(euros).error() == errc::invalid));
  must(store->save_chain(default_chain()));
  BOOST_TEST(must(store->load()).chain.currency.code == "USD");
}

BOOST_FIXTURE_TEST_CASE(keys_are_kept_and_revoked, fixture) {
  must(store->save_chain(default_chain()));
  auto till = make_key(key_role::till, "branch-1");
  auto owner = make_key(key_role::owner);
  owner.created_at = till.created_at + std::chrono::milliseconds{1};
  must(store->add_key(owner));
  must(store->add_key(till));
  auto keys = must(store->list_keys());
  BOOST_REQUIRE(keys.size() == 2u);
  BOOST_TEST((keys[0].key_id == till.key_id));
  BOOST_TEST((keys[0].digest == till.digest));
  BOOST_TEST((keys[0].role == key_role::till));
  BOOST_TEST(keys[0].branch_id == "branch-1");
  BOOST_TEST(keys[0].label == till.label);
  BOOST_TEST((keys[0].created_at == till.created_at));
  BOOST_TEST(!keys[0].revoked_at);
  BOOST_TEST(keys[1].branch_id == "");
  must(store->revoke_key(till.key_id));
  auto revoked_at = must(store->list_keys())[0].revoked_at;
  BOOST_REQUIRE(revoked_at);
  must(store->revoke_key(till.key_id));
  BOOST_TEST((must(store->list_keys())[0].revoked_at == revoked_at));
  auto live = must(store->load()).keys;
  BOOST_REQUIRE(live.size() == 1u);
  BOOST_TEST((live[0].key_id == owner.key_id));
  BOOST_TEST((store->revoke_key(make.new_id()).error() == errc::not_found));
}

BOOST_FIXTURE_TEST_CASE(a_till_needs_a_branch_that_is_there, fixture) {
  must(store->save_chain(default_chain()));
  auto key = make_key(key_role::till, "branch-9");
  BOOST_TEST((store->add_key(key).error() == errc::invalid));
  BOOST_TEST(must(store->list_keys()).empty());
}

BOOST_FIXTURE_TEST_CASE(the_catalogue_is_imported_again_and_again, fixture) {
  must(store->save_chain(default_chain()));
  BOOST_TEST(must(store->import_catalog({})) == 0);
  BOOST_TEST(must(store->import_catalog(
               {{"1", "Espresso", "coffee"}, {"2", "Scone", "bakery"}}))
             == 2);
  // Of two lines for one product the later counts.
  BOOST_TEST(must(store->import_catalog(
               {{"2", "Old", ""}, {"2", "Scone, \"plain\"", "bakery"}}))
             == 1);
  auto found = must(store->load()).catalog;
  BOOST_REQUIRE(found.size() == 2u);
  BOOST_TEST(found[0].name == "Espresso");
  BOOST_TEST(found[1].name == "Scone, \"plain\"");
}

BOOST_FIXTURE_TEST_CASE(every_change_raises_the_version, fixture) {
  auto last = must(store->version());
  auto raised = [&] {
    auto now = must(store->version());
    auto result = now > last;
    last = now;
    return result;
  };
  must(store->save_chain(default_chain()));
  BOOST_TEST(raised());
  auto key = make_key(key_role::operator_);
  must(store->add_key(key));
  BOOST_TEST(raised());
  must(store->revoke_key(key.key_id));
  BOOST_TEST(raised());
  must(store->import_catalog({{"1", "Espresso", "coffee"}}));
  BOOST_TEST(raised());
  BOOST_TEST(must(store->load()).version == last);
  must(store->list_keys());
  BOOST_TEST(!raised());
  must(open_purchases(dsn)->record({make.make()}));
  BOOST_TEST(!raised());
}

BOOST_FIXTURE_TEST_CASE(now_is_the_databases_clock, fixture) {
  auto before = must(store->now());
  auto psql = open_psql(dsn);
  auto between = number(
    *psql, "SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint");
  BOOST_TEST(to_ms(before) <= between);
  BOOST_TEST(std::abs(to_ms(must(store->now())) - between) < 10'000);
}

// -- the reader ---------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_purchase_is_found_by_id_and_by_key, fixture) {
  auto writer = open_purchases(dsn);
  auto reader = must(open_purchase_lookup_store(dsn));
  auto wanted = make.make([](purchase& x) {
    x.branch_id = "branch-2";
    x.items[2].name.reset();
  });
  auto recorded = must(writer->record({wanted, make.make()})).results[0];
  auto id = recorded.purchase.purchase_id;
  auto x = must(reader->find({"branch-1", "branch-2"}, id));
  BOOST_REQUIRE(x);
  BOOST_TEST((x->head.purchase_id == id));
  BOOST_TEST((x->head.event_id == recorded.purchase.event_id));
  BOOST_TEST((x->head.user_id == recorded.purchase.user_id));
  BOOST_TEST((x->head.recorded_at == recorded.purchase.recorded_at));
  BOOST_TEST((x->head.occurred_at == recorded.purchase.occurred_at));
  BOOST_TEST(x->head.receipt_id == wanted->receipt_id);
  BOOST_TEST(x->head.branch_id == "branch-2");
  BOOST_TEST(x->head.new_customer);
  BOOST_TEST(x->cashier_id == "cashier-7");
  BOOST_TEST(x->pos_id == "till-1");
  BOOST_TEST((x->idempotency_key == wanted->idempotency_key));
  BOOST_REQUIRE(x->items.size() == 3u);
  for (size_t i = 0; i < 3; ++i) {
    BOOST_TEST(x->items[i].product_id == wanted->items[i].product_id);
    BOOST_TEST(x->items[i].unit_price == wanted->items[i].unit_price);
    BOOST_TEST((x->items[i].name == wanted->items[i].name));
  }
  BOOST_TEST(
    must(reader->find_by_key("branch-2", wanted->idempotency_key)).has_value());
  // Not for the till of another branch.
  BOOST_TEST(!must(reader->find({"branch-1"}, id)));
  BOOST_TEST(!must(reader->find_by_key("branch-1", wanted->idempotency_key)));
  BOOST_TEST(!must(reader->find({}, id)));
}

BOOST_FIXTURE_TEST_CASE(customers_come_in_pages_by_id, fixture) {
  auto writer = open_purchases(dsn);
  auto reader = must(open_purchase_lookup_store(dsn));
  BOOST_TEST(must(reader->customers({}, 10)).empty());
  must(writer->record(make.make_many(7, 1)));
  std::vector<uuid> seen;
  std::optional<uuid> after;
  for (size_t expected : {3, 3, 1, 0}) {
    auto page = must(reader->customers(after, 3));
    BOOST_TEST(page.size() == expected);
    for (const auto& x : page) {
      BOOST_TEST((to_ms(x.since) > 0));
      seen.push_back(x.user_id);
      after = x.user_id;
    }
  }
  BOOST_TEST(seen.size() == 7u);
  BOOST_TEST((std::is_sorted(seen.begin(), seen.end())));
}

BOOST_FIXTURE_TEST_CASE(all_nodes_read_the_same_session_secret, fixture) {
  must(store->save_chain(default_chain()));
  auto first = must(store->load()).session_secret;
  BOOST_TEST((first != sha256_digest{}));
  BOOST_TEST(
    (must(must(open_directory_store(dsn))->load()).session_secret == first));
}

BOOST_FIXTURE_TEST_CASE(ended_sessions_are_known_until_they_would_be_over,
                        fixture) {
  using namespace std::chrono_literals;
  must(store->save_chain(default_chain()));
  auto version = must(store->version());
  auto now = must(store->now());
  auto id = make.new_id();
  must(store->end_page_session(id, now + 1h));
  must(store->end_page_session(id, now + 1h));
  must(store->end_page_session(make.new_id(), now - 1h));
  BOOST_TEST(must(store->version()) > version);
  BOOST_TEST((must(store->load()).ended_sessions == std::vector{id}));
}

BOOST_FIXTURE_TEST_CASE(a_sign_in_link_is_good_once_and_for_a_while, fixture) {
  using namespace std::chrono_literals;
  must(store->save_chain(default_chain()));
  auto owner = make_key(key_role::owner);
  must(store->add_key(owner));
  auto now = must(store->now());
  must(store->add_sign_in_link(sha256("good"), owner.key_id, now + 1h));
  must(store->add_sign_in_link(sha256("old"), owner.key_id, now - 1ms));
  BOOST_TEST(
    (store->add_sign_in_link(sha256("x"), make.new_id(), now + 1h).error()
     == errc::not_found));
  BOOST_TEST(
    (store->take_sign_in_link(sha256("old")).error() == errc::not_found));
  auto other = must(open_directory_store(dsn));
  BOOST_TEST((must(other->take_sign_in_link(sha256("good"))) == owner.key_id));
  BOOST_TEST(
    (store->take_sign_in_link(sha256("good")).error() == errc::not_found));
}

BOOST_AUTO_TEST_SUITE_END()

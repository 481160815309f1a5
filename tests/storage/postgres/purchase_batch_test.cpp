#include "storage/postgres/purchase_batch.hpp"

#include "tests/support/made_up_purchases.hpp"

#include <boost/test/unit_test.hpp>

#include <set>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage::postgres;
using namespace tillstream::test;

namespace {

std::vector<const purchase*>
pointers(const std::vector<purchase_ptr>& purchases) {
  std::vector<const purchase*> result;
  for (const auto& x : purchases)
    result.push_back(x.get());
  return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(purchase_batch_suite)

BOOST_AUTO_TEST_CASE(the_locks_of_keys_are_the_same_on_every_node) {
  purchase_maker make;
  auto x = make.make([](purchase& p) {
    p.branch_id = "branch-1";
    p.receipt_id = "r-1";
    p.idempotency_key = *parse_uuid("0190163d-8694-4a4b-8c5d-0123456789ab");
  });
  // Whoever changes these numbers lets two versions write one key at once.
  BOOST_TEST(key_lock(*x) == 5458646390233971171);
  BOOST_TEST(receipt_lock(*x) == 3994351540718499110);
}

BOOST_AUTO_TEST_CASE(keys_and_receipts_of_other_branches_have_other_locks) {
  purchase_maker make;
  auto x = make.make([](purchase& p) { p.receipt_id = "1"; });
  auto y = changed(x, [](purchase& p) { p.branch_id = "branch-11"; });
  auto z = changed(x, [](purchase& p) {
    p.branch_id = "branch-";
    p.receipt_id = "11";
  });
  std::set<int64_t> locks{key_lock(*x),     key_lock(*y),     key_lock(*z),
                          receipt_lock(*x), receipt_lock(*y), receipt_lock(*z)};
  BOOST_TEST(locks.size() == 6u);
}

BOOST_AUTO_TEST_CASE(equal_purchases_are_represented_by_the_first) {
  purchase_maker make;
  auto x = make.make();
  auto y = make.make();
  // The same key with other contents is no equal.
  auto z = changed(x, [](purchase& p) { p.cashier_id = "another"; });
  auto plan = plan_batch({x, y, x, z, x});
  BOOST_TEST(plan.representatives == (std::vector<size_t>{0, 1, 3}),
             boost::test_tools::per_element());
  BOOST_TEST(plan.representative_of == (std::vector<size_t>{0, 1, 0, 3, 0}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(keys_and_receipts_go_to_the_first_that_is_accepted) {
  purchase_maker make;
  auto x = make.make();
  auto same_key = changed(x, [](purchase& p) { p.receipt_id = "other"; });
  auto same_receipt
    = changed(x, [&](purchase& p) { p.idempotency_key = make.new_id(); });
  auto result = resolve(pointers({x, same_key, same_receipt}),
                        std::vector<lookup_row>(3));
  BOOST_TEST((result[0].outcome == verdict::recorded));
  BOOST_TEST((result[1].outcome == verdict::key_reused));
  BOOST_TEST((result[1].rival == 0u));
  BOOST_TEST((result[2].outcome == verdict::receipt_taken));
  BOOST_TEST((result[2].rival == 0u));
}

BOOST_AUTO_TEST_CASE(a_refusal_for_the_customer_frees_key_and_receipt) {
  purchase_maker make;
  auto x = make.make([&](purchase& p) { p.user_id = make.new_id(); });
  auto same_key = changed(x, [](purchase& p) { p.user_id.reset(); });
  auto result = resolve(pointers({x, same_key}), std::vector<lookup_row>(2));
  BOOST_TEST((result[0].outcome == verdict::customer_unknown));
  BOOST_TEST((result[1].outcome == verdict::recorded));
}

BOOST_AUTO_TEST_CASE(an_accepted_purchase_makes_its_customer_known) {
  purchase_maker make;
  auto id = make.new_id();
  auto returns = make.make([&](purchase& p) { p.user_id = id; });
  auto comes = make.make([&](purchase& p) {
    p.user_id = id;
    p.new_customer = true;
  });
  auto result = resolve(pointers({returns, comes}), std::vector<lookup_row>(2));
  for (const auto& x : result)
    BOOST_TEST((x.outcome == verdict::recorded));
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include "actors/upkeep/retention.hpp"
#include "messages/core/error.hpp"
#include "tests/support/table_model.hpp"

#include <memory>
#include <string>
#include <vector>

using namespace tillstream;

namespace {

/// What the fake stores have left to prune, and what they were asked for.
struct rows {
  int64_t left = 0;
  std::vector<int64_t> asked;
};

class pruned_store : public test::model_store {
public:
  explicit pruned_store(rows& x) : model_store(nullptr, nullptr), rows_(x) {
    // nop
  }

  caf::expected<int64_t> prune(int64_t rows_max) override {
    rows_.asked.push_back(rows_max);
    auto result = std::min(rows_.left, rows_max);
    rows_.left -= result;
    return result;
  }

private:
  rows& rows_;
};

struct fixture {
  fixture() {
    options.rows_max = 10;
    options.deletes_max = 4;
    options.open_aggregates
      = [this]() -> caf::expected<storage::aggregate_store_ptr> {
      if (away)
        return caf::make_error(errc::unavailable, "fake");
      return storage::aggregate_store_ptr{new pruned_store{stored}};
    };
    options.maintain_partitions =
      [this](
        const std::string& schema) -> caf::expected<std::vector<std::string>> {
      maintained.push_back(schema);
      return std::vector<std::string>{"attached a partition"};
    };
  }

  rows stored;
  bool away = false;
  std::vector<std::string> maintained;
  retention_options options;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(retention_suite, fixture)

BOOST_AUTO_TEST_CASE(aggregates_are_pruned_in_small_steps_until_none_is_left) {
  stored.left = 25;
  auto changes = apply_retention(options, "analytics");
  BOOST_REQUIRE(changes);
  BOOST_TEST(changes->size() == 1u);
  BOOST_TEST(stored.left == 0);
  auto expected = std::vector<int64_t>{10, 10, 10};
  BOOST_TEST(stored.asked == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_round_has_a_bound_and_the_next_one_goes_on) {
  stored.left = 45;
  BOOST_REQUIRE(apply_retention(options, "analytics"));
  BOOST_TEST(stored.left == 5);
  BOOST_TEST(maintained.size() == 1u);
  BOOST_REQUIRE(apply_retention(options, "analytics"));
  BOOST_TEST(stored.left == 0);
}

BOOST_AUTO_TEST_CASE(purchases_are_never_pruned) {
  stored.left = 25;
  BOOST_REQUIRE(apply_retention(options, "oltp"));
  BOOST_TEST(stored.asked.empty());
  BOOST_TEST(maintained.back() == "oltp");
}

BOOST_AUTO_TEST_CASE(no_partition_is_changed_when_pruning_fails) {
  away = true;
  auto changes = apply_retention(options, "analytics");
  BOOST_REQUIRE(!changes);
  BOOST_TEST((changes.error() == errc::unavailable));
  BOOST_TEST(maintained.empty());
}

BOOST_AUTO_TEST_SUITE_END()

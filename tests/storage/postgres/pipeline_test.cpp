#include <boost/test/unit_test.hpp>

#include "messages/core/error.hpp"
#include "storage/postgres/pipeline.hpp"
#include "storage/postgres/transaction.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <optional>
#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage::postgres;

namespace {

constexpr statement add_row{"test_add_row", R"(
  INSERT INTO numbers SELECT * FROM unnest($1::bigint[], $2::text[]))"};

constexpr statement read_rows{"test_read_rows", R"(
  SELECT number, name FROM numbers WHERE number >= $1::bigint
   ORDER BY number)"};

constexpr statement divide{"test_divide", "SELECT 1 / $1::bigint"};

struct fixture {
  fixture() {
    db.run("CREATE TABLE numbers (number bigint PRIMARY KEY, name text)");
  }

  int64_t count() {
    return as_int(db.run("SELECT count(*) FROM numbers")[0][0]);
  }

  static void add(pipeline& to, int64_t number) {
    array_of<int64_t> numbers;
    text_array names;
    numbers.add(number);
    names.add("a name");
    to.add(add_row, numbers, names);
  }

  std::string dsn = test::fresh_database("");
  connection db{dsn};
};

std::string state_of(pipeline& what) {
  try {
    what.run();
  } catch (const std::exception& x) {
    return sqlstate_of(x);
  }
  return "none";
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(pipeline_suite, fixture)

BOOST_AUTO_TEST_CASE(statements_answer_in_their_order) {
  pipeline all{db};
  array_of<int64_t> numbers;
  text_array names;
  for (int64_t i = 1; i <= 3; ++i) {
    numbers.add(i);
    names.add_or_null(i == 2 ? std::optional<std::string>{}
                             : std::optional<std::string>{"a'\\\""});
  }
  auto before = all.add(read_rows, 1);
  auto added = all.add(add_row, numbers, names);
  auto after = all.add(read_rows, 2);
  BOOST_TEST(all.size() == 3u);
  auto answers = all.run();
  BOOST_TEST(all.size() == 0u);
  BOOST_REQUIRE(answers.size() == 3u);
  BOOST_TEST(answers[before].size() == 0u);
  BOOST_TEST(answers[added].affected_rows() == 3u);
  BOOST_REQUIRE(answers[after].size() == 2u);
  std::vector<int64_t> seen;
  for (const auto& row : answers[after])
    seen.push_back(as_int(row["number"]));
  BOOST_TEST((seen == std::vector<int64_t>{2, 3}));
  BOOST_TEST(answers[after][0][1].is_null);
  BOOST_TEST(as_text(answers[after][1]["name"]) == "a'\\\"");
}

BOOST_AUTO_TEST_CASE(nothing_at_all_is_answered_with_nothing) {
  BOOST_TEST(pipeline{db}.run().empty());
}

BOOST_AUTO_TEST_CASE(after_one_that_fails_none_is_run) {
  pipeline all{db};
  add(all, 1);
  all.add(divide, 0);
  add(all, 2);
  BOOST_TEST(state_of(all) == "22012");
  // Without BEGIN, all of a pipeline is one transaction.
  BOOST_TEST(count() == 0);
  add(all, 3);
  BOOST_TEST(all.run().size() == 1u);
  BOOST_TEST(count() == 1);
}

BOOST_AUTO_TEST_CASE(a_transaction_begins_and_commits_with_its_statements) {
  {
    pipeline first{db};
    transaction tx{db, first};
    add(first, 1);
    first.run();
    pipeline last{db};
    add(last, 2);
    BOOST_TEST(tx.commit(last).size() == 2u);
  }
  BOOST_TEST(count() == 2);
}

BOOST_AUTO_TEST_CASE(a_transaction_that_is_dropped_leaves_nothing) {
  {
    pipeline first{db};
    transaction tx{db, first};
    add(first, 1);
    first.run();
  }
  BOOST_TEST(count() == 0);
  // Also when it never began.
  {
    pipeline first{db};
    transaction tx{db, first};
  }
  BOOST_TEST(count() == 0);
}

BOOST_AUTO_TEST_CASE(what_fails_before_the_commit_is_not_in_doubt) {
  auto fail = [&] {
    pipeline first{db};
    transaction tx{db, first};
    add(first, 1);
    first.run();
    pipeline last{db};
    add(last, 1);
    tx.commit(last);
  };
  BOOST_CHECK_EXCEPTION(fail(), std::exception, [&](const auto& x) {
    return classify(db, x) == failure::duplicate;
  });
  BOOST_TEST(!db.broken());
  BOOST_TEST(count() == 0);
}

BOOST_AUTO_TEST_CASE(a_session_that_ends_with_the_commit_leaves_a_doubt) {
  auto fail = [&] {
    pipeline first{db};
    transaction tx{db, first};
    first.run();
    pipeline last{db};
    last.add_sql("SELECT pg_terminate_backend(pg_backend_pid())");
    tx.commit(last);
  };
  BOOST_CHECK_EXCEPTION(fail(), std::exception, [&](const auto& x) {
    return classify(db, x) == failure::in_doubt;
  });
  BOOST_TEST(db.broken());
  // And is not used again.
  pipeline later{db};
  later.add_sql("SELECT 1");
  BOOST_CHECK_THROW(later.run(), std::exception);
}

BOOST_AUTO_TEST_SUITE_END()

#include "storage/postgres/transaction.hpp"

#include "storage/postgres/connection.hpp"
#include "storage/postgres/pipeline.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <pqxx/except>

#include <string>

using namespace tillstream;
using namespace tillstream::storage::postgres;

namespace {

struct fixture {
  fixture() {
    db.run("CREATE TABLE parents (id int PRIMARY KEY);"
           "CREATE TABLE numbers (number int REFERENCES parents "
           "DEFERRABLE INITIALLY DEFERRED);"
           "INSERT INTO parents VALUES (1), (2), (3)");
  }

  int64_t count() {
    return as_int(other.run("SELECT count(*) FROM numbers")[0][0]);
  }

  /// Ends the server's side of `db`.
  void terminate() {
    auto pid = as_text(db.run("SELECT pg_backend_pid()")[0][0]);
    other.run("SELECT pg_terminate_backend(" + pid + ")");
  }

  std::string dsn = test::fresh_database("");
  connection db{dsn};
  connection other{dsn};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(transaction_suite, fixture)

BOOST_AUTO_TEST_CASE(only_what_is_committed_stays) {
  {
    transaction tx{db};
    BOOST_TEST(db.in_transaction());
    db.run("INSERT INTO numbers VALUES (1)");
  }
  BOOST_TEST(!db.in_transaction());
  BOOST_TEST(count() == 0);
  {
    transaction tx{db};
    db.run("INSERT INTO numbers VALUES (1)");
    tx.rollback();
  }
  BOOST_TEST(count() == 0);
  transaction tx{db};
  db.run("INSERT INTO numbers VALUES (1)");
  tx.commit();
  BOOST_TEST(count() == 1);
}

BOOST_AUTO_TEST_CASE(begin_and_commit_travel_with_the_statements) {
  pipeline first{db};
  transaction tx{db, first};
  BOOST_TEST(!db.in_transaction());
  first.add_sql("INSERT INTO numbers VALUES (1)");
  first.run();
  BOOST_TEST(db.in_transaction());
  pipeline last{db};
  auto place = last.add_sql("INSERT INTO numbers VALUES (2), (3)");
  BOOST_TEST(tx.commit(last)[place].affected_rows() == 2u);
  BOOST_TEST(!db.in_transaction());
  BOOST_TEST(count() == 3);
}

BOOST_AUTO_TEST_CASE(a_begin_that_fails_leaves_no_transaction) {
  BOOST_CHECK_THROW((transaction{db, "BEGIN; SET LOCAL no_such_thing = 1"}),
                    pqxx::sql_error);
  BOOST_TEST(!db.in_transaction());
}

BOOST_AUTO_TEST_CASE(a_commit_that_the_server_refuses_is_not_in_doubt) {
  {
    transaction tx{db};
    db.run("INSERT INTO numbers VALUES (9)");
    BOOST_CHECK_THROW(tx.commit(), pqxx::sql_error);
  }
  pipeline first{db};
  transaction tx{db, first};
  pipeline last{db};
  first.run();
  last.add_sql("INSERT INTO numbers VALUES (9)");
  BOOST_CHECK_THROW(tx.commit(last), pqxx::sql_error);
  BOOST_TEST(count() == 0);
}

BOOST_AUTO_TEST_CASE(a_connection_lost_at_commit_leaves_it_in_doubt) {
  transaction tx{db};
  db.run("INSERT INTO numbers VALUES (1)");
  terminate();
  BOOST_CHECK_THROW(tx.commit(), pqxx::in_doubt_error);
  BOOST_TEST(count() == 0);
}

BOOST_AUTO_TEST_CASE(a_connection_lost_before_ends_in_silence) {
  {
    transaction tx{db};
    db.run("INSERT INTO numbers VALUES (1)");
    terminate();
  }
  BOOST_TEST(count() == 0);
}

BOOST_AUTO_TEST_SUITE_END()

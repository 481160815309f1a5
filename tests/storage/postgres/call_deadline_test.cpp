#include "storage/postgres/call_deadline.hpp"

#include "messages/core/error.hpp"
#include "storage/postgres/call_limit.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/pipeline.hpp"
#include "storage/postgres/transaction.hpp"
#include "tests/support/must.hpp"
#include "tests/support/postgres_fixture.hpp"
#include "tests/support/tcp_gate.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace tillstream;
using namespace tillstream::storage::postgres;
using namespace std::chrono_literals;
using test::must;

namespace {

using clock = std::chrono::steady_clock;

/// Two ends of a connection on which nobody says anything.
struct silent_pair {
  silent_pair() {
    BOOST_REQUIRE(
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  }

  ~silent_pair() {
    ::close(ends[0]);
    ::close(ends[1]);
  }

  std::array<int, 2> ends{};
};

/// @returns whether the other end, or we, ended it.
bool is_over(int fd, std::chrono::milliseconds wait_max) {
  pollfd on{fd, POLLIN, 0};
  return ::poll(&on, 1, static_cast<int>(wait_max.count())) == 1;
}

constexpr auto answer_max = 300ms;

/// More than `answer_max`, and what no test waits for.
constexpr auto long_max = 30s;

/// A connection through a network that can freeze.
struct fixture {
  fixture() {
    auto colon = dsn.rfind(':');
    auto slash = dsn.find('/', colon);
    gate.emplace(static_cast<uint16_t>(
      std::stoi(dsn.substr(colon + 1, slash - colon - 1))));
    behind = dsn.substr(0, colon + 1) + std::to_string(gate->port())
             + dsn.substr(slash);
    options.answer_timeout = answer_max;
    db = must(open_connection(behind, options));
    other.run("CREATE TABLE numbers (number int)");
    began = clock::now();
  }

  template <class F>
  caf::error error_of(F&& f) {
    auto result = guarded(*db, [&]() -> caf::expected<void> {
      f();
      return caf::unit;
    });
    BOOST_TEST((clock::now() - began < long_max));
    return result ? caf::error{} : result.error();
  }

  int64_t count() {
    return as_int(other.run("SELECT count(*) FROM numbers")[0][0]);
  }

  std::string dsn = test::fresh_database("");
  std::optional<test::tcp_gate> gate;
  std::string behind;
  connection_options options;
  connection other{dsn};
  connection_ptr db;
  clock::time_point began;
};

constexpr statement select_one{"test_select_one", "SELECT 1"};

} // namespace

BOOST_AUTO_TEST_SUITE(call_deadline_suite)

// -- sockets ------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_deadline_that_passes_ends_the_connection) {
  silent_pair line;
  watched_socket socket{line.ends[0]};
  call_deadline deadline{socket, 20ms};
  BOOST_TEST(is_over(line.ends[0], long_max));
  BOOST_TEST(deadline.passed());
}

BOOST_AUTO_TEST_CASE(an_earlier_deadline_does_not_wait_for_a_later_one) {
  silent_pair one;
  silent_pair two;
  watched_socket first{one.ends[0]};
  watched_socket second{two.ends[0]};
  call_deadline late{first, 1h};
  call_deadline soon{second, 20ms};
  BOOST_TEST(is_over(two.ends[0], long_max));
  BOOST_TEST(!is_over(one.ends[0], 0ms));
  BOOST_TEST(!late.passed());
}

BOOST_AUTO_TEST_CASE(a_call_that_returned_in_time_has_no_deadline_left) {
  silent_pair line;
  silent_pair judge;
  watched_socket socket{line.ends[0]};
  { call_deadline deadline{socket, 20ms}; }
  call_deadline none{socket, 0ms};
  watched_socket of_judge{judge.ends[0]};
  call_deadline later{of_judge, 100ms};
  BOOST_TEST(is_over(judge.ends[0], long_max));
  BOOST_TEST(!is_over(line.ends[0], 0ms));
  BOOST_TEST(!none.passed());
}

// libpq closes its socket when a call fails, and somebody else may be given
// the number.
BOOST_AUTO_TEST_CASE(a_number_that_is_given_again_is_left_alone) {
  silent_pair line;
  watched_socket socket{line.ends[0]};
  call_deadline deadline{socket, 50ms};
  silent_pair stranger;
  BOOST_REQUIRE(::dup2(stranger.ends[0], line.ends[0]) == line.ends[0]);
  BOOST_TEST(is_over(line.ends[1], long_max));
  BOOST_TEST(!is_over(stranger.ends[0], 0ms));
}

BOOST_AUTO_TEST_CASE(a_limit_shortens_open_calls_and_later_ones) {
  silent_pair one;
  silent_pair two;
  silent_pair three;
  watched_socket first{one.ends[0]};
  watched_socket second{two.ends[0]};
  watched_socket third{three.ends[0]};
  call_deadline open{first, 1h};
  {
    storage::call_limit of_all{20ms};
    call_deadline later{second, 1h};
    BOOST_TEST(is_over(one.ends[0], long_max));
    BOOST_TEST(is_over(two.ends[0], long_max));
  }
  call_deadline after{third, 1h};
  BOOST_TEST(!is_over(three.ends[0], 50ms));
}

// -- a server that says nothing -----------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_call_without_an_answer_is_unavailable, fixture) {
  gate->freeze();
  BOOST_TEST((error_of([&] { db->exec(select_one); }) == errc::unavailable));
  BOOST_TEST((clock::now() - began >= answer_max));
  BOOST_TEST(db->broken());
  BOOST_TEST(!db->in_transaction());
  // It is not tried again on this connection.
  BOOST_TEST((error_of([&] { db->run("SELECT 1"); }) == errc::unavailable));
  gate->thaw();
  auto next = must(open_connection(behind, options));
  BOOST_TEST(as_int(next->exec(select_one)[0][0]) == 1);
}

BOOST_FIXTURE_TEST_CASE(statements_that_travel_together_are_bounded, fixture) {
  gate->freeze();
  auto error = error_of([&] {
    pipeline all{*db};
    all.add_sql("SELECT 1");
    all.add_sql("SELECT 2");
    all.run();
  });
  BOOST_TEST((error == errc::unavailable));
  BOOST_TEST(db->broken());
}

BOOST_FIXTURE_TEST_CASE(a_commit_without_an_answer_is_in_doubt, fixture) {
  auto error = error_of([&] {
    transaction tx{*db};
    db->run("INSERT INTO numbers VALUES (1)");
    gate->freeze();
    tx.commit();
  });
  BOOST_TEST((error == errc::in_doubt));
  BOOST_TEST(count() == 0);
  gate->thaw();
  db = must(open_connection(behind, options));
  auto together = error_of([&] {
    pipeline first{*db};
    transaction tx{*db, first};
    first.add_sql("INSERT INTO numbers VALUES (2)");
    first.run();
    pipeline last{*db};
    last.add_sql("INSERT INTO numbers VALUES (3)");
    gate->freeze();
    tx.commit(last);
  });
  BOOST_TEST((together == errc::in_doubt));
}

BOOST_FIXTURE_TEST_CASE(a_statement_before_the_commit_is_in_no_doubt, fixture) {
  auto error = error_of([&] {
    transaction tx{*db};
    gate->freeze();
    db->run("INSERT INTO numbers VALUES (1)");
    tx.commit();
  });
  BOOST_TEST((error == errc::unavailable));
}

BOOST_FIXTURE_TEST_CASE(long_statements_have_longer_deadlines, fixture) {
  {
    answer_timeout_scope longer{*db, 10min};
    db->run("SELECT pg_sleep(0.6)");
  }
  BOOST_TEST(
    (error_of([&] { db->run("SELECT pg_sleep(60)"); }) == errc::unavailable));
}

BOOST_FIXTURE_TEST_CASE(a_server_that_is_silent_from_the_start_is_unavailable,
                        fixture) {
  gate->freeze();
  auto opened = open_connection(behind, options);
  BOOST_REQUIRE(!opened);
  BOOST_TEST((opened.error() == errc::unavailable));
  BOOST_TEST((clock::now() - began < long_max));
}

BOOST_AUTO_TEST_SUITE_END()

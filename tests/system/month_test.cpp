#include <boost/test/unit_test.hpp>

#include "tests/system/running_program.hpp"

#include <pqxx/pqxx>

#include <cstdlib>
#include <filesystem>

/// A month of real sales, from the tills to the owner's numbers, to the cent.
/// The expected totals come with the data (its README), not from our code.

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

/// Where the month lies, if it does.
fs::path data_directory() {
  if (const char* told = std::getenv("TILLSTREAM_TEST_DATA"))
    return told;
  return fs::path{TILLSTREAM_SOURCE_DIR}.parent_path() / "shared" / "data";
}

bool have_month() {
  return fs::exists(data_directory() / "coffee_chain_2019-04.csv");
}

/// A row of expectations: revenue and purchases of a branch.
struct expectation {
  const char* branch;
  const char* revenue;
  const char* purchases;
};

constexpr expectation expected_branches[] = {
  {"branch-1", "28939.61", "6905"},
  {"branch-2", "23494.08", "5359"},
  {"branch-3", "28780.49", "6868"},
};

struct month {
  month()
    : dir(directory.path() + "/data"),
      program(running_program::up(
        dir, {"--chain", (data_directory() / "coffee_chain.json").string(),
              "--lake-dir", directory.path() + "/lake"})) {
    // nop
  }

  command_result play() {
    return run_command(
      {"simulate", "--data-dir", dir, "--csv",
       (data_directory() / "coffee_chain_2019-04.csv").string(), "--tills",
       "16"},
      600s);
  }

  command_result verify() {
    return run_command({"verify", "--data-dir", dir}, 120s);
  }

  answer revenue() {
    return program->ask(
      "/analytics/revenue?from=2019-04-01&to=2019-04-30&granularity=month");
  }

  void expect_totals() {
    auto got = revenue();
    BOOST_REQUIRE_MESSAGE(got.status == 200, got.body);
    BOOST_TEST(got.at("total.series.0.revenue") == "81214.18");
    BOOST_TEST(got.at("total.series.0.purchases") == "19132");
    BOOST_TEST(got.at("total.series.0.items") == "23574");
    int i = 0;
    for (const auto& expected : expected_branches) {
      auto at = "branches." + std::to_string(i++);
      BOOST_TEST(got.at(at + ".branch_id") == expected.branch);
      BOOST_TEST(got.at(at + ".series.0.revenue") == expected.revenue);
      BOOST_TEST(got.at(at + ".series.0.purchases") == expected.purchases);
    }
  }

  temporary_directory directory;
  std::string dir;
  std::unique_ptr<running_program> program;
};

/// What every path says; equal before and after a restart.
std::vector<std::string> all_answers(running_program& program) {
  std::vector<std::string> result;
  for (const char* target :
       {"/analytics/revenue?from=2019-04-01&to=2019-04-30&granularity=hour",
        "/analytics/top-products?period=month&date=2019-04-15&limit=100",
        "/analytics/loyal-customers?limit=100&by=revenue",
        "/analytics/unique-customers?from=2019-04-01&to=2019-04-30",
        "/analytics/product?product_id=product-22&from=2019-04-01"
        "&to=2019-04-30",
        "/analytics/heatmap?from=2019-04-01&to=2019-04-30",
        "/analytics/summary?date=2019-04-15"})
    result.push_back(program.ask(target, {{"Accept", "text/csv"}}).body);
  return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(month_suite)

BOOST_AUTO_TEST_CASE(
  the_month_comes_out_right_to_the_cent_and_stays_so,
  *boost::unit_test::precondition(
    [](boost::unit_test::test_unit_id) -> boost::test_tools::assertion_result {
      boost::test_tools::assertion_result result{have_month()};
      if (!result)
        result.message() << "SKIPPED: the month of real sales is not "
                            "beside the project; made-up sales are "
                            "played all the same";
      return result;
    })) {
  month m;
  auto played = m.play();
  BOOST_TEST(played.code == 0, played.output << played.errors);
  BOOST_TEST(played.output.find("19,132") + played.output.find("19132")
               != 2 * std::string::npos,
             played.output);
  auto verified = m.verify();
  BOOST_TEST(verified.code == 0, verified.output << verified.errors);
  m.expect_totals();
  pqxx::connection oltp{m.program->where().oltp_dsn};
  {
    pqxx::work work{oltp};
    auto row = work.exec("SELECT count(*), sum(total_minor), "
                         "sum(items_count) FROM purchases")[0];
    BOOST_TEST(row[0].as<int64_t>() == 19'132);
    BOOST_TEST(row[1].as<int64_t>() == 8'121'418);
    BOOST_TEST(row[2].as<int64_t>() == 23'574);
    // 2,203 with a card, and everybody without one got an id.
    auto customers
      = work.exec("SELECT count(*) FROM customers")[0][0].as<int64_t>();
    BOOST_TEST(customers == 2'203 + 9'337);
  }

  // Played twice, nothing is recorded twice.
  auto again = m.play();
  BOOST_TEST(again.code == 0, again.output << again.errors);
  m.expect_totals();

  // A restart gives the same answers.
  auto before = all_answers(*m.program);
  BOOST_TEST(m.program->stop().value_or(-1) == 0);
  m.program.reset();
  m.program = running_program::up(m.dir);
  m.expect_totals();
  BOOST_TEST(all_answers(*m.program) == before,
             boost::test_tools::per_element());
  auto last = m.verify();
  BOOST_TEST(last.code == 0, last.output << last.errors);
}

BOOST_AUTO_TEST_CASE(made_up_shoppers_come_out_right_as_well) {
  temporary_directory directory;
  auto dir = directory.path() + "/data";
  auto program = running_program::up(dir);
  auto played = run_command({"simulate", "--data-dir", dir, "--for", "5s",
                             "--rate", "60", "--seed", "7"});
  BOOST_TEST(played.code == 0, played.output << played.errors);
  pqxx::connection session{program->where().oltp_dsn};
  pqxx::work work{session};
  BOOST_TEST(work.exec("SELECT count(*) FROM purchases")[0][0].as<int>() > 0);
  auto verified = run_command({"verify", "--data-dir", dir});
  BOOST_TEST(verified.code == 0, verified.output << verified.errors);
}

BOOST_AUTO_TEST_SUITE_END()

#include <boost/test/unit_test.hpp>

#include "actors/commands/command_line.hpp"
#include "tests/support/temporary_directory.hpp"

#include <cstdlib>
#include <fstream>

using namespace tillstream;
using namespace tillstream::commands;

namespace {

/// A variable for as long as a test runs.
struct variable {
  variable(const char* called, const char* value) : name(called) {
    ::setenv(name, value, 1);
  }

  ~variable() {
    ::unsetenv(name);
  }

  const char* name;
};

settings understand(const std::vector<std::string>& words) {
  return parse(words, command_options{"test"}).node;
}

} // namespace

BOOST_AUTO_TEST_SUITE(command_line_suite)

BOOST_AUTO_TEST_CASE(flags_win_over_variables_and_these_over_the_file) {
  test::temporary_directory directory;
  auto file = directory.path() + "/node.conf";
  std::ofstream{file} << "port = 1\nwriters = 11\nreaders = 12\n"
                         "# a remark\nnats-url = nats://file\n";
  variable port{"TILLSTREAM_PORT", "2"};
  variable writers{"TILLSTREAM_WRITERS", "21"};
  auto x = understand({"--config", file, "--port", "3"});
  BOOST_TEST(x.port == 3);
  BOOST_TEST(x.writers == 21u);
  BOOST_TEST(x.readers == 12u);
  BOOST_TEST(x.nats_url == "nats://file");
  BOOST_TEST(x.aggregate_writers == settings{}.aggregate_writers);
}

BOOST_AUTO_TEST_CASE(numbers_out_of_range_are_wrong_usage) {
  for (std::vector<std::string> words :
       {std::vector<std::string>{"--port", "-1"},
        {"--port", "65536"},
        {"--port", "99999999999999999999"},
        {"--port", ""},
        {"--port", "80x"},
        {"--writers", "0"},
        {"--writers", "-1"},
        {"--readers", "65"},
        {"--write-batch-max", "-500"},
        {"--purchases-in-flight-max", "0"},
        {"--rate-limit", "-1"},
        {"--rate-limit", "nan"},
        {"--lake-age", "-60"},
        {"--shutdown-grace", "-1"},
        {"--retention-days", "0"},
        {"--nothing", "1"}})
    BOOST_CHECK_THROW(understand(words), usage_error);
  BOOST_TEST(understand({"--port", "65535"}).port == 65535);
  variable port{"TILLSTREAM_PORT", "-1"};
  BOOST_CHECK_THROW(understand({}), usage_error);
}

BOOST_AUTO_TEST_CASE(durations_have_units) {
  BOOST_TEST(parse_duration("90") == 90u);
  BOOST_TEST(parse_duration("90s") == 90u);
  BOOST_TEST(parse_duration("5m") == 300u);
  BOOST_TEST(parse_duration("2h") == 7200u);
  for (auto wrong : {"", "s", "5x", "-5s", "5 s", "1.5h", "9999999s"})
    BOOST_CHECK_THROW(parse_duration(wrong), usage_error);
}

BOOST_AUTO_TEST_SUITE_END()

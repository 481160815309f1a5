#include <boost/test/unit_test.hpp>

#include "messages/core/log.hpp"
#include "messages/core/time.hpp"

#include <unistd.h>

#include <functional>

using namespace tillstream;
using namespace std::string_literals;

namespace {

/// What `f` writes to standard error; less than a pipe holds.
std::string captured(const std::function<void()>& f) {
  int ends[2];
  BOOST_REQUIRE(pipe(ends) == 0);
  auto original = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  f();
  dup2(original, STDERR_FILENO);
  close(original);
  std::string result;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof(buffer))) > 0;)
    result.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  return result;
}

/// A field as logged.
std::string shown(const std::string& value) {
  auto line = captured([&] { log::info("event", {{"k", value}}); });
  BOOST_TEST(line.ends_with('\n'));
  line.pop_back();
  return line.substr(line.find("k=") + 2);
}

} // namespace

BOOST_AUTO_TEST_SUITE(log_suite)

BOOST_AUTO_TEST_CASE(a_line_has_time_level_event_and_fields) {
  auto line = captured([] {
    log::warning("relay-stopped", {{"branch", "branch-1"}, {"pending", 5}});
  });
  BOOST_REQUIRE(line.size() > 25u);
  BOOST_TEST(parse_rfc3339(line.substr(0, 24)).has_value());
  BOOST_TEST(line.substr(24)
             == " warning relay-stopped branch=branch-1 pending=5\n");
}

BOOST_AUTO_TEST_CASE(lines_below_the_level_are_dropped) {
  BOOST_TEST(captured([] { log::debug("quiet"); }) == "");
  log::set_level(log::level::error);
  BOOST_TEST(captured([] { log::warning("quiet"); }) == "");
  BOOST_TEST(captured([] { log::error("loud"); }) != "");
  log::set_level(log::level::info);
}

BOOST_AUTO_TEST_CASE(plain_values_are_bare_and_others_quoted) {
  BOOST_TEST(shown("plain") == "plain");
  BOOST_TEST(shown("") == "\"\"");
  BOOST_TEST(shown("two words") == "\"two words\"");
  BOOST_TEST(shown("a=b") == "\"a=b\"");
  BOOST_TEST(shown("say \"x\"\\") == R"("say \"x\"\\")");
  BOOST_TEST(shown("Caf\xc3\xa9") == "Caf\xc3\xa9");
}

BOOST_AUTO_TEST_CASE(a_value_cannot_forge_a_line_or_speak_to_the_terminal) {
  BOOST_TEST(shown("a\nb") == R"("a\x0ab")");
  BOOST_TEST(shown("a\r\tb") == R"("a\x0d\x09b")");
  BOOST_TEST(shown("\x1b[2J") == R"("\x1b[2J")");
  BOOST_TEST(shown("\x7f") == R"("\x7f")");
  BOOST_TEST(shown("a\0b"s) == R"("a\x00b")");
}

BOOST_AUTO_TEST_SUITE_END()

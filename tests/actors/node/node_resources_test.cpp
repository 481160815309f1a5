#include <boost/test/unit_test.hpp>

#include "actors/node/node_resources.hpp"
#include "actors/runtime/fault_point.hpp"
#include "messages/core/error.hpp"
#include "tests/support/temporary_directory.hpp"

#include <fstream>
#include <string>

using namespace tillstream;

namespace {

struct fixture {
  ~fixture() {
    static_cast<void>(arm_fault_points(""));
  }

  /// Loads what must not load. @returns why it did not.
  std::string refusal(errc code) {
    auto loaded = load_node_resources(how);
    BOOST_REQUIRE(!loaded);
    BOOST_TEST((loaded.error() == code));
    return describe(loaded.error());
  }

  bool says(const std::string& reason, const std::string& what) {
    BOOST_TEST_MESSAGE(reason);
    return reason.find(what) != std::string::npos;
  }

  test::temporary_directory dir;
  settings how;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(node_resources_suite, fixture)

BOOST_AUTO_TEST_CASE(files_are_read_before_any_server_is_asked_for) {
  how.web_dir = dir.file("nowhere");
  BOOST_TEST(says(refusal(errc::invalid), how.web_dir));
  how.web_dir = dir.path();
  how.fault_points = "nonsense";
  BOOST_TEST(says(refusal(errc::invalid), "nonsense"));
  how.fault_points.clear();
  std::ofstream{dir.file("file")} << "not a directory";
  how.lake_dir = dir.file("file");
  BOOST_TEST(says(refusal(errc::unavailable), how.lake_dir));
}

BOOST_AUTO_TEST_CASE(a_node_without_shards_needs_no_archive) {
  how.web_dir = dir.path();
  how.lake_dir = "/proc/lake";
  how.roles.shards = false;
  // It goes on to the databases.
  BOOST_TEST(says(refusal(errc::invalid), "oltp-dsn is not set"));
}

BOOST_AUTO_TEST_CASE(a_database_that_is_away_is_named) {
  how.web_dir = dir.path();
  how.oltp_dsn = "host=127.0.0.1 port=1";
  BOOST_TEST(says(refusal(errc::unavailable), "127.0.0.1"));
}

BOOST_AUTO_TEST_SUITE_END()

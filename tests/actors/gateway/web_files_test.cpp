#include <boost/test/unit_test.hpp>

#include "actors/gateway/web_files.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_directory.hpp"

#include <filesystem>
#include <fstream>

using namespace tillstream;
namespace fs = std::filesystem;

namespace {

struct fixture {
  void write(const std::string& name, const std::string& text) {
    auto path = fs::path{dir.path()} / name;
    fs::create_directories(path.parent_path());
    std::ofstream{path} << text;
  }

  web_files_ptr load() {
    return test::must(web_files::load(dir.path()));
  }

  test::temporary_directory dir;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(web_files_suite, fixture)

BOOST_AUTO_TEST_CASE(files_are_found_by_their_paths) {
  write("index.html", "<p>hello</p>");
  write("lib/chart.js", "draw()");
  auto files = load();
  BOOST_REQUIRE(files->find("/") != nullptr);
  BOOST_TEST(files->find("/") == files->find("/index.html"));
  BOOST_TEST(files->find("/")->body == "<p>hello</p>");
  BOOST_TEST(files->find("/")->content_type == "text/html; charset=utf-8");
  BOOST_REQUIRE(files->find("/lib/chart.js") != nullptr);
  BOOST_TEST(files->find("/lib/chart.js")->content_type
             == "text/javascript; charset=utf-8");
  for (auto path : {"", "/lib", "/nothing", "/../index.html", "//index.html"})
    BOOST_TEST(files->find(path) == nullptr, path);
}

BOOST_AUTO_TEST_CASE(hidden_files_are_left_out) {
  write("index.html", "");
  write(".secret", "x");
  write(".git/config", "x");
  auto files = load();
  BOOST_TEST(files->find("/.secret") == nullptr);
  BOOST_TEST(files->find("/.git/config") == nullptr);
}

// Goal: a path that names its content changes with any file, since scripts name
// each other relatively.
BOOST_AUTO_TEST_CASE(a_page_leads_to_paths_that_name_the_content) {
  write("index.html", "<script src=\"/app.js\"></script><a href=\"/healthz\">");
  write("app.js", "one()");
  write("other.css", "a");
  auto script_of = [](const web_files& files) {
    const auto& page = files.find("/")->body;
    return page.substr(13, page.find('"', 13) - 13);
  };
  auto files = load();
  auto script = script_of(*files);
  BOOST_TEST(script.starts_with("/v-"));
  BOOST_REQUIRE(files->find(script) != nullptr);
  BOOST_TEST(files->find(script)->immutable);
  BOOST_TEST(!files->find("/app.js")->immutable);
  BOOST_TEST(files->find("/")->body.ends_with("href=\"/healthz\">"));
  write("other.css", "b");
  BOOST_TEST(script_of(*load()) != script);
}

BOOST_AUTO_TEST_CASE(what_packing_does_not_shrink_is_not_packed) {
  write("index.html", std::string(4000, ' '));
  write("tiny.txt", "x");
  auto files = load();
  BOOST_TEST(files->find("/")->gzipped.size() < 100u);
  BOOST_TEST(files->find("/tiny.txt")->gzipped.empty());
  BOOST_TEST(files->find("/")->etag != files->find("/tiny.txt")->etag);
}

BOOST_AUTO_TEST_CASE(a_directory_that_is_not_there_is_refused) {
  auto loaded = web_files::load(dir.path() + "/nothing");
  BOOST_REQUIRE(!loaded);
  BOOST_TEST((loaded.error() == errc::invalid));
}

BOOST_AUTO_TEST_CASE(a_file_that_is_too_large_is_refused) {
  write("index.html", "");
  write("large.bin", std::string(limits::web_file_bytes_max + 1, 'x'));
  auto loaded = web_files::load(dir.path());
  BOOST_REQUIRE(!loaded);
  BOOST_TEST((loaded.error() == errc::invalid));
}

BOOST_AUTO_TEST_SUITE_END()

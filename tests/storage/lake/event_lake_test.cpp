#include "storage/lake/event_lake.hpp"

#include "messages/core/error.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/zstdcat.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <sys/resource.h>

using namespace tillstream;
using storage::event_lake;
using test::zstdcat;

namespace {

const auto day = *parse_day("2019-04-01");

std::string read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

std::string must_write(event_lake& lake, int64_t from_no, int64_t to_no,
                       const std::vector<std::string>& events) {
  auto path = lake.write("branch-1", day, from_no, to_no, events);
  auto why = path ? "" : describe(path.error());
  BOOST_REQUIRE_MESSAGE(path, why);
  return *path;
}

size_t files_below(const std::string& path) {
  size_t result = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{path})
    result += entry.is_regular_file() ? 1 : 0;
  return result;
}

/// Noise, so that it does not compress.
std::string noise(size_t size) {
  std::string result;
  uint32_t x = 1;
  for (size_t i = 0; i < size; ++i) {
    x = x * 1664525 + 1013904223;
    result += static_cast<char>('!' + (x >> 24) % 90);
  }
  return result;
}

/// Makes every file that grows beyond `bytes` fail, as a full disk would.
class small_disk {
public:
  explicit small_disk(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    auto limit = before_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~small_disk() {
    setrlimit(RLIMIT_FSIZE, &before_);
  }

private:
  rlimit before_{};
};

} // namespace

BOOST_AUTO_TEST_SUITE(event_lake_suite)

BOOST_AUTO_TEST_CASE(a_file_is_named_by_branch_day_and_numbers) {
  test::temporary_directory dir;
  event_lake lake{dir.file("not/yet/there")};
  auto path = must_write(lake, 1, 2, {R"({"a":1})", R"({"b":"ü"})"});
  BOOST_CHECK_EQUAL(path,
                    dir.file("not/yet/there/branch=branch-1/day=2019-04-01/"
                             "000000000001-000000000002.ndjson.zst"));
  BOOST_CHECK_EQUAL(zstdcat(path), "{\"a\":1}\n{\"b\":\"ü\"}\n");
  BOOST_CHECK_EQUAL(files_below(dir.path()), 1U);
}

BOOST_AUTO_TEST_CASE(writing_again_gives_the_same_bytes) {
  test::temporary_directory dir;
  event_lake lake{dir.path()};
  std::vector<std::string> events;
  for (int i = 0; i < 5000; ++i)
    events.push_back("{\"id\":" + std::to_string(i * i) + "}");
  auto path = must_write(lake, 1, 5000, events);
  auto first = read_file(path);
  // A file that was cut short is replaced as a whole.
  std::filesystem::resize_file(path, 10);
  BOOST_CHECK_EQUAL(must_write(lake, 1, 5000, events), path);
  BOOST_CHECK(read_file(path) == first);
  BOOST_CHECK_EQUAL(files_below(dir.path()), 1U);
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_is_noticed_by_the_reader) {
  test::temporary_directory dir;
  event_lake lake{dir.path()};
  auto path = must_write(lake, 1, 1, {noise(1000)});
  auto bytes = read_file(path);
  bytes[bytes.size() / 2] ^= 1;
  std::ofstream{path, std::ios::binary} << bytes;
  auto command = "zstd -q -t -- '" + path + "' 2> /dev/null";
  BOOST_CHECK_NE(std::system(command.c_str()), 0);
}

BOOST_AUTO_TEST_CASE(names_that_lead_elsewhere_are_refused) {
  test::temporary_directory dir;
  event_lake lake{dir.file("lake")};
  for (const char* branch : {"", "..", "a/b", "../../etc", "a b", "ü"}) {
    auto path = lake.write(branch, day, 1, 1, {"{}"});
    BOOST_CHECK_MESSAGE(!path && path.error() == errc::invalid, branch);
  }
  for (auto [from_no, to_no] : {std::pair{2, 1}, {-1, 1}}) {
    auto path = lake.write("b", day, from_no, to_no, {"{}"});
    BOOST_CHECK(!path && path.error() == errc::invalid);
  }
  BOOST_CHECK_EQUAL(files_below(dir.path()), 0U);
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_old_file_and_nothing_else) {
  test::temporary_directory dir;
  event_lake lake{dir.path()};
  auto path = must_write(lake, 1, 1, {"{}"});
  auto before = read_file(path);
  {
    small_disk full{4096};
    auto failed = lake.write("branch-1", day, 1, 1, {noise(100'000)});
    BOOST_REQUIRE(!failed);
    BOOST_CHECK(failed.error() == errc::unavailable);
    auto fresh = lake.write("branch-1", day, 2, 2, {noise(100'000)});
    BOOST_CHECK(!fresh);
  }
  BOOST_CHECK(read_file(path) == before);
  BOOST_CHECK_EQUAL(files_below(dir.path()), 1U);
}

BOOST_AUTO_TEST_CASE(a_lake_that_cannot_be_written_to_is_known_beforehand) {
  test::temporary_directory dir;
  BOOST_CHECK(event_lake{dir.file("not/yet/there")}.prepare());
  BOOST_CHECK(std::filesystem::is_directory(dir.file("not/yet/there")));
  std::ofstream{dir.file("file")} << "not a directory";
  for (const auto& path :
       {dir.file("file"), dir.file("file/below"), std::string{"/proc/lake"}}) {
    auto prepared = event_lake{path}.prepare();
    BOOST_REQUIRE(!prepared);
    BOOST_CHECK(prepared.error() == errc::unavailable);
    BOOST_CHECK(describe(prepared.error()).find(path) != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_directory_that_cannot_be_made_is_an_error) {
  test::temporary_directory dir;
  std::ofstream{dir.file("branch=branch-1")} << "in the way";
  event_lake lake{dir.path()};
  auto path = lake.write("branch-1", day, 1, 1, {"{}"});
  BOOST_REQUIRE(!path);
  BOOST_CHECK(path.error() == errc::unavailable);
  BOOST_CHECK_EQUAL(files_below(dir.path()), 1U);
}

BOOST_AUTO_TEST_SUITE_END()

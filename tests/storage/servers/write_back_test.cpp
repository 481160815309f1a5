#include "storage/servers/write_back.hpp"

#include "tests/support/eventually.hpp"
#include "tests/support/temporary_directory.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

using namespace std::chrono_literals;
using tillstream::storage::write_back;
using tillstream::test::eventually;
using tillstream::test::temporary_directory;

namespace {

// Of <linux/mman.h> and <linux/magic.h>, which a distribution's headers may not
// have yet.
constexpr long cachestat_call = 451;
constexpr long tmpfs = 0x01021994;

/// Far below the 30 s after which the kernel writes by itself.
constexpr auto early = 20s;

struct cached_range {
  uint64_t offset = 0;
  /// Zero: to the end.
  uint64_t length = 0;
};

struct cached_pages {
  uint64_t cached = 0;
  uint64_t dirty = 0;
  uint64_t under_write = 0;
  uint64_t evicted = 0;
  uint64_t recently_evicted = 0;
};

/// Pages that the kernel has still to write; nothing: it does not tell.
std::optional<uint64_t> pages_to_write(const std::string& path) {
  auto fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  cached_range all;
  cached_pages pages;
  auto failed = syscall(cachestat_call, fd, &all, &pages, 0);
  close(fd);
  if (failed != 0)
    return {};
  return pages.dirty + pages.under_write;
}

void append(const std::string& path, size_t bytes) {
  std::ofstream out{path, std::ios::binary | std::ios::app};
  out << std::string(bytes, 'x');
}

/// Whether there is something to see; says so if not.
bool kernel_tells(const std::string& dir) {
  struct statfs system {};
  auto probe = dir + "/probe";
  append(probe, 1);
  auto result = statfs(dir.c_str(), &system) == 0 && system.f_type != tmpfs
                && pages_to_write(probe).has_value();
  if (!result)
    std::cout << "SKIPPED: this kernel or file system does not tell what it "
                 "has still to write"
              << std::endl;
  return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(write_back_suite)

BOOST_AUTO_TEST_CASE(changed_files_are_written_early) {
  temporary_directory dir;
  if (!kernel_tells(dir.path()))
    return;
  // Directories that come later are found, too.
  write_back watcher{{dir.file("later"), dir.file("never")}};
  std::filesystem::create_directories(dir.file("later/deep"));
  auto path = dir.file("later/deep/file");
  for (int round = 0; round < 2; ++round) {
    append(path, 1 << 20);
    BOOST_TEST(eventually([&] { return *pages_to_write(path) == 0; }, early));
  }
}

BOOST_AUTO_TEST_CASE(links_and_what_is_no_file_are_left_alone) {
  temporary_directory dir;
  auto watched = dir.file("watched");
  std::filesystem::create_directory(watched);
  // Opening it would wait for somebody who writes.
  BOOST_REQUIRE_EQUAL(mkfifo((watched + "/fifo").c_str(), 0600), 0);
  std::filesystem::create_symlink("/proc/self/mem", watched + "/link");
  std::filesystem::create_directory_symlink(watched, watched + "/ring");
  write_back watcher{{watched}};
  auto path = watched + "/file";
  append(path, 1 << 20);
  // It gets past them, to the file.
  if (kernel_tells(dir.path()))
    BOOST_TEST(eventually([&] { return *pages_to_write(path) == 0; }, early));
}

BOOST_AUTO_TEST_SUITE_END()

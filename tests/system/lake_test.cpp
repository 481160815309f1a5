#include <boost/test/unit_test.hpp>

#include "tests/system/ledger.hpp"
#include "tests/system/running_program.hpp"

#include "tests/support/zstdcat.hpp"

#include <pqxx/pqxx>

#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

/// The archive of a node that dies while it writes, under load.

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

/// Rounds that are played in any case, and at most.
constexpr int rounds_min = 4;
constexpr int rounds_max = 20;

/// At which moment of the writing the node dies.
enum class moment : uint32_t {
  /// A file is begun: its temporary name appears.
  begun = IN_CREATE,
  /// A file has its name, and its segment is not ticked off yet, most likely.
  renamed = IN_MOVED_TO,
};

/// Tells when the lake writes. Sees the directories that are there already; a
/// new one in them counts as any moment.
class lake_watch {
public:
  lake_watch(const std::string& lake, moment when)
    : fd_(inotify_init1(IN_CLOEXEC)) {
    constexpr uint32_t mask = IN_CREATE | IN_MOVED_TO;
    inotify_add_watch(fd_, lake.c_str(), mask);
    for (const auto& entry : fs::recursive_directory_iterator(lake))
      if (entry.is_directory())
        inotify_add_watch(fd_, entry.path().c_str(), mask);
    when_ = static_cast<uint32_t>(when) | IN_ISDIR;
  }

  ~lake_watch() {
    close(fd_);
  }

  lake_watch(const lake_watch&) = delete;
  lake_watch& operator=(const lake_watch&) = delete;

  bool wait(std::chrono::seconds timeout) {
    auto end = std::chrono::steady_clock::now() + timeout;
    for (;;) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
      pollfd readable{fd_, POLLIN, 0};
      if (left <= 0ms || poll(&readable, 1, static_cast<int>(left.count())) < 1)
        return false;
      if (saw_it())
        return true;
    }
  }

private:
  bool saw_it() {
    alignas(inotify_event) char buffer[16384];
    auto count = read(fd_, buffer, sizeof(buffer));
    for (ssize_t at = 0; at < count;) {
      auto* event = reinterpret_cast<inotify_event*>(buffer + at);
      if ((event->mask & when_) != 0)
        return true;
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
    return false;
  }

  int fd_;
  uint32_t when_ = 0;
};

struct lake_file {
  ino_t inode = 0;
  std::string bytes;
};

using lake_files = std::map<std::string, lake_file>;

bool is_temporary(const fs::path& path) {
  return path.filename().string().front() == '.';
}

/// Every file by its path; those with a temporary name only if asked for.
lake_files read_lake(const std::string& lake, bool temporary_ones = false) {
  lake_files result;
  for (const auto& entry : fs::recursive_directory_iterator(lake)) {
    if (!entry.is_regular_file()
        || is_temporary(entry.path()) != temporary_ones)
      continue;
    struct stat status {};
    stat(entry.path().c_str(), &status);
    std::ifstream in{entry.path(), std::ios::binary};
    result[entry.path()]
      = {status.st_ino, {std::istreambuf_iterator<char>{in}, {}}};
  }
  return result;
}

/// Files of before are there with the same bytes.
/// @returns how many of them were written again.
size_t check_append_only(const lake_files& before, const lake_files& after) {
  size_t rewritten = 0;
  for (const auto& [path, file] : before) {
    auto now = after.find(path);
    BOOST_REQUIRE_MESSAGE(now != after.end(), path << " is gone");
    BOOST_TEST((now->second.bytes == file.bytes), path << " has changed");
    rewritten += now->second.inode != file.inode;
  }
  return rewritten;
}

std::string id_of(const std::string& event) {
  json_document document;
  BOOST_REQUIRE_EQUAL(document.parse(event), "");
  const auto* id = document.root().find("id");
  BOOST_REQUIRE(id != nullptr);
  return std::string{id->text};
}

/// What the lake holds, event by event.
std::multimap<std::string, std::string> events_of(const lake_files& files) {
  std::multimap<std::string, std::string> result;
  for (const auto& [path, file] : files) {
    std::istringstream lines{zstdcat(path)};
    std::string line;
    while (std::getline(lines, line))
      result.emplace(id_of(line), line);
  }
  return result;
}

std::vector<std::string> column(const std::string& dsn, const char* query) {
  pqxx::connection session{dsn};
  pqxx::work work{session};
  std::vector<std::string> result;
  for (auto row : work.exec(query))
    result.push_back(row[0].as<std::string>());
  return result;
}

/// Whether every applied event belongs to a segment, and each is finished.
bool is_caught_up(const commands::endpoints& where) {
  return column(where.analytics_dsn, R"(
    SELECT c.branch_id
      FROM branch_cursors c
      LEFT JOIN lake_segments s ON s.branch_id = c.branch_id
                               AND s.to_no = c.apply_no
                               AND s.state = 'DONE'
     WHERE s.branch_id IS NULL
     UNION ALL
    SELECT branch_id
      FROM lake_segments
     WHERE state = 'PLANNED')")
    .empty();
}

/// Applied = archived, each event once, byte for byte what was committed.
void check_lake(const lake_files& files, const commands::endpoints& where) {
  auto archived = events_of(files);
  std::map<std::string, std::string> committed;
  pqxx::connection session{where.oltp_dsn};
  pqxx::work work{session};
  for (auto row :
       work.exec("SELECT event_id::text, payload FROM outbox_events"))
    committed[row[0].as<std::string>()] = row[1].as<std::string>();
  auto applied = column(where.analytics_dsn,
                        "SELECT event_id::text FROM analytics_event_log");
  BOOST_TEST(archived.size() == applied.size());
  size_t missing = 0;
  size_t twice = 0;
  for (const auto& id : applied) {
    missing += archived.count(id) == 0;
    twice += archived.count(id) > 1;
  }
  size_t changed = 0;
  for (const auto& [id, event] : archived)
    changed += committed[id] != event;
  BOOST_TEST(missing == 0u);
  BOOST_TEST(twice == 0u);
  BOOST_TEST(changed == 0u);
}

struct world {
  world()
    : seed(std::random_device{}()),
      dir(directory.path() + "/data"),
      lake(directory.path() + "/lake"),
      program(start()) {
    BOOST_TEST_MESSAGE("seed " << seed);
    fs::create_directories(lake);
  }

  std::unique_ptr<running_program> start() {
    return running_program::up(dir, {"--lake-dir", lake, "--lake-age", "1"});
  }

  commands::endpoints where() {
    std::lock_guard guard{mutex};
    return program->where();
  }

  void sells_on(size_t more) {
    auto before = book.accepted();
    BOOST_REQUIRE(
      eventually([&] { return book.accepted() >= before + more; }, 60s));
  }

  void dies_when_the_lake_has(moment when) {
    lake_watch watch{lake, when};
    BOOST_REQUIRE(watch.wait(60s));
    program->signal(SIGKILL);
    program->wait();
  }

  void starts_again() {
    auto next = start();
    std::lock_guard guard{mutex};
    program = std::move(next);
  }

  unsigned seed;
  temporary_directory directory;
  std::string dir;
  std::string lake;
  std::mutex mutex;
  std::unique_ptr<running_program> program;
  ledger book;
};

} // namespace

BOOST_AUTO_TEST_SUITE(lake_suite)

BOOST_AUTO_TEST_CASE(a_node_that_dies_while_the_lake_writes_loses_no_event) {
  world w;
  selling_tills tills{w.book, [&] { return w.where(); }, 6, w.seed};
  lake_files before;
  size_t rewritten = 0;
  for (int i = 0; i < rounds_max; ++i) {
    if (i >= rounds_min && rewritten > 0)
      break;
    w.sells_on(60);
    w.dies_when_the_lake_has(i % 2 == 0 ? moment::begun : moment::renamed);
    auto now = read_lake(w.lake);
    rewritten += check_append_only(before, now);
    before = std::move(now);
    w.starts_again();
  }
  w.sells_on(60);
  tills.stop();
  check_ledger(w.book, w.program->where().oltp_dsn);
  auto verified
    = run_command({"verify", "--data-dir", w.dir, "--wait", "60s"}, 120s);
  BOOST_TEST(verified.code == 0, verified.output << verified.errors);
  BOOST_REQUIRE(
    eventually([&] { return is_caught_up(w.program->where()); }, 60s));
  auto files = read_lake(w.lake);
  rewritten += check_append_only(before, files);
  check_lake(files, w.program->where());
  BOOST_TEST(read_lake(w.lake, true).empty());
  BOOST_TEST_MESSAGE(files.size() << " files, " << rewritten << " rewritten");
  // Else nobody died between a file and its tick.
  BOOST_TEST(rewritten > 0u);
}

BOOST_AUTO_TEST_SUITE_END()

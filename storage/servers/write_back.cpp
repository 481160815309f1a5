#include "storage/servers/write_back.hpp"

#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace tillstream::storage {

namespace fs = std::filesystem;

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

/// From one write to the next: a few megabytes at a time.
constexpr auto write_period = 250ms;

/// From one scan for changed files to the next: it costs a few microseconds a
/// file, and what it misses until then is still young.
constexpr auto scan_period = 5s;

/// Files have the time of the kernel's last tick, which is a little old.
constexpr auto clock_slack = 100ms;

/// Starts writing what the kernel holds of a file. A file that is gone or that
/// we may not read is none of ours: the kernel writes it in its own time.
void start_writing(const std::string& path) {
  auto fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0)
    return;
  sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
  close(fd);
}

} // namespace

write_back::write_back(std::vector<std::string> dirs)
  : dirs_(std::move(dirs)),
    scanned_at_(fs::file_time_type::clock::now()),
    thread_([this] { run(); }) {
  // nop
}

write_back::~write_back() {
  {
    std::lock_guard guard{mutex_};
    stop_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

void write_back::run() {
  auto next_scan = steady_clock::now();
  while (!stopped_within(write_period)) {
    if (auto now = steady_clock::now(); now >= next_scan) {
      next_scan = now + scan_period;
      find_changed();
    }
    for (const auto& path : changed_)
      start_writing(path);
  }
}

bool write_back::stopped_within(std::chrono::milliseconds timeout) {
  std::unique_lock guard{mutex_};
  return stopped_.wait_for(guard, timeout, [this] { return stop_; });
}

/// Files come and go during the scan: what cannot be read is left out.
void write_back::find_changed() {
  auto since = std::exchange(scanned_at_, fs::file_time_type::clock::now());
  changed_.clear();
  for (const auto& dir : dirs_) {
    std::error_code failed;
    fs::recursive_directory_iterator i{
      dir, fs::directory_options::skip_permission_denied, failed};
    for (fs::recursive_directory_iterator end; !failed && i != end;
         i.increment(failed)) {
      std::error_code gone;
      if (i->is_regular_file(gone) && !i->is_symlink(gone)
          && i->last_write_time(gone) >= since - clock_slack && !gone)
        changed_.push_back(i->path());
    }
  }
}

} // namespace tillstream::storage

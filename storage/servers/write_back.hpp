#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tillstream::storage {

/// Has the kernel write changed files little by little, on a thread of its own.
///
/// Left alone, the kernel keeps what a file got for 30 s
/// (`vm.dirty_expire_centisecs`) and then writes all of it at once. A
/// PostgreSQL that takes 2,000 sales a second has 280 MB by then, and whoever
/// commits meanwhile waits for 0.3 s. With this thread, the p99 of 40 s at
/// 2,160 sales a second went from 133 to 48 ms together with two settings
/// (decision 0017, benchmarks/LOG.md). It is for private servers only, as
/// elsewhere `vm.dirty_*` is the operator's to set. Nothing depends on it: what
/// must survive a power cut is flushed by whoever wrote it.
class write_back {
public:
  /// Watches the files below `dirs`, which need not exist yet. Links are
  /// not followed.
  explicit write_back(std::vector<std::string> dirs);
  write_back(const write_back&) = delete;
  write_back& operator=(const write_back&) = delete;
  ~write_back();

private:
  void run();
  void find_changed();
  bool stopped_within(std::chrono::milliseconds timeout);

  std::vector<std::string> dirs_;
  /// What changed before was found by an earlier scan.
  std::filesystem::file_time_type scanned_at_;
  std::vector<std::string> changed_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread thread_;
};

} // namespace tillstream::storage

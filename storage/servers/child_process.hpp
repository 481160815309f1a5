#pragma once

#include <caf/expected.hpp>

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

/// @file storage/servers/child_process.hpp
/// Starts, watches and ends programs. What runs between `fork` and `exec` is
/// async-signal-safe, so that a process with many threads may call this.

namespace tillstream::storage {

/// The account that servers run as when we are root.
struct server_user {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

/// Looks an account up by its name.
std::optional<server_user> find_user(const std::string& name);

/// Looks an account up by its number; one that has no name may still own
/// files.
server_user user_of(uid_t uid, gid_t gid);

struct spawn_request {
  /// `argv[0]` is the absolute path of the program.
  std::vector<std::string> argv;
  /// Set: give up root for this account first.
  std::optional<server_user> user;
  /// Besides `PATH`, a C locale and UTC; nothing else is passed on.
  std::vector<std::string> environment;
  /// -1: /dev/null
  int input = -1;
  /// Standard output and standard error; -1: /dev/null
  int output = -1;
  /// What the kernel sends when the thread that called `spawn` is gone.
  int death_signal = 9;
};

/// A signal, and how long to wait for the end after it.
struct stop_step {
  int signal;
  std::chrono::milliseconds timeout;
};

/// A process that we started. Dropping the object leaves the process alone.
class child_process {
public:
  child_process() = default;

  /// Starts a program in a session of its own, so that a terminal's Ctrl-C is
  /// ours alone, with no file of ours open.
  static caf::expected<child_process> spawn(const spawn_request& request);

  /// 0: none.
  pid_t pid() const {
    return pid_;
  }

  /// Reaps the process if it ended.
  bool running();

  /// @returns whether the process ended in time.
  bool wait(std::chrono::milliseconds timeout);

  /// Signals step by step until the process has ended.
  void stop(const std::vector<stop_step>& steps);

  /// How it ended, e.g. `exit status 1`.
  std::string fate() const;

  bool succeeded() const;

private:
  pid_t pid_ = 0;
  int status_ = 0;
};

struct run_result {
  /// Whether it ended by itself with exit status 0.
  bool ok = false;
  /// Standard output and standard error, at most 64 KiB.
  std::string output;
};

/// Runs a program to its end, or kills it after `timeout`.
caf::expected<run_result>
run_program(spawn_request request, std::chrono::milliseconds timeout);

/// Whether `user` may enter `directory`, with everything above it.
bool can_enter(const server_user& user, const std::string& directory);

/// Whether `user` may run `program`.
bool can_execute(const server_user& user, const std::string& program);

/// Processes named as one of `programs` that have an argument below
/// `directory`.
std::vector<pid_t> find_processes(const std::vector<std::string>& programs,
                                  const std::string& directory);

/// Processes whose title begins so.
std::vector<pid_t> find_titled(const std::string& title);

} // namespace tillstream::storage

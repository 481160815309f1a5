#include "storage/servers/child_process.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tillstream::storage {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// What a shell reports for a program that it cannot run.
constexpr int exit_cannot_run = 127;

/// Bytes of output that `run_program` keeps.
constexpr size_t output_bytes_max = 64 * 1024;

constexpr auto poll_pause = milliseconds{5};

server_user describe_user(const passwd& entry) {
  server_user result;
  result.name = entry.pw_name;
  result.uid = entry.pw_uid;
  result.gid = entry.pw_gid;
  int count = 64;
  result.groups.resize(static_cast<size_t>(count));
  if (getgrouplist(entry.pw_name, entry.pw_gid, result.groups.data(), &count)
      < 0)
    count = 0;
  result.groups.resize(static_cast<size_t>(count));
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (auto& x : strings)
    result.push_back(x.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> make_environment(const spawn_request& request) {
  std::vector<std::string> result{
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL=C", "TZ=UTC"};
  // A PostgreSQL of one's own may live beside its libraries.
  if (const char* libraries = std::getenv("LD_LIBRARY_PATH"))
    result.push_back(fmt::format("LD_LIBRARY_PATH={}", libraries));
  result.insert(result.end(), request.environment.begin(),
                request.environment.end());
  return result;
}

// -- between fork and exec: async-signal-safe calls only ----------------------

/// Everything the child needs, made before the fork.
struct child_plan {
  char* const* argv;
  char* const* envp;
  const server_user* user;
  int input;
  int output;
  int death_signal;
  pid_t parent;
};

bool give_up_root(const server_user& user) {
  return setgroups(user.groups.size(), user.groups.data()) == 0
         && setgid(user.gid) == 0 && setuid(user.uid) == 0;
}

void reset_signals() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal)
    sigaction(signal, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void fail_in_child(const char* what) {
  const char* parts[] = {"cannot start: ", what, "\n"};
  for (const auto* part : parts)
    if (write(STDERR_FILENO, part, strlen(part)) < 0)
      break;
  _exit(exit_cannot_run);
}

void redirect(int from, int to) {
  if (from < 0)
    from = open("/dev/null", O_RDWR);
  if (from < 0 || dup2(from, to) < 0)
    _exit(exit_cannot_run);
}

void close_inherited_files() {
  if (close_range(3, ~0U, 0) == 0)
    return;
  for (int fd = 3; fd < 4096; ++fd)
    close(fd);
}

[[noreturn]] void run_child(const child_plan& plan) {
  setsid();
  reset_signals();
  redirect(plan.input, STDIN_FILENO);
  redirect(plan.output, STDOUT_FILENO);
  redirect(plan.output, STDERR_FILENO);
  if (plan.user != nullptr && !give_up_root(*plan.user))
    fail_in_child("cannot become the server user");
  // A change of credentials clears this setting, so it comes after; and the
  // parent may have died before.
  if (prctl(PR_SET_PDEATHSIG, plan.death_signal) != 0)
    fail_in_child("prctl");
  if (getppid() != plan.parent)
    _exit(exit_cannot_run);
  umask(077);
  if (chdir("/") != 0)
    fail_in_child("chdir");
  close_inherited_files();
  execve(plan.argv[0], plan.argv, plan.envp);
  fail_in_child(strerrordesc_np(errno));
}

/// Runs `probe` in a child that has become `user`.
template <class Probe>
bool probe_as(const server_user& user, Probe probe) {
  auto pid = fork();
  if (pid < 0)
    return false;
  if (pid == 0)
    _exit(give_up_root(user) && probe() ? 0 : 1);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR)
      return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// -- /proc --------------------------------------------------------------------

std::vector<std::string> command_line(pid_t pid) {
  std::ifstream in{fmt::format("/proc/{}/cmdline", pid), std::ios::binary};
  std::vector<std::string> result;
  for (std::string word; std::getline(in, word, '\0');)
    result.push_back(word);
  return result;
}

/// All processes but us whose command line satisfies `matches`.
template <class Predicate>
std::vector<pid_t> find_by_words(Predicate matches) {
  std::vector<pid_t> result;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc", ec}) {
    auto pid = static_cast<pid_t>(
      std::strtol(entry.path().filename().c_str(), nullptr, 10));
    if (pid <= 0 || pid == getpid())
      continue;
    if (auto words = command_line(pid); !words.empty() && matches(words))
      result.push_back(pid);
  }
  return result;
}

bool is_below(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory)
         && path[directory.size()] == '/';
}

} // namespace

std::optional<server_user> find_user(const std::string& name) {
  const auto* entry = getpwnam(name.c_str());
  if (entry == nullptr)
    return std::nullopt;
  return describe_user(*entry);
}

server_user user_of(uid_t uid, gid_t gid) {
  if (const auto* entry = getpwuid(uid))
    return describe_user(*entry);
  return {fmt::format("uid {}", uid), uid, gid, {}};
}

caf::expected<child_process>
child_process::spawn(const spawn_request& request) {
  auto arguments = request.argv;
  auto environment = make_environment(request);
  auto argv = pointers(arguments);
  auto envp = pointers(environment);
  child_plan plan{
    argv.data(),   envp.data(),    request.user ? &*request.user : nullptr,
    request.input, request.output, request.death_signal,
    getpid()};
  auto pid = fork();
  if (pid < 0)
    return caf::make_error(errc::unavailable,
                           fmt::format("cannot fork: {}", strerror(errno)));
  if (pid == 0)
    run_child(plan);
  child_process result;
  result.pid_ = pid;
  return result;
}

bool child_process::running() {
  if (pid_ == 0)
    return false;
  auto rc = waitpid(pid_, &status_, WNOHANG);
  if (rc == 0 || (rc < 0 && errno == EINTR))
    return true;
  pid_ = 0;
  return false;
}

bool child_process::wait(milliseconds timeout) {
  auto deadline = steady_clock::now() + timeout;
  while (running()) {
    if (steady_clock::now() >= deadline)
      return false;
    std::this_thread::sleep_for(poll_pause);
  }
  return true;
}

void child_process::stop(const std::vector<stop_step>& steps) {
  for (const auto& step : steps) {
    if (!running())
      return;
    kill(pid_, step.signal);
    if (wait(step.timeout))
      return;
  }
}

std::string child_process::fate() const {
  if (WIFSIGNALED(status_))
    return fmt::format("signal {}", WTERMSIG(status_));
  return fmt::format("exit status {}", WEXITSTATUS(status_));
}

bool child_process::succeeded() const {
  return pid_ == 0 && WIFEXITED(status_) && WEXITSTATUS(status_) == 0;
}

caf::expected<run_result>
run_program(spawn_request request, milliseconds timeout) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return caf::make_error(errc::unavailable, "no pipe: too many open files");
  request.output = ends[1];
  auto child = child_process::spawn(request);
  close(ends[1]);
  if (!child) {
    close(ends[0]);
    return child.error();
  }
  run_result result;
  auto deadline = steady_clock::now() + timeout;
  for (;;) {
    auto left = std::chrono::duration_cast<milliseconds>(deadline
                                                         - steady_clock::now());
    pollfd ready{ends[0], POLLIN, 0};
    if (left.count() <= 0
        || poll(&ready, 1, static_cast<int>(left.count())) == 0)
      break;
    char buffer[4096];
    auto count = read(ends[0], buffer, sizeof(buffer));
    if (count == 0 || (count < 0 && errno != EINTR))
      break;
    if (count > 0 && result.output.size() < output_bytes_max)
      result.output.append(buffer, static_cast<size_t>(count));
  }
  close(ends[0]);
  auto rest
    = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
  if (!child->wait(std::max(rest, milliseconds{0})))
    child->stop({{SIGKILL, milliseconds{5000}}});
  result.ok = child->succeeded();
  return result;
}

bool can_enter(const server_user& user, const std::string& directory) {
  const char* path = directory.c_str();
  return probe_as(user, [path] { return chdir(path) == 0; });
}

bool can_execute(const server_user& user, const std::string& program) {
  const char* path = program.c_str();
  return probe_as(user, [path] { return access(path, X_OK) == 0; });
}

std::vector<pid_t> find_processes(const std::vector<std::string>& programs,
                                  const std::string& directory) {
  auto ours = [&](const auto& word) { return is_below(word, directory); };
  return find_by_words([&](const std::vector<std::string>& words) {
    auto program = std::filesystem::path{words[0]}.filename().string();
    return std::find(programs.begin(), programs.end(), program)
             != programs.end()
           && std::any_of(std::next(words.begin()), words.end(), ours);
  });
}

std::vector<pid_t> find_titled(const std::string& title) {
  return find_by_words([&](const std::vector<std::string>& words) {
    return words[0].starts_with(title);
  });
}

} // namespace tillstream::storage

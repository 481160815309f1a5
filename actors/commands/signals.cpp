#include "actors/commands/signals.hpp"

#include <csignal>
#include <ctime>
#include <unistd.h>

namespace tillstream::commands {

namespace {

sigset_t both() {
  sigset_t result;
  sigemptyset(&result);
  sigaddset(&result, SIGINT);
  sigaddset(&result, SIGTERM);
  return result;
}

} // namespace

stop_signals::stop_signals() {
  auto set = both();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // A peer that hangs up is an error of one write, not the end of a process.
  std::signal(SIGPIPE, SIG_IGN);
}

bool stop_signals::wait(std::chrono::milliseconds timeout) {
  auto set = both();
  timespec limit{};
  limit.tv_sec = timeout.count() / 1000;
  limit.tv_nsec = (timeout.count() % 1000) * 1'000'000;
  return sigtimedwait(&set, nullptr, &limit) > 0;
}

void stop_signals::release() {
  auto leave = [](int) { _exit(1); };
  std::signal(SIGINT, leave);
  std::signal(SIGTERM, leave);
  auto set = both();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

} // namespace tillstream::commands

#include "storage/servers/private_server.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <thread>

#include <unistd.h>

namespace tillstream::storage {

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

/// The port may be taken between our check and the server's.
constexpr int launches_max = 3;

/// After a crash, PostgreSQL replays up to `max_wal_size` first.
constexpr auto ready_timeout = 300s;

constexpr auto ready_poll = 5ms;

} // namespace

caf::expected<void> private_server::launch() {
  auto port = dir_.choose_port(stem_ + ".port");
  if (!port)
    return port.error();
  port_ = *port;
  if (auto done = configure(); !done)
    return done;
  return spawn();
}

caf::expected<void> private_server::spawn() {
  auto log = dir_.open_log(log_name());
  if (!log)
    return log.error();
  spawn_request request;
  request.argv = command();
  request.environment = environment();
  request.user = dir_.user();
  request.output = *log;
  request.death_signal = death_signal();
  auto process = child_process::spawn(request);
  close(*log);
  if (!process)
    return process.error();
  process_ = *process;
  wanted_ = true;
  return {};
}

caf::expected<void> private_server::await_ready() {
  auto deadline = steady_clock::now() + ready_timeout;
  for (int launches = 1;;) {
    if (!process_.running()) {
      if (launches++ == launches_max)
        break;
      if (auto again = launch(); !again)
        return again;
    } else if (ready(process_.pid())) {
      return {};
    }
    if (steady_clock::now() >= deadline)
      break;
    std::this_thread::sleep_for(ready_poll);
  }
  auto what = process_.running() ? std::string{"does not answer"}
                                 : fmt::format("ended ({})", process_.fate());
  stop(true);
  return caf::make_error(errc::unavailable,
                         fmt::format("{} {} instead of starting; {}", name_,
                                     what, dir_.log_tail(log_name())));
}

caf::expected<void> private_server::restart() {
  if (process_.running())
    return {};
  if (!port_is_free(port_))
    return caf::make_error(errc::unavailable,
                           fmt::format("port {} of {} was taken by another "
                                       "process",
                                       port_, name_));
  if (auto done = spawn(); !done)
    return done;
  return await_ready();
}

void private_server::stop(bool hard) {
  wanted_ = false;
  process_.stop(stop_steps(hard));
}

std::string private_server::check() {
  if (!wanted_ || process_.running())
    return {};
  wanted_ = false;
  return fmt::format("{} ended unexpectedly ({}); see {}", name_,
                     process_.fate(), dir_.file(log_name()));
}

} // namespace tillstream::storage

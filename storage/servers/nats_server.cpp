#include "storage/servers/nats_server.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace tillstream::storage {

namespace {

using namespace std::chrono_literals;

constexpr const char* user = "tillstream";
constexpr const char* data = "nats";
constexpr const char* config_file = "nats.conf";

/// How long a server that listens may take to say who it is.
constexpr auto hello_timeout = 500ms;

/// Quotes a string for the configuration.
std::string in_quotes(const std::string& text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      result += '\\';
    result += c;
  }
  return result + "\"";
}

std::vector<std::string> usual_places() {
  std::vector<std::string> result;
  const char* tools = "/tillstream/tools/nats-server";
  if (geteuid() != 0) {
    const char* shared = std::getenv("XDG_DATA_HOME");
    const char* home = std::getenv("HOME");
    if (shared != nullptr && *shared == '/')
      result.push_back(fmt::format("{}{}", shared, tools));
    else if (home != nullptr && *home == '/')
      result.push_back(fmt::format("{}/.local/share{}", home, tools));
  }
  result.push_back(fmt::format("/var/lib{}", tools));
  const char* path = std::getenv("PATH");
  std::istringstream in{path != nullptr ? path : ""};
  for (std::string dir; std::getline(in, dir, ':');)
    if (dir.starts_with('/'))
      result.push_back(dir + "/nats-server");
  // Where distributions put it, which a user's PATH may lack.
  result.emplace_back("/usr/sbin/nats-server");
  return result;
}

bool runs(const std::optional<server_user>& account, const std::string& path) {
  return access(path.c_str(), X_OK) == 0
         && (!account || can_execute(*account, path));
}

/// Reads `nats-server: v2.10.27` as {2, 10}.
std::pair<int, int> version_of(const std::string& program) {
  spawn_request request;
  request.argv = {program, "--version"};
  auto result = run_program(std::move(request), 10s);
  int major = 0;
  int minor = 0;
  auto start
    = result && result->ok ? result->output.find(": v") : std::string::npos;
  if (start == std::string::npos
      || std::sscanf(result->output.c_str() + start, ": v%d.%d", &major, &minor)
           != 2)
    return {0, 0};
  return {major, minor};
}

/// Reads the line that a nats-server greets with; empty: nobody there.
std::string read_greeting(uint16_t port) {
  auto fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return {};
  timeval timeout{0, std::chrono::microseconds{hello_timeout}.count()};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string result;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address))
      == 0) {
    char buffer[1024];
    for (ssize_t count = 1; count > 0 && result.size() < 4096
                            && result.find('\n') == std::string::npos;) {
      count = recv(fd, buffer, sizeof(buffer), 0);
      if (count > 0)
        result.append(buffer, static_cast<size_t>(count));
    }
  }
  close(fd);
  return result;
}

} // namespace

nats_server::nats_server(const server_directory& dir, settings options)
  : private_server(dir, "nats-server", data),
    options_(std::move(options)) {
  // nop
}

caf::expected<std::string>
nats_server::find_program(const server_directory& dir) {
  if (const char* chosen = std::getenv("TILLSTREAM_NATS_SERVER")) {
    if (runs(dir.user(), chosen))
      return std::string{chosen};
    return caf::make_error(errc::invalid,
                           fmt::format("TILLSTREAM_NATS_SERVER={}: cannot be "
                                       "run",
                                       chosen));
  }
  for (const auto& place : usual_places())
    if (runs(dir.user(), place))
      return place;
  return caf::make_error(errc::invalid, "nats-server was not found; install it "
                                        "(deploy/install-deps.sh) or set "
                                        "TILLSTREAM_NATS_SERVER");
}

std::string nats_server::url() const {
  return fmt::format("nats://{}:{}@127.0.0.1:{}", user, options_.password,
                     port());
}

std::string nats_server::store_dir() const {
  return dir_.file(data);
}

caf::expected<void> nats_server::configure() {
  auto version = version_of(options_.program);
  if (version < std::pair{2, 9})
    return caf::make_error(
      errc::invalid,
      fmt::format("{} is not nats-server 2.9 or newer", options_.program));
  if (auto made = dir_.make_server_dir(data); !made)
    return made;
  // The default, 2 minutes, is what a power cut may cost. Nothing is lost by
  // it for good, as the outbox publishes again, but a second costs little; to
  // flush at every message would halve the rate for no gain in truth. Servers
  // before 2.10 do not know the setting.
  auto sync = version >= std::pair{2, 10} ? "  sync_interval: \"1s\"\n" : "";
  auto text
    = fmt::format("# Written at each start.\n"
                  "server_name: {}\n"
                  "listen: \"127.0.0.1:{}\"\n"
                  "authorization {{\n"
                  "  user: {}\n"
                  "  password: {}\n"
                  "}}\n"
                  "jetstream {{\n"
                  "  store_dir: {}\n"
                  "{}}}\n",
                  in_quotes(options_.server_name), port(), in_quotes(user),
                  in_quotes(options_.password), in_quotes(store_dir()), sync);
  return dir_.write(config_file, text, true);
}

std::vector<std::string> nats_server::command() const {
  return {options_.program, "-c", dir_.file(config_file)};
}

std::vector<std::string> nats_server::environment() const {
  // It shares the machine with PostgreSQL and the node. Go's scheduler wakes a
  // thread on each core it may use, to look for work that one has done by then.
  auto cores = std::max(std::thread::hardware_concurrency() / 2, 1u);
  return {fmt::format("GOMAXPROCS={}", cores)};
}

int nats_server::death_signal() const {
  return SIGTERM;
}

std::vector<stop_step> nats_server::stop_steps(bool hard) const {
  if (hard)
    return {{SIGKILL, 5000ms}};
  return {{SIGTERM, 10'000ms}, {SIGKILL, 5000ms}};
}

bool nats_server::ready(pid_t) const {
  // Its name says that it is ours, and not whoever took the port first. It
  // listens only after JetStream has read its files.
  auto greeting = read_greeting(port());
  return greeting.find(
           fmt::format("\"server_name\":\"{}\"", options_.server_name))
         != std::string::npos;
}

} // namespace tillstream::storage

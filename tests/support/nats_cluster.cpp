#include "tests/support/nats_cluster.hpp"

#include "messages/core/error.hpp"
#include "storage/servers/nats_server.hpp"
#include "storage/servers/server_directory.hpp"

#include <fmt/format.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace tillstream::test {

namespace {

using namespace std::chrono_literals;

/// Sockets that hold ports until all of them are chosen.
class port_chooser {
public:
  ~port_chooser() {
    for (int fd : sockets_)
      close(fd);
  }

  uint16_t next() {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockets_.push_back(fd);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof(address);
    if (fd < 0 || bind(fd, any, size) != 0 || getsockname(fd, any, &size) != 0)
      throw std::runtime_error("no free port");
    return ntohs(address.sin_port);
  }

private:
  std::vector<int> sockets_;
};

/// Until somebody listens there. @throws std::runtime_error after half a minute
void wait_for_listener(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  auto deadline = std::chrono::steady_clock::now() + 30s;
  while (std::chrono::steady_clock::now() < deadline) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto answers
      = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address))
        == 0;
    close(fd);
    if (answers)
      return;
    std::this_thread::sleep_for(20ms);
  }
  throw std::runtime_error("a nats-server of the cluster does not listen");
}

std::string find_program(const std::string& dir) {
  auto place = storage::server_directory::open(dir);
  if (!place)
    throw std::runtime_error(describe(place.error()));
  auto program = storage::nats_server::find_program(*place);
  if (!program)
    throw std::runtime_error(describe(program.error()));
  return *program;
}

} // namespace

nats_cluster::nats_cluster(size_t count)
  : program_(find_program(dir_.file("program"))) {
  servers_.resize(count);
  {
    port_chooser ports;
    for (auto& x : servers_) {
      x.port = ports.next();
      x.route_port = ports.next();
    }
  }
  std::string routes;
  for (const auto& x : servers_)
    routes += fmt::format("    \"nats-route://127.0.0.1:{}\"\n", x.route_port);
  for (size_t i = 0; i < count; ++i) {
    auto& x = servers_[i];
    auto own = fmt::format("n{}", i + 1);
    x.config = dir_.file(own + ".conf");
    std::ofstream{x.config}
      << fmt::format("server_name: {0}\n"
                     "server_tags: [\"place:{0}\"]\n"
                     "listen: \"127.0.0.1:{1}\"\n"
                     "jetstream {{ store_dir: \"{2}\" }}\n"
                     "cluster {{\n"
                     "  name: {3}\n"
                     "  listen: \"127.0.0.1:{4}\"\n"
                     "  routes: [\n{5}  ]\n"
                     "}}\n",
                     own, x.port, dir_.file(own), name, x.route_port, routes);
    // One after the other: servers that all dial each other at once may drop
    // each other's routes as duplicates, and then one is never a peer.
    start(i);
    wait_for_listener(x.port);
  }
}

nats_cluster::~nats_cluster() {
  for (size_t i = 0; i < servers_.size(); ++i)
    kill(i);
}

std::string nats_cluster::url(size_t index) const {
  return fmt::format("nats://127.0.0.1:{}", servers_[index].port);
}

std::string nats_cluster::url() const {
  std::string result;
  for (size_t i = 0; i < servers_.size(); ++i)
    result += (i > 0 ? "," : "") + url(i);
  return result;
}

void nats_cluster::kill(size_t index) {
  servers_[index].process.stop({{SIGKILL, 5000ms}});
}

void nats_cluster::start(size_t index) {
  auto& x = servers_[index];
  auto log = x.config + ".log";
  int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  storage::spawn_request request;
  request.argv = {program_, "-c", x.config};
  request.output = fd;
  auto started = storage::child_process::spawn(request);
  close(fd);
  if (!started)
    throw std::runtime_error(describe(started.error()));
  x.process = *started;
}

size_t nats_cluster::index_of(const std::string& server_name) const {
  return std::stoul(server_name.substr(1)) - 1;
}

} // namespace tillstream::test

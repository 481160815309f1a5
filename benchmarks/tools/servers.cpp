#include "messages/core/error.hpp"
#include "storage/servers/private_servers.hpp"

#include <csignal>
#include <iostream>
#include <string>

/// @file benchmarks/tools/servers.cpp
/// `bench_servers DIR [SETTING…]`: a private PostgreSQL and nats-server, set
/// as `tillstream up` sets them, durable. Prints their addresses, one
/// `name value` a line, and `ready`; SIGTERM or SIGINT ends both. A SETTING is
/// one more line for postgresql.conf.

int main(int argc, char** argv) {
  using namespace tillstream;
  if (argc < 2) {
    std::cerr << "usage: bench_servers DIR [SETTING…]" << std::endl;
    return 2;
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  // Before any thread starts, so that all inherit it.
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  storage::private_server_options options;
  options.data_dir = argv[1];
  options.postgres_settings.assign(argv + 2, argv + argc);
  auto servers = storage::private_servers::start(std::move(options));
  if (!servers) {
    std::cerr << "bench_servers: " << describe(servers.error()) << std::endl;
    return 1;
  }
  std::cout << "oltp_dsn " << (*servers)->oltp_dsn() << "\nanalytics_dsn "
            << (*servers)->analytics_dsn() << "\nnats_url "
            << (*servers)->nats_url() << "\npostgres_pid "
            << (*servers)->postgres_pid() << "\nnats_pid "
            << (*servers)->nats_pid() << "\nready" << std::endl;
  int signal = 0;
  sigwait(&signals, &signal);
  (*servers)->stop();
  return 0;
}

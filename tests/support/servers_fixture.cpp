#include "tests/support/postgres_fixture.hpp"

#include "messages/core/error.hpp"
#include "tests/support/temporary_directory.hpp"

#include <memory>
#include <stdexcept>
#include <utility>

namespace tillstream::test {

namespace {

/// Servers and their directory, in the order in which they must go.
class running_servers {
public:
  running_servers(bool with_postgres, bool with_nats) {
    storage::private_server_options options;
    options.data_dir = dir_.file("data");
    options.with_postgres = with_postgres;
    options.with_nats = with_nats;
    // Several executables run side by side.
    options.postgres_settings
      = {"shared_buffers = 64MB", "max_wal_size = 512MB"};
    auto started = storage::private_servers::start(std::move(options));
    if (!started)
      throw std::runtime_error{describe(started.error())};
    servers_ = std::move(*started);
  }

  storage::private_servers& get() {
    return *servers_;
  }

private:
  temporary_directory dir_;
  std::unique_ptr<storage::private_servers> servers_;
};

} // namespace

storage::private_servers& postgres() {
  static running_servers instance{true, false};
  return instance.get();
}

storage::private_servers& nats() {
  static running_servers instance{false, true};
  return instance.get();
}

} // namespace tillstream::test

#pragma once

#include "tests/support/temporary_directory.hpp"
#include "tests/system/running_program.hpp"

#include <memory>
#include <string>
#include <vector>

namespace tillstream::test {

/// The executable's nats-server, without the stream that an earlier case left:
/// its events are of other databases. @returns its URL.
std::string fresh_broker();

/// Nodes against servers of the test's own: prepares the databases and keeps
/// addresses and keys in a directory, as `up` does.
class fleet {
public:
  /// @param chain_file Empty: the default chain.
  fleet(const std::string& oltp_dsn, const std::string& analytics_dsn,
        const std::string& nats_url, const std::string& chain_file = {});

  /// Starts a node on a free port.
  std::unique_ptr<running_program> serve(std::vector<std::string> more = {});

  /// Runs a command that finds the servers by the directory.
  command_result run(std::vector<std::string> words,
                     std::chrono::seconds timeout = std::chrono::seconds{60});

  const commands::endpoints& where() const {
    return where_;
  }

  const std::string& dir() const {
    return dir_.path();
  }

private:
  temporary_directory dir_;
  commands::endpoints where_;
};

} // namespace tillstream::test

#pragma once

#include "storage/servers/private_server.hpp"

namespace tillstream::storage {

/// A PostgreSQL cluster of our own. Its superuser is `tillstream`, with a
/// password, over loopback TCP only.
class postgres_server : public private_server {
public:
  struct settings {
    /// Directory of `postgres`, `initdb` and `psql`.
    std::string programs;
    std::string password;
    /// Also the processes' title, so that they can be told from others.
    std::string cluster_name;
    /// More lines for the configuration.
    std::vector<std::string> extra;
  };

  postgres_server(const server_directory& dir, settings options);

  /// Finds the programs: `TILLSTREAM_PG_BIN`, the distribution's newest, PATH.
  /// A cluster that exists needs its own major version.
  static caf::expected<std::string> find_programs(const server_directory& dir);

  bool initialised() const;

  /// Makes the cluster with the given databases: all or nothing.
  caf::expected<void> initialise(const std::vector<std::string>& databases);

  /// Removes a lock file that names a process number which someone else has by
  /// now. @pre no process of this cluster is left
  void remove_stale_lock() const;

  std::string dsn(const std::string& database) const;

  /// Where tables and indexes lie; not the WAL.
  std::string tables_dir() const;

  /// Creates a database unless it exists.
  /// @param from Copied, e.g. `template1`; nobody may be connected to it.
  caf::expected<void>
  create_database(const std::string& name, const std::string& from) const;

protected:
  caf::expected<void> configure() override;
  std::vector<std::string> command() const override;
  int death_signal() const override;
  std::vector<stop_step> stop_steps(bool hard) const override;
  bool ready(pid_t pid) const override;

private:
  std::string program(const std::string& name) const;
  caf::expected<void>
  run_logged(spawn_request request, const std::string& what) const;
  caf::expected<void> run_initdb() const;
  caf::expected<void>
  create_first_databases(const std::vector<std::string>& databases) const;

  settings options_;
};

} // namespace tillstream::storage

#pragma once

#include <caf/expected.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace tillstream::storage {

/// A numbered `.sql` file, carried inside the program.
struct migration {
  /// `oltp` or `analytics`
  std::string schema;
  int number = 0;
  std::string name;
  std::string sql;
};

/// All of both schemas, in order. Defined in a file made by the build.
const std::vector<migration>& all_migrations();

/// Brings a database to this version: each migration in its own transaction,
/// under an advisory lock, so that two nodes may do it at once; then attaches
/// partitions. Refuses a schema that is newer than this program.
/// @param schema `oltp` or `analytics`
/// @returns the schema's version now.
caf::expected<int> migrate(const std::string& dsn, std::string_view schema);

/// Attaches daily partitions a week ahead and detaches (CONCURRENTLY) and
/// drops those beyond the retention, provided nothing in them is still NEW
/// (outbox). Safe to repeat and from two nodes at once.
/// @returns a sentence on each partition changed.
caf::expected<std::vector<std::string>>
maintain_partitions(const std::string& dsn, std::string_view schema,
                    int retention_days);

/// What is wrong with a server for our purpose: `fsync`, `full_page_writes`,
/// `synchronous_commit` off, a version below 15, a schema of another version.
/// Each sentence says how to mend it. Empty: all is well.
caf::expected<std::vector<std::string>>
check_server(const std::string& dsn, std::string_view schema);

} // namespace tillstream::storage

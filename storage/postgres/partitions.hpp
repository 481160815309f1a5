#pragma once

#include <caf/expected.hpp>

#include <string>
#include <string_view>
#include <vector>

/// @file storage/postgres/partitions.hpp
/// The daily partitions of the outbox and of the event log.

namespace tillstream::storage {

namespace postgres {

class connection;

} // namespace postgres

/// Attaches daily partitions a week ahead and detaches (CONCURRENTLY) and
/// drops those beyond the retention, provided nothing in them is still NEW
/// (outbox). Safe to repeat and from two nodes at once.
/// @returns a sentence on each partition changed.
caf::expected<std::vector<std::string>>
maintain_partitions(const std::string& dsn, std::string_view schema,
                    int retention_days);

/// The first half of it: attaches those that are missing.
/// @pre `schema` exists
std::vector<std::string>
attach_partitions(postgres::connection& db, std::string_view schema,
                  int retention_days);

} // namespace tillstream::storage

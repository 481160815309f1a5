#pragma once

#include "storage/postgres/connection.hpp"

#include <caf/error.hpp>

#include <string>
#include <string_view>
#include <vector>

/// @file storage/postgres/schemas.hpp
/// The versions of both schemas: what this program knows, and what a database
/// has.

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

/// Highest number of `schema`'s migrations, 0 if there is no such schema.
int newest_version(std::string_view schema);

/// The next one of `schema` after `version`; null: none is left.
const migration* next_migration(std::string_view schema, int version);

/// @pre the table `schema_version` exists
int stored_version(postgres::connection& db, std::string_view schema);

/// A sentence on a schema that only a newer program knows.
std::string too_new(std::string_view schema, int version);

caf::error unknown_schema(std::string_view schema);

/// Waits longer than a purchase would.
postgres::connection_options maintenance_options();

} // namespace tillstream::storage

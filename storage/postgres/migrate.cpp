#include "storage/postgres/migrate.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/partitions.hpp"
#include "storage/postgres/schemas.hpp"
#include "storage/postgres/transaction.hpp"

#include <optional>

namespace tillstream::storage {

namespace {

using namespace postgres;

// Advisory locks with two keys never meet those with one, which purchases
// take.
constexpr const char* lock_migrations
  = "SELECT pg_advisory_xact_lock(1953066092, 1)";

constexpr const char* create_schema_version = R"(
  CREATE TABLE IF NOT EXISTS schema_version (
    schema_name text NOT NULL,
    number integer NOT NULL,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (schema_name, number)
  ))";

constexpr statement insert_version{"insert_version", R"(
  INSERT INTO schema_version (schema_name, number, name) VALUES ($1, $2, $3))"};

/// Applies one migration. @returns nothing when none is left.
caf::expected<std::optional<int>>
migrate_once(connection& db, std::string_view schema) {
  transaction tx{db};
  db.run(lock_migrations);
  db.run(create_schema_version);
  auto version = stored_version(db, schema);
  if (version > newest_version(schema))
    return caf::make_error(errc::invalid, too_new(schema, version));
  const auto* next = next_migration(schema, version);
  if (next != nullptr) {
    db.run(next->sql);
    db.exec(insert_version, schema, next->number, next->name);
  }
  tx.commit();
  return next != nullptr ? std::make_optional(next->number) : std::nullopt;
}

} // namespace

caf::expected<int> migrate(const std::string& dsn, std::string_view schema) {
  if (newest_version(schema) == 0)
    return unknown_schema(schema);
  auto db = open_connection(dsn, maintenance_options());
  if (!db)
    return db.error();
  return guarded(**db, [&]() -> caf::expected<int> {
    while (true) {
      auto applied = migrate_once(**db, schema);
      if (!applied)
        return applied.error();
      if (!*applied)
        break;
    }
    attach_partitions(**db, schema, limits::retention_days);
    return stored_version(**db, schema);
  });
}

} // namespace tillstream::storage

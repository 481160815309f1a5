#include "storage/postgres/schemas.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace tillstream::storage {

using namespace postgres;

namespace {

using namespace std::chrono_literals;

/// Migrating and partitioning wait for each other, and for the transactions of
/// a loaded system, longer than a purchase would.
constexpr auto timeout = 60s;
constexpr auto longest_statement = 10min;

constexpr statement select_version{"select_version", R"(
  SELECT coalesce(max(number), 0) FROM schema_version WHERE schema_name = $1)"};

} // namespace

int newest_version(std::string_view schema) {
  int result = 0;
  for (const auto& x : all_migrations())
    if (x.schema == schema)
      result = std::max(result, x.number);
  return result;
}

const migration* next_migration(std::string_view schema, int version) {
  for (const auto& x : all_migrations())
    if (x.schema == schema && x.number > version)
      return &x;
  return nullptr;
}

caf::error unknown_schema(std::string_view schema) {
  return caf::make_error(errc::invalid,
                         fmt::format("there is no schema '{}'", schema));
}

std::string too_new(std::string_view schema, int version) {
  return fmt::format("the {} schema has version {}, this program knows {} at "
                     "most: run a newer tillstream",
                     schema, version, newest_version(schema));
}

int stored_version(connection& db, std::string_view schema) {
  return static_cast<int>(as_int(db.exec(select_version, schema)[0][0]));
}

connection_options maintenance_options() {
  connection_options result;
  result.application_name = "tillstream-migrations";
  result.statement_timeout = longest_statement;
  result.lock_timeout = timeout;
  result.idle_in_transaction_timeout = timeout;
  return result;
}

} // namespace tillstream::storage

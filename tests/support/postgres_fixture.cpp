#include "tests/support/postgres_fixture.hpp"

#include "storage/postgres/migrate.hpp"
#include "tests/support/must.hpp"

#include <fmt/format.h>

#include <set>

namespace tillstream::test {

namespace {

/// Migrates a database once; every further one is a copy.
std::string migrated_template(std::string_view schema) {
  static std::set<std::string, std::less<>> ready;
  auto name = fmt::format("template_{}", schema);
  if (!ready.contains(schema)) {
    auto dsn = must(postgres().database(name));
    must(storage::migrate(dsn, schema));
    ready.emplace(schema);
  }
  return name;
}

} // namespace

std::string fresh_database(std::string_view schema) {
  static int count = 0;
  auto name = fmt::format("test_{}", ++count);
  if (schema.empty())
    return must(postgres().database(name));
  return must(postgres().copy_database(name, migrated_template(schema)));
}

} // namespace tillstream::test

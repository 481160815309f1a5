#include "tests/support/postgres_fixture.hpp"

#include "messages/core/error.hpp"
#include "storage/postgres/migrations.hpp"

#include <fmt/format.h>

#include <set>
#include <stdexcept>
#include <utility>

namespace tillstream::test {

namespace {

std::string must(caf::expected<std::string> dsn) {
  if (!dsn)
    throw std::runtime_error{describe(dsn.error())};
  return std::move(*dsn);
}

/// Migrates a database once; every further one is a copy.
std::string migrated_template(std::string_view schema) {
  static std::set<std::string, std::less<>> ready;
  auto name = fmt::format("template_{}", schema);
  if (!ready.contains(schema)) {
    auto dsn = must(postgres().database(name));
    if (auto version = storage::migrate(dsn, schema); !version)
      throw std::runtime_error{describe(version.error())};
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

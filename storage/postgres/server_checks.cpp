#include "storage/postgres/server_checks.hpp"

#include "messages/core/error.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/schemas.hpp"

#include <fmt/format.h>

namespace tillstream::storage {

namespace {

using namespace postgres;

constexpr int oldest_server = 15;

constexpr statement version_table_exists{"version_table_exists", R"(
  SELECT to_regclass('schema_version') IS NOT NULL)"};

constexpr statement select_settings{"select_settings", R"(
  SELECT current_setting('fsync'), current_setting('full_page_writes'),
         current_setting('synchronous_commit'),
         current_setting('server_version_num')::int,
         current_setting('server_encoding'), pg_is_in_recovery())"};

void check_settings(connection& db, std::vector<std::string>& wrong) {
  auto row = db.exec(select_settings)[0];
  auto want_on
    = [&](const pqxx::field& setting, const char* name, const char* why) {
        if (as_text(setting) != "off")
          return;
        wrong.push_back(fmt::format("{0} is off: {1}; set {0} = on in "
                                    "postgresql.conf and reload",
                                    name, why));
      };
  want_on(row[0], "fsync", "a power cut would lose recorded purchases");
  want_on(row[1], "full_page_writes", "a power cut could tear pages");
  want_on(row[2], "synchronous_commit",
          "purchases would be answered before they are durable");
  if (auto version = as_int(row[3]); version < oldest_server * 10'000)
    wrong.push_back(fmt::format("the server is PostgreSQL {}: upgrade it to {} "
                                "or newer",
                                version / 10'000, oldest_server));
  if (auto encoding = as_text(row[4]); encoding != "UTF8")
    wrong.push_back(fmt::format("the database's encoding is {}: create it "
                                "again with ENCODING 'UTF8'",
                                encoding));
  if (as_bool(row[5]))
    wrong.push_back("the server is a standby: point the DSN at the primary");
}

void check_schema(connection& db, std::string_view schema,
                  std::vector<std::string>& wrong) {
  int version = 0;
  if (as_bool(db.exec(version_table_exists)[0][0]))
    version = stored_version(db, schema);
  if (version > newest_version(schema))
    wrong.push_back(too_new(schema, version));
  else if (version < newest_version(schema))
    wrong.push_back(fmt::format("the {} schema has version {}, this program "
                                "needs {}: run `tillstream migrate`",
                                schema, version, newest_version(schema)));
}

} // namespace

caf::expected<std::vector<std::string>>
check_server(const std::string& dsn, std::string_view schema) {
  if (newest_version(schema) == 0)
    return unknown_schema(schema);
  auto db = open_connection(dsn);
  if (!db)
    return db.error();
  return guarded(**db, [&]() -> caf::expected<std::vector<std::string>> {
    std::vector<std::string> wrong;
    check_settings(**db, wrong);
    check_schema(**db, schema, wrong);
    return wrong;
  });
}

} // namespace tillstream::storage

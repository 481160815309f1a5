#include <boost/test/unit_test.hpp>

#include "tests/support/postgres_fixture.hpp"

#include <pqxx/pqxx>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

/// The Citus statements of deploy/citus fit the schema: no server is needed to
/// know that.

using namespace tillstream;

namespace {

/// Table to distribution column; empty for a reference table.
using distribution = std::map<std::string, std::string>;

distribution read_statements(const std::string& schema) {
  std::ifstream in{std::string{TILLSTREAM_SOURCE_DIR} + "/deploy/citus/"
                   + schema + ".sql"};
  std::ostringstream text;
  text << in.rdbuf();
  auto sql = text.str();
  BOOST_REQUIRE(!sql.empty());
  std::regex call{
    R"(create_(reference|distributed)_table\('(\w+)'(?:,\s*'(\w+)')?)"};
  distribution result;
  for (std::sregex_iterator i{sql.begin(), sql.end(), call}, end; i != end;
       ++i) {
    auto is_new = result.emplace((*i)[2], (*i)[3]).second;
    BOOST_TEST(is_new, (*i)[2] << " is there twice");
    BOOST_TEST(((*i)[1] == "distributed") == !result[(*i)[2]].empty());
  }
  return result;
}

/// Tables of a database, partitions left out.
std::set<std::string> read_tables(pqxx::work& work) {
  std::set<std::string> result;
  for (auto row : work.exec("SELECT relname FROM pg_class "
                            "WHERE relkind IN ('r', 'p') AND NOT "
                            "relispartition AND relnamespace = "
                            "'public'::regnamespace"))
    result.insert(row[0].as<std::string>());
  return result;
}

/// The columns of each unique key.
std::multimap<std::string, std::set<std::string>>
read_unique_keys(pqxx::work& work) {
  std::multimap<std::string, std::set<std::string>> result;
  for (auto row :
       work.exec("SELECT c.relname, string_agg(a.attname, ',') "
                 "FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
                 "JOIN pg_attribute a ON a.attrelid = c.oid "
                 "  AND a.attnum = ANY (i.indkey) "
                 "WHERE i.indisunique AND NOT c.relispartition "
                 "  AND c.relnamespace = 'public'::regnamespace "
                 "GROUP BY i.indexrelid, c.relname")) {
    std::set<std::string> columns;
    std::istringstream names{row[1].as<std::string>()};
    for (std::string name; std::getline(names, name, ',');)
      columns.insert(name);
    result.emplace(row[0].as<std::string>(), columns);
  }
  return result;
}

/// The migrations' own bookkeeping stays on the coordinator.
bool is_bookkeeping(const std::string& table) {
  return table.find("migration") != std::string::npos
         || table.find("schema") != std::string::npos;
}

void check(const std::string& schema, size_t distributed_min) {
  pqxx::connection session{test::fresh_database(schema)};
  pqxx::work work{session};
  auto statements = read_statements(schema);
  auto tables = read_tables(work);
  for (const auto& [table, column] : statements)
    BOOST_TEST(tables.count(table) == 1u, "there is no table " << table);
  for (const auto& table : tables)
    BOOST_TEST((is_bookkeeping(table) || statements.count(table) == 1),
               table << " is neither distributed nor copied");
  size_t keys = 0;
  size_t distributed = 0;
  for (const auto& [table, column] : statements)
    distributed += column.empty() ? 0 : 1;
  for (const auto& [table, columns] : read_unique_keys(work)) {
    auto i = statements.find(table);
    if (i == statements.end() || i->second.empty())
      continue;
    ++keys;
    BOOST_TEST(columns.count(i->second) == 1u,
               "a unique key of " << table << " lacks " << i->second);
  }
  BOOST_TEST(distributed >= distributed_min);
  BOOST_TEST(keys >= distributed);
}

} // namespace

BOOST_AUTO_TEST_SUITE(distribution_suite)

BOOST_AUTO_TEST_CASE(unique_keys_of_purchases_have_the_distribution_column) {
  check("oltp", 4);
}

BOOST_AUTO_TEST_CASE(unique_keys_of_aggregates_have_the_distribution_column) {
  check("analytics", 10);
}

BOOST_AUTO_TEST_SUITE_END()

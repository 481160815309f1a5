#include "actors/commands/commands.hpp"
#include "actors/commands/endpoints.hpp"

#include "messages/codec/csv.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/text.hpp"
#include "storage/postgres/stores.hpp"

#include <fstream>
#include <iostream>

namespace tillstream::commands {

namespace {

namespace po = boost::program_options;

/// Products of one import: a branch has thousands, a chain tens of thousands.
constexpr size_t catalog_products_max = 1'000'000;

command_options catalog_options() {
  command_options result{"catalog import FILE.csv"};
  auto add = result.flags.add_options();
  add("action", po::value<std::string>(), "import");
  add("file", po::value<std::string>(),
      "CSV with the header product_id,name,category");
  result.positional.add("action", 1);
  result.positional.add("file", 1);
  return result;
}

/// The bounds of a purchase's fields: the event carries both.
/// @throws usage_error
void check_product(const std::vector<std::string>& fields,
                   const std::string& where) {
  auto id_length = count_code_points(fields[0]);
  if (id_length == 0 || id_length > limits::id_code_points_max)
    throw usage_error(where + ": product_id has 1 to "
                      + std::to_string(limits::id_code_points_max)
                      + " characters");
  if (count_code_points(fields[1]) > limits::name_code_points_max
      || count_code_points(fields[2]) > limits::name_code_points_max)
    throw usage_error(where + ": name and category have up to "
                      + std::to_string(limits::name_code_points_max)
                      + " characters");
}

/// Reads the whole file. @throws usage_error naming the line
std::vector<storage::catalog_product> read_catalog(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  if (!in)
    throw usage_error("cannot read " + path);
  csv_reader reader{in};
  if (!reader.expect_header({"product_id", "name", "category"}))
    throw usage_error(path + ": " + reader.error());
  std::vector<storage::catalog_product> result;
  std::vector<std::string> fields;
  while (reader.next(fields)) {
    check_product(fields, path + ": line " + std::to_string(reader.line()));
    if (result.size() == catalog_products_max)
      throw usage_error(path + ": more than "
                        + std::to_string(catalog_products_max) + " products");
    result.push_back({fields[0], fields[1], fields[2]});
  }
  if (!reader.error().empty())
    throw usage_error(path + ": " + reader.error());
  return result;
}

int catalog(const parsed_command& command) {
  if (command.values.count("action") == 0
      || command.get<std::string>("action") != "import"
      || command.values.count("file") == 0)
    throw usage_error("catalog: import FILE.csv");
  auto products = read_catalog(command.get<std::string>("file"));
  auto node_settings = command.node;
  locate_servers(command, node_settings);
  auto store = storage::open_directory_store(node_settings.oltp_dsn);
  if (!store)
    return report(store.error());
  auto imported = (*store)->import_catalog(products);
  if (!imported)
    return report(imported.error());
  std::cout << "imported " << *imported << " products" << std::endl;
  return done;
}

} // namespace

command catalog_command() {
  return {"catalog", "import FILE.csv", "load names and categories of products",
          catalog_options, catalog};
}

} // namespace tillstream::commands

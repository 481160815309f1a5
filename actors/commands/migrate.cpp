#include "actors/commands/commands.hpp"
#include "actors/commands/endpoints.hpp"
#include "actors/commands/preparation.hpp"

#include "messages/core/error.hpp"

#include <iostream>

namespace tillstream::commands {

namespace {

namespace po = boost::program_options;

command_options migrate_options() {
  command_options result{"migrate"};
  auto add = result.flags.add_options();
  add("config", po::value<std::string>(), "settings file");
  add("data-dir", po::value<std::string>(),
      "the servers of the `up` that runs there");
  add("chain", po::value<std::string>(),
      "JSON file with the branches; without it a new database gets the "
      "default chain");
  return result;
}

int migrate(const parsed_command& command) {
  auto node_settings = command.node;
  locate_servers(command, node_settings);
  auto chain_file = command.values.count("chain") > 0
                      ? command.get<std::string>("chain")
                      : std::string{};
  auto prepared
    = prepare_databases(node_settings, chain_file, [](const std::string& step) {
        std::cout << step << std::endl;
      });
  if (!prepared) {
    std::cerr << "tillstream: " << describe(prepared.error()) << std::endl;
    return failed;
  }
  return done;
}

} // namespace

command migrate_command() {
  return {"migrate", "[--chain FILE]",
          "bring both schemas to this version; safe to repeat", migrate_options,
          migrate};
}

} // namespace tillstream::commands

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
  add("chain", po::value<std::string>(),
      "JSON file with the branches; without it a new database gets the "
      "default chain");
  return result;
}

int migrate(const parsed_command& command) {
  auto node_settings = command.node;
  locate_servers(command, node_settings);
  auto prepared = prepare_databases(
    node_settings, command.text("chain"),
    [](const std::string& step) { std::cout << step << std::endl; });
  return prepared ? done : report(prepared.error());
}

} // namespace

command migrate_command() {
  return {"migrate", "[--chain FILE]",
          "bring both schemas to this version; safe to repeat", migrate_options,
          migrate};
}

} // namespace tillstream::commands

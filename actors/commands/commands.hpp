#pragma once

#include "actors/commands/command_line.hpp"

#include <string>
#include <vector>

/// @file actors/commands/commands.hpp
/// The program's commands. Each takes the words behind its name and returns an
/// exit code; each adds its own flags to those that `--help` shows.

namespace tillstream::commands {

struct command {
  const char* name;
  /// Words behind the name, for the usage line.
  const char* arguments;
  /// One line for the overview.
  const char* summary;
  command_options (*options)();
  int (*run)(const parsed_command&);
};

/// Everything on this machine.
command up_command();
/// One node against servers that already run.
command serve_command();
command migrate_command();
command simulate_command();
command verify_command();
command key_command();
command catalog_command();
command nodes_command();
/// Empties a node.
command drain_command();

} // namespace tillstream::commands

#pragma once

#include "actors/node/settings.hpp"

#include <caf/error.hpp>

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/positional_options.hpp>
#include <boost/program_options/variables_map.hpp>

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

/// @file actors/commands/command_line.hpp
/// From words to settings: a file, then `TILLSTREAM_*` variables, then flags;
/// the later wins.

namespace tillstream::commands {

/// Exit codes of every command (CONTRACT, 'Operating').
enum exit_code : int { done = 0, failed = 1, wrong_usage = 2 };

/// The words were wrong: exit code 2 and this sentence.
class usage_error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// One command's own flags, beside the settings that all share.
struct command_options {
  /// Begins with `--config` and `--data-dir`, which all commands have.
  explicit command_options(const std::string& caption,
                           const char* data_dir_help
                           = "the servers of the `up` that runs there");

  boost::program_options::options_description flags;
  boost::program_options::positional_options_description positional;
};

/// The words of one command, understood.
struct parsed_command {
  boost::program_options::variables_map values;
  settings node;

  template <class T>
  T get(const std::string& name) const {
    return values[name].as<T>();
  }

  /// @returns the flag's text, or an empty string when it was not given.
  std::string text(const std::string& name) const {
    return values.count(name) > 0 ? get<std::string>(name) : std::string{};
  }
};

/// One flag for each entry of `setting_table`, with its default and bounds.
boost::program_options::options_description settings_flags();

/// Prints why a command failed. @returns its exit code.
int report(const caf::error& err);

/// Understands `words` (without program and command).
/// @throws usage_error
parsed_command
parse(const std::vector<std::string>& words, const command_options& command);

/// Reads `90`, `90s`, `5m`, `2h`. @returns seconds. @throws usage_error
unsigned parse_duration(const std::string& text);

/// `--data-dir`, or where `up` puts its data when nobody says: for root
/// `/var/lib/tillstream`, else `$XDG_DATA_HOME/tillstream`.
std::string data_dir(const parsed_command& command);

} // namespace tillstream::commands

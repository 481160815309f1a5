#include "actors/commands/command_line.hpp"

#include "messages/core/error.hpp"

#include <boost/program_options/environment_iterator.hpp>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iostream>

namespace po = boost::program_options;

namespace tillstream::commands {

namespace {

constexpr std::string_view variable_prefix = "TILLSTREAM_";

/// `TILLSTREAM_OLTP_DSN` sets `oltp-dsn`. What is no setting is not ours:
/// other programs may use variables that begin alike.
std::string setting_of_variable(const po::options_description& known,
                                const std::string& variable) {
  if (variable.rfind(variable_prefix, 0) != 0)
    return {};
  auto name = variable.substr(variable_prefix.size());
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return c == '_' ? '-' : static_cast<char>(std::tolower(c));
  });
  return known.find_nothrow(name, false) != nullptr ? name : std::string{};
}

void store_file(const std::string& path, const po::options_description& known,
                po::variables_map& values) {
  std::ifstream in{path};
  if (!in)
    throw usage_error("cannot read the settings file " + path);
  po::store(po::parse_config_file(in, known), values);
}

settings to_settings(const po::variables_map& values) {
  settings result;
  for (const auto& x : setting_table())
    if (!x.read(result, values[x.flag].as<std::string>()))
      throw usage_error("--" + x.flag + ": " + x.bounds);
  return result;
}

} // namespace

po::options_description settings_flags() {
  po::options_description result{
    "Settings (also in the --config file as `name = value`, and as variables: "
    "oltp-dsn is TILLSTREAM_OLTP_DSN)"};
  settings defaults;
  for (const auto& x : setting_table()) {
    auto help = x.bounds.empty() ? x.help : x.help + " (" + x.bounds + ")";
    result.add_options()(
      x.flag.c_str(), po::value<std::string>()->default_value(x.text(defaults)),
      help.c_str());
  }
  return result;
}

command_options::command_options(const std::string& caption,
                                 const char* data_dir_help)
  : flags(caption) {
  flags.add_options()("config", po::value<std::string>(), "settings file");
  flags.add_options()("data-dir", po::value<std::string>(), data_dir_help);
}

int report(const caf::error& err) {
  std::cerr << "tillstream: " << describe(err) << std::endl;
  return failed;
}

parsed_command
parse(const std::vector<std::string>& words, const command_options& command) {
  parsed_command result;
  auto known = settings_flags();
  po::options_description all;
  all.add(command.flags);
  all.add(known);
  try {
    // What is stored first stays: flags, then variables, then the file.
    po::store(po::command_line_parser(words)
                .options(all)
                .positional(command.positional)
                .style(po::command_line_style::default_style
                       & ~po::command_line_style::allow_guessing)
                .run(),
              result.values);
    po::store(po::parse_environment(known,
                                    [&known](const std::string& variable) {
                                      return setting_of_variable(known,
                                                                 variable);
                                    }),
              result.values);
    if (result.values.count("config") > 0)
      store_file(result.values["config"].as<std::string>(), known,
                 result.values);
    po::notify(result.values);
  } catch (const po::error& x) {
    throw usage_error(x.what());
  }
  result.node = to_settings(result.values);
  return result;
}

unsigned parse_duration(const std::string& text) {
  auto digits = text.find_first_not_of("0123456789");
  auto unit = digits == std::string::npos ? "s" : text.substr(digits);
  auto number = text.substr(0, digits);
  if (number.empty() || number.size() > 6)
    throw usage_error("'" + text + "' is no duration, e.g. 90s, 5m, 2h");
  auto value = static_cast<unsigned>(std::stoul(number));
  if (unit == "s")
    return value;
  if (unit == "m")
    return value * 60;
  if (unit == "h")
    return value * 3600;
  throw usage_error("'" + text + "' is no duration, e.g. 90s, 5m, 2h");
}

std::string data_dir(const parsed_command& command) {
  if (auto told = command.text("data-dir"); !told.empty())
    return told;
  if (geteuid() == 0)
    return "/var/lib/tillstream";
  if (const char* xdg = std::getenv("XDG_DATA_HOME"))
    return std::string{xdg} + "/tillstream";
  if (const char* home = std::getenv("HOME"))
    return std::string{home} + "/.local/share/tillstream";
  throw usage_error("say where the data is to be: --data-dir DIR");
}

} // namespace tillstream::commands

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
#include <utility>

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

/// Numbers are read with their sign: read without one, -1 is a large number.
po::typed_value<int64_t>* number() {
  return po::value<int64_t>();
}

/// @throws usage_error when it is not in the range of `T`
template <class T>
T to_number(const po::variables_map& values, const std::string& name) {
  auto x = values[name].as<int64_t>();
  if (!std::in_range<T>(x))
    throw usage_error("--" + name + ": " + std::to_string(x)
                      + " is out of range");
  return static_cast<T>(x);
}

settings to_settings(const po::variables_map& values) {
  settings x;
  auto roles = parse_roles(values["roles"].as<std::string>());
  if (!roles)
    throw usage_error(describe(roles.error()));
  x.roles = *roles;
  x.node_lease_ms = values["node-lease-ms"].as<unsigned>();
  x.node_name = values["node-name"].as<std::string>();
  x.listen_address = values["listen"].as<std::string>();
  x.port = to_number<uint16_t>(values, "port");
  x.oltp_dsn = values["oltp-dsn"].as<std::string>();
  x.analytics_dsn = values["analytics-dsn"].as<std::string>();
  x.analytics_replica_dsn = values["analytics-replica-dsn"].as<std::string>();
  x.nats_url = values["nats-url"].as<std::string>();
  x.writers = to_number<size_t>(values, "writers");
  x.aggregate_writers = to_number<size_t>(values, "aggregate-writers");
  x.readers = to_number<size_t>(values, "readers");
  x.scheduler_threads = to_number<size_t>(values, "scheduler-threads");
  x.write_batch_max = to_number<size_t>(values, "write-batch-max");
  x.purchases_in_flight_max
    = to_number<size_t>(values, "purchases-in-flight-max");
  x.rate_limit = values["rate-limit"].as<double>();
  x.stream_replicas = values["stream-replicas"].as<int>();
  x.stream_placement_cluster
    = values["stream-placement-cluster"].as<std::string>();
  x.stream_placement_tags = values["stream-placement-tags"].as<std::string>();
  x.stream_bytes_max = values["stream-bytes-max"].as<int64_t>();
  x.retention_days = values["retention-days"].as<int>();
  x.lake_dir = values["lake-dir"].as<std::string>();
  x.lake_age_s = to_number<unsigned>(values, "lake-age");
  x.web_dir = values["web-dir"].as<std::string>();
  x.log_level = values["log-level"].as<std::string>();
  x.shutdown_grace_s = to_number<unsigned>(values, "shutdown-grace");
  x.fault_points = values["fault-points"].as<std::string>();
  return x;
}

void require(bool holds, const std::string& sentence) {
  if (!holds)
    throw usage_error(sentence);
}

void check_bounds(const settings& x) {
  require(x.node_lease_ms >= 500 && x.node_lease_ms <= 600'000,
          "--node-lease-ms: 500 to 600000");
  require(x.node_name.size() <= 200, "--node-name: at most 200 bytes");
  require(x.writers >= 1 && x.writers <= 64, "--writers: 1 to 64");
  require(x.aggregate_writers >= 1 && x.aggregate_writers <= 64,
          "--aggregate-writers: 1 to 64");
  require(x.readers >= 1 && x.readers <= 64, "--readers: 1 to 64");
  require(x.scheduler_threads <= 256, "--scheduler-threads: 0 to 256");
  require(x.write_batch_max >= 1
            && x.write_batch_max <= limits::write_batch_max,
          "--write-batch-max: 1 to " + std::to_string(limits::write_batch_max));
  require(x.purchases_in_flight_max >= 1
            && x.purchases_in_flight_max <= 1'000'000,
          "--purchases-in-flight-max: 1 to 1000000");
  require(x.rate_limit >= 0, "--rate-limit: 0 or more");
  require(x.stream_replicas >= 1 && x.stream_replicas <= 5,
          "--stream-replicas: 1 to 5");
  require(x.stream_bytes_max >= 1 << 20, "--stream-bytes-max: 1 MiB or more");
  require(x.retention_days >= 1 && x.retention_days <= 3650,
          "--retention-days: 1 to 3650");
  require(x.lake_age_s >= 1 && x.lake_age_s <= 86'400,
          "--lake-age: 1 to 86400 seconds");
  require(x.shutdown_grace_s >= 1 && x.shutdown_grace_s <= 600,
          "--shutdown-grace: 1 to 600 seconds");
  require(x.log_level == "debug" || x.log_level == "info"
            || x.log_level == "warning" || x.log_level == "error",
          "--log-level: debug, info, warning, error");
}

} // namespace

po::options_description settings_flags() {
  settings x;
  po::options_description result{
    "Settings (also in the --config file as `name = value`, and as variables: "
    "oltp-dsn is TILLSTREAM_OLTP_DSN)"};
  auto add = result.add_options();
  add("node-name", po::value<std::string>()->default_value(""),
      "unique among the nodes; empty: host name and port");
  add("roles", po::value<std::string>()->default_value("intake,shards,query"),
      "what this node does");
  add("node-lease-ms", po::value<unsigned>()->default_value(x.node_lease_ms),
      "how long a heartbeat holds; a dead node's branches wait that long");
  add("listen", po::value<std::string>()->default_value(x.listen_address),
      "address to listen on");
  add("port", number()->default_value(x.port), "HTTP port; 0 takes a free one");
  add("oltp-dsn", po::value<std::string>()->default_value(""),
      "PostgreSQL of the purchases");
  add("analytics-dsn", po::value<std::string>()->default_value(""),
      "PostgreSQL of the aggregates");
  add("analytics-replica-dsn", po::value<std::string>()->default_value(""),
      "read replica of the latter, for pieces of history; empty: none");
  add("nats-url", po::value<std::string>()->default_value(""),
      "nats-server with JetStream; several with commas");
  add("writers", number()->default_value(x.writers),
      "transaction writers, a session and a thread each");
  add("aggregate-writers", number()->default_value(x.aggregate_writers),
      "aggregate writers, likewise");
  add("readers", number()->default_value(x.readers),
      "readers of each database, likewise");
  add("scheduler-threads", number()->default_value(x.scheduler_threads),
      "threads of the cooperative actors; 0: one a core");
  add("write-batch-max", number()->default_value(x.write_batch_max),
      "purchases of one transaction");
  add("purchases-in-flight-max",
      number()->default_value(x.purchases_in_flight_max),
      "accepted and not yet answered; beyond it 503");
  add("rate-limit", po::value<double>()->default_value(x.rate_limit, "0"),
      "purchases a second and key; beyond it 429; 0: off");
  add("stream-replicas", po::value<int>()->default_value(x.stream_replicas),
      "JetStream replicas; 3 or 5 need a cluster of as many servers");
  add("stream-placement-cluster", po::value<std::string>()->default_value(""),
      "NATS cluster that the stream is placed in; empty: any");
  add("stream-placement-tags", po::value<std::string>()->default_value(""),
      "tags that its servers must have, with commas; empty: none");
  add("stream-bytes-max",
      po::value<int64_t>()->default_value(x.stream_bytes_max),
      "bytes that the stream may hold");
  add("retention-days", po::value<int>()->default_value(x.retention_days),
      "days that outbox and event log keep what is done");
  add("lake-dir", po::value<std::string>()->default_value(""),
      "archive raw events here; empty: no archive");
  add("lake-age", number()->default_value(x.lake_age_s),
      "seconds that a quiet branch's events wait for a file");
  add("web-dir", po::value<std::string>()->default_value(""),
      "files of the dashboard");
  add("log-level", po::value<std::string>()->default_value(x.log_level),
      "debug, info, warning, error");
  add("shutdown-grace", number()->default_value(x.shutdown_grace_s),
      "seconds for an orderly end before it is forced");
  add("fault-points", po::value<std::string>()->default_value(""),
      "test hooks, `name=throw:count`");
  return result;
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
  check_bounds(result.node);
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
  if (command.values.count("data-dir") > 0)
    return command.get<std::string>("data-dir");
  if (geteuid() == 0)
    return "/var/lib/tillstream";
  if (const char* xdg = std::getenv("XDG_DATA_HOME"))
    return std::string{xdg} + "/tillstream";
  if (const char* home = std::getenv("HOME"))
    return std::string{home} + "/.local/share/tillstream";
  throw usage_error("say where the data is to be: --data-dir DIR");
}

} // namespace tillstream::commands

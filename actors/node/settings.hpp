#pragma once

#include "messages/core/limits.hpp"

#include <caf/expected.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

/// @file actors/node/settings.hpp
/// Everything an operator can set, and the one table that names it: flags,
/// file, variables, defaults, bounds and `--help` all come from there.

namespace tillstream {

namespace storage {
struct nats_settings;
}

/// What a node does.
struct node_roles {
  /// Takes purchases in, writes them, relays the outbox.
  bool intake = true;
  /// Owns branches and applies their events.
  bool shards = true;
  /// Answers the dashboard.
  bool query = true;
};

/// Reads `intake,shards,query` in any order, at least one.
/// @returns `errc::invalid` naming the word that is no role.
caf::expected<node_roles> parse_roles(const std::string& text);

/// Splits at commas; without empty parts.
std::vector<std::string> split_list(const std::string& text);

/// Writes them as `parse_roles` reads them.
std::string to_string(const node_roles& x);

struct settings {
  /// Unique among the nodes of a chain. Empty: host name and port.
  std::string node_name;
  node_roles roles;
  /// How long the node's heartbeat holds, milliseconds.
  unsigned node_lease_ms
    = std::chrono::duration_cast<std::chrono::milliseconds>(limits::node_lease)
        .count();

  std::string listen_address = "127.0.0.1";
  /// 0 takes a free port.
  uint16_t port = 8080;

  /// libpq connection strings or URIs.
  std::string oltp_dsn;
  std::string analytics_dsn;
  /// A read replica of the aggregates' database: pieces of history are read
  /// there when it has caught up. Empty: none. Never asked about ownership,
  /// cursors or what is applied.
  std::string analytics_replica_dsn;
  /// `nats://user:password@host:port`, several with commas.
  std::string nats_url;

  /// TRANSACTION WRITERS, each with a session and a thread.
  size_t writers = 2;
  /// AGGREGATE WRITERS, likewise.
  size_t aggregate_writers = 2;
  /// PURCHASE READERS and AGGREGATE READERS, each.
  size_t readers = 2;
  /// Threads of the cooperative actors; 0: one a core.
  size_t scheduler_threads = 0;

  size_t write_batch_max = limits::write_batch_max;
  size_t purchases_in_flight_max = limits::purchases_in_flight_max;
  /// Purchases a second and key; 0: no limit.
  double rate_limit = 0;

  /// Replicas of the stream; 3 or 5 need a cluster of as many servers.
  int stream_replicas = 1;
  /// The cluster, and the tags of servers (with commas), that the stream must
  /// be placed on. Empty: anywhere.
  std::string stream_placement_cluster;
  std::string stream_placement_tags;
  /// Bytes; `discard new` beyond it, so the outbox holds what is too much.
  int64_t stream_bytes_max = int64_t{8} << 30;
  /// Days that outbox and event log keep what is done.
  int retention_days = limits::retention_days;

  /// The archive's directory; empty: no archive.
  std::string lake_dir;
  /// A quiet branch's events wait at most this long for a file, seconds.
  unsigned lake_age_s = 60;
  /// The dashboard's files; empty: those that lie beside the program.
  std::string web_dir;

  /// debug, info, warning, error
  std::string log_level = "info";
  /// How long a shutdown may take before it is forced, seconds.
  unsigned shutdown_grace_s = 10;
  /// Test hooks, e.g. `transaction-writer.batch=throw:1`.
  std::string fault_points;
};

/// How one member of `settings` is called, read and described. The member's
/// initialiser is its default.
struct setting {
  /// `oltp-dsn` is `--oltp-dsn`, `oltp-dsn = …` in a file, and the variable
  /// `TILLSTREAM_OLTP_DSN`.
  std::string flag;
  std::string help;
  /// What it may be, in words; empty: any text.
  std::string bounds;
  /// The member's value as text, as `read` takes it.
  std::function<std::string(const settings&)> text;
  /// Sets the member. @returns false when the text is not within `bounds`.
  std::function<bool(settings&, const std::string&)> read;
};

/// All settings, in the order in which `--help` shows them.
const std::vector<setting>& setting_table();

/// The stream's settings, as the broker's client needs them.
storage::nats_settings nats_settings_of(const settings& x);

} // namespace tillstream

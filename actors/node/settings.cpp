#include "actors/node/settings.hpp"

#include "messages/core/error.hpp"
#include "storage/ports/event_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <sstream>
#include <utility>

namespace tillstream {

namespace {

constexpr size_t any_length = std::numeric_limits<size_t>::max();

template <class T>
std::string bounds_of(T min, T max) {
  return max == std::numeric_limits<T>::max()
           ? fmt::format("{} or more", min)
           : fmt::format("{} to {}", min, max);
}

/// Numbers are read with their sign: read without one, -1 is a large number.
template <class Number>
bool read_number(const std::string& text, Number& x) {
  auto end = text.data() + text.size();
  auto [stop, err] = std::from_chars(text.data(), end, x);
  return err == std::errc{} && stop == end;
}

template <class Member, class Wide>
setting number(const char* flag, Member settings::*where, Wide min, Wide max,
               const char* help) {
  return {flag, help, bounds_of(min, max),
          [where](const settings& x) { return fmt::format("{}", x.*where); },
          [where, min, max](settings& x, const std::string& text) {
            Wide value{};
            // Written so that NaN is refused.
            if (!read_number(text, value) || !(value >= min && value <= max))
              return false;
            x.*where = static_cast<Member>(value);
            return true;
          }};
}

template <class Member>
setting whole(const char* flag, Member settings::*where, int64_t min,
              int64_t max, const char* help) {
  return number(flag, where, min, max, help);
}

setting text(const char* flag, std::string settings::*where, const char* help,
             size_t bytes_max = any_length) {
  return {flag, help,
          bytes_max == any_length ? std::string{}
                                  : fmt::format("at most {} bytes", bytes_max),
          [where](const settings& x) { return x.*where; },
          [where, bytes_max](settings& x, const std::string& value) {
            x.*where = value;
            return value.size() <= bytes_max;
          }};
}

setting choice(const char* flag, std::string settings::*where,
               std::vector<std::string> words, const char* help) {
  return {flag, help, fmt::format("{}", fmt::join(words, ", ")),
          [where](const settings& x) { return x.*where; },
          [where, words](settings& x, const std::string& value) {
            x.*where = value;
            return std::find(words.begin(), words.end(), value) != words.end();
          }};
}

setting roles(const char* flag, node_roles settings::*where, const char* help) {
  return {flag, help, "one or more of intake, shards, query, with commas",
          [where](const settings& x) { return to_string(x.*where); },
          [where](settings& x, const std::string& value) {
            auto parsed = parse_roles(value);
            if (parsed)
              x.*where = *parsed;
            return static_cast<bool>(parsed);
          }};
}

std::vector<setting> make_table() {
  using s = settings;
  constexpr auto unbounded = std::numeric_limits<int64_t>::max();
  constexpr auto endless = std::numeric_limits<double>::max();
  return {
    text("node-name", &s::node_name,
         "unique among the nodes; empty: host name and port", 200),
    roles("roles", &s::roles, "what this node does"),
    whole("node-lease-ms", &s::node_lease_ms, 500, 600'000,
          "how long a heartbeat holds; a dead node's branches wait that long"),
    text("listen", &s::listen_address, "address to listen on"),
    whole("port", &s::port, 0, 65'535, "HTTP port; 0 takes a free one"),
    text("oltp-dsn", &s::oltp_dsn, "PostgreSQL of the purchases"),
    text("analytics-dsn", &s::analytics_dsn, "PostgreSQL of the aggregates"),
    text("analytics-replica-dsn", &s::analytics_replica_dsn,
         "read replica of the latter, for slices of history; empty: none"),
    text("nats-url", &s::nats_url,
         "nats-server with JetStream; several with commas"),
    whole("writers", &s::writers, 1, 64,
          "transaction writers, a connection and a thread each"),
    whole("aggregate-writers", &s::aggregate_writers, 1, 64,
          "aggregate writers, likewise"),
    whole("readers", &s::readers, 1, 64, "readers of each database, likewise"),
    whole("scheduler-threads", &s::scheduler_threads, 0, 256,
          "threads of the cooperative actors; 0: one a core"),
    whole("write-batch-max", &s::write_batch_max, 1, limits::write_batch_max,
          "purchases of one transaction"),
    whole("purchases-in-flight-max", &s::purchases_in_flight_max, 1, 1'000'000,
          "accepted and not yet answered; beyond it 503"),
    number("rate-limit", &s::rate_limit, 0.0, endless,
           "purchases a second and key; beyond it 429; 0: off"),
    whole("stream-replicas", &s::stream_replicas, 1, 5,
          "JetStream replicas; 3 or 5 need a cluster of as many servers"),
    text("stream-placement-cluster", &s::stream_placement_cluster,
         "NATS cluster that the stream is placed in; empty: any"),
    text("stream-placement-tags", &s::stream_placement_tags,
         "tags that its servers must have, with commas; empty: none"),
    whole("stream-bytes-max", &s::stream_bytes_max, 1 << 20, unbounded,
          "bytes that the stream may hold"),
    whole("retention-days", &s::retention_days, 1, 3650,
          "days that outbox and event log keep what is done"),
    text("lake-dir", &s::lake_dir,
         "archive raw events here; empty: no archive"),
    whole("lake-age", &s::lake_age_s, 1, 86'400,
          "seconds that a quiet branch's events wait for a file"),
    text("web-dir", &s::web_dir,
         "files of the dashboard; empty: those beside the program"),
    choice("log-level", &s::log_level, {"debug", "info", "warning", "error"},
           "what is logged"),
    whole("shutdown-grace", &s::shutdown_grace_s, 1, 600,
          "seconds for an orderly end before it is forced"),
    text("fault-points", &s::fault_points, "test hooks, `name=throw:count`"),
  };
}

} // namespace

const std::vector<setting>& setting_table() {
  static const auto result = make_table();
  return result;
}

caf::expected<node_roles> parse_roles(const std::string& text) {
  node_roles result{false, false, false};
  std::istringstream in{text};
  std::string word;
  while (std::getline(in, word, ',')) {
    if (word == "intake")
      result.intake = true;
    else if (word == "shards")
      result.shards = true;
    else if (word == "query")
      result.query = true;
    else
      return caf::make_error(errc::invalid, "there is no role '" + word
                                              + "': intake, shards, query");
  }
  if (!result.intake && !result.shards && !result.query)
    return caf::make_error(errc::invalid, std::string{"a node needs a role"});
  return result;
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> result;
  std::istringstream in{text};
  for (std::string word; std::getline(in, word, ',');)
    if (!word.empty())
      result.push_back(word);
  return result;
}

std::string to_string(const node_roles& x) {
  std::string result;
  auto add = [&result](bool has, const char* role) {
    if (has)
      result += (result.empty() ? "" : ",") + std::string{role};
  };
  add(x.intake, "intake");
  add(x.shards, "shards");
  add(x.query, "query");
  return result;
}

storage::nats_settings nats_settings_of(const settings& x) {
  storage::nats_settings result;
  result.url = x.nats_url;
  result.stream.replicas = x.stream_replicas;
  result.stream.placement_cluster = x.stream_placement_cluster;
  result.stream.placement_tags = split_list(x.stream_placement_tags);
  result.stream.bytes_max = x.stream_bytes_max;
  // At least the outbox's retention, so that what is still there can be read
  // from either.
  result.stream.age_max_days = x.retention_days + 1;
  return result;
}

} // namespace tillstream

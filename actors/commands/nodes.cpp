#include "actors/commands/commands.hpp"
#include "actors/commands/endpoints.hpp"

#include "actors/cluster/placement_plan.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"
#include "storage/postgres/stores.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <thread>

namespace tillstream::commands {

namespace {

using namespace std::chrono_literals;
namespace po = boost::program_options;

/// How often `drain` checks.
constexpr auto poll_interval = 200ms;

/// The branches that a node owns.
struct owned_branches {
  size_t branches = 0;
  int64_t lowest_epoch = 0;
  int64_t highest_epoch = 0;
};

/// The nodes and what each owns, read one after the other.
struct cluster_state {
  std::vector<node_state> nodes;
  std::map<std::string, owned_branches> owned;
  size_t unowned = 0;
};

caf::expected<cluster_state> read_state(storage::ownership_store& store) {
  auto nodes = store.nodes();
  if (!nodes)
    return nodes.error();
  auto owners = store.owners();
  if (!owners)
    return owners.error();
  cluster_state result;
  result.nodes = std::move(*nodes);
  for (const auto& x : *owners) {
    if (!is_owned(x, result.nodes)) {
      ++result.unowned;
      continue;
    }
    auto& part = result.owned[x.node];
    part.lowest_epoch
      = part.branches == 0 ? x.epoch : std::min(part.lowest_epoch, x.epoch);
    part.highest_epoch = std::max(part.highest_epoch, x.epoch);
    ++part.branches;
  }
  return result;
}

const char* state_of(const node_state& x) {
  if (!x.alive)
    return "gone";
  if (!x.holds)
    return "silent";
  if (x.draining)
    return "draining";
  return x.eligible ? "up" : "unwilling";
}

void print_table(const cluster_state& x) {
  constexpr auto row
    = "{:24}  {:9}  {:19}  {:>8}  {:>11}  {:>9}  {:>9}  {:8}  {}\n";
  std::cout << fmt::format(row, "node", "state", "roles", "branches", "epochs",
                           "lag", "heartbeat", "version", "http");
  for (const auto& node : x.nodes) {
    auto i = x.owned.find(node.name);
    auto part = i != x.owned.end() ? i->second : owned_branches{};
    auto epochs = part.branches > 0 ? fmt::format("{}..{}", part.lowest_epoch,
                                                  part.highest_epoch)
                                    : std::string{"-"};
    std::cout << fmt::format(
      row, node.name, state_of(node), node.roles, part.branches, epochs,
      fmt::format("{} ms", node.lag_ms), fmt::format("{} ms", node.silent_ms),
      node.version, node.http);
  }
  if (x.unowned > 0)
    std::cout << x.unowned << " branches without owner" << std::endl;
}

void print_json(const cluster_state& x) {
  std::string out;
  json_writer json{out};
  json.begin_object().key("nodes").begin_array();
  for (const auto& node : x.nodes) {
    auto i = x.owned.find(node.name);
    auto part = i != x.owned.end() ? i->second : owned_branches{};
    json.begin_object()
      .field("node", node.name)
      .field("incarnation", node.incarnation)
      .field("state", state_of(node))
      .field("roles", node.roles)
      .field("branches", static_cast<int64_t>(part.branches))
      .field("lowest_epoch", part.lowest_epoch)
      .field("highest_epoch", part.highest_epoch)
      .field("lag_ms", node.lag_ms)
      .field("silent_ms", node.silent_ms)
      .field("version", node.version)
      .field("http", node.http)
      .end_object();
  }
  json.end_array()
    .field("unowned", static_cast<int64_t>(x.unowned))
    .end_object();
  std::cout << out << std::endl;
}

caf::expected<storage::ownership_store_ptr>
open_store(const parsed_command& command) {
  auto node_settings = command.node;
  locate_servers(command, node_settings);
  return storage::open_ownership_store(node_settings.analytics_dsn);
}

// -- nodes --------------------------------------------------------------------

command_options nodes_options() {
  command_options result{"nodes"};
  auto add = result.flags.add_options();
  add("json", "for programs");
  return result;
}

int nodes(const parsed_command& command) {
  auto store = open_store(command);
  if (!store)
    return report(store.error());
  auto now = read_state(**store);
  if (!now)
    return report(now.error());
  if (command.values.count("json") > 0)
    print_json(*now);
  else
    print_table(*now);
  return done;
}

// -- drain --------------------------------------------------------------------

command_options drain_options() {
  command_options result{"drain NODE"};
  auto add = result.flags.add_options();
  add("undo", "let it own branches again");
  add("wait", po::value<std::string>()->default_value("60s"),
      "how long the branches may take to move");
  add("node", po::value<std::string>(), "which");
  result.positional.add("node", 1);
  return result;
}

/// Waits until the node owns nothing.
int await_empty(storage::ownership_store& store, const std::string& name,
                std::chrono::seconds timeout) {
  auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    auto now = read_state(store);
    if (!now)
      return report(now.error());
    auto left = now->owned[name].branches;
    if (left == 0) {
      std::cout << name << " owns no branches" << std::endl;
      return done;
    }
    auto others = candidates(now->nodes);
    if (others.empty()
        || std::find(others.begin(), others.end(), name) != others.end()) {
      std::cerr << "tillstream: no other node could take the branches of "
                << name << "; it is asked to give them away when one joins"
                << std::endl;
      return failed;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      std::cerr << "tillstream: " << name << " still owns " << left
                << " branches" << std::endl;
      return failed;
    }
    std::this_thread::sleep_for(poll_interval);
  }
}

int drain(const parsed_command& command) {
  if (command.values.count("node") == 0)
    throw usage_error("drain: which node? `tillstream nodes` lists them");
  auto name = command.get<std::string>("node");
  auto timeout
    = std::chrono::seconds{parse_duration(command.get<std::string>("wait"))};
  auto store = open_store(command);
  if (!store)
    return report(store.error());
  auto undo = command.values.count("undo") > 0;
  if (auto asked = (*store)->set_draining(name, !undo); !asked)
    return report(asked.error());
  if (!undo)
    return await_empty(**store, name, timeout);
  std::cout << name << " may own branches again" << std::endl;
  return done;
}

} // namespace

command nodes_command() {
  return {"nodes", "[--data-dir DIR] [--json]",
          "who is there, and who owns how many branches", nodes_options, nodes};
}

command drain_command() {
  return {"drain", "NODE [--undo] [--wait 60s]",
          "has a node give its branches to the others", drain_options, drain};
}

} // namespace tillstream::commands

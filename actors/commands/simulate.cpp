#include "actors/simulate/simulate.hpp"
#include "actors/commands/commands.hpp"
#include "actors/commands/endpoints.hpp"
#include "actors/commands/preparation.hpp"
#include "actors/commands/signals.hpp"

#include "actors/directory/api_key.hpp"
#include "messages/core/error.hpp"
#include "storage/postgres/stores.hpp"

#include <atomic>
#include <chrono>
#include <iostream>
#include <thread>

namespace tillstream::commands {

namespace {

using namespace std::chrono_literals;
namespace po = boost::program_options;

command_options simulate_flags() {
  command_options result{"simulate", "the node and the servers of the `up` "
                                     "that runs there"};
  auto add = result.flags.add_options();
  add("url", po::value<std::string>()->default_value(""),
      "the node, http://HOST:PORT");
  add("csv", po::value<std::string>(),
      "sales to play; without it made-up shoppers");
  add(
    "live", po::bool_switch(),
    "to watch on the page: first a history that ends now (the CSV's, shifted "
    "by whole weeks; in an empty chain made-up weeks), then sales of now, 2 a "
    "second unless --rate says otherwise");
  add("rate", po::value<double>()->default_value(0, "0"),
      "purchases a second; 0: as fast as answers come");
  add("tills", po::value<size_t>()->default_value(8), "connections");
  add("for", po::value<std::string>()->default_value("0"),
      "how long, e.g. 90s, 5m; 0: until the CSV ends, or Ctrl-C");
  add("seed", po::value<uint64_t>()->default_value(1),
      "the same seed makes the same shoppers");
  return result;
}

/// @throws usage_error
void set_address(simulate_options& x, const std::string& url) {
  constexpr std::string_view scheme = "http://";
  auto colon = url.rfind(':');
  if (url.rfind(scheme, 0) != 0 || colon < scheme.size())
    throw usage_error("--url http://HOST:PORT");
  x.host = url.substr(scheme.size(), colon - scheme.size());
  try {
    x.port = static_cast<uint16_t>(std::stoul(url.substr(colon + 1)));
  } catch (const std::exception&) {
    throw usage_error("--url http://HOST:PORT");
  }
}

/// Keys made for one simulation; revoked when it is over.
class borrowed_keys {
public:
  explicit borrowed_keys(storage::directory_store& store) : store_(store) {
    // nop
  }

  borrowed_keys(const borrowed_keys&) = delete;
  borrowed_keys& operator=(const borrowed_keys&) = delete;

  ~borrowed_keys() {
    if (digests_.empty())
      return;
    auto all = store_.list_keys();
    if (!all)
      return;
    for (const auto& key : *all)
      for (const auto& digest : digests_)
        if (key.digest == digest)
          store_.revoke_key(key.key_id);
  }

  caf::expected<std::string> borrow(const std::string& branch_id) {
    auto secret = create_key(store_, storage::key_role::till, branch_id,
                             "borrowed by simulate");
    if (secret)
      digests_.push_back(secret_digest(*secret));
    return secret;
  }

private:
  storage::directory_store& store_;
  std::vector<sha256_digest> digests_;
};

/// Sets the flag when a signal comes, until it is destroyed.
class stopper {
public:
  stopper()
    : thread_([this] {
        while (!over_ && !stop_)
          if (signals_.wait(100ms))
            stop_ = true;
      }) {
    // nop
  }

  ~stopper() {
    over_ = true;
    thread_.join();
  }

  const std::atomic<bool>* flag() const {
    return &stop_;
  }

private:
  stop_signals signals_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> over_{false};
  std::thread thread_;
};

int run_simulate(const parsed_command& command) {
  auto node_settings = command.node;
  auto found = locate_servers(command, node_settings);
  auto store = storage::open_directory_store(node_settings.oltp_dsn);
  if (!store)
    return report(store.error());
  auto snapshot = (*store)->load();
  if (!snapshot)
    return report(snapshot.error());
  simulate_options options;
  auto url = command.get<std::string>("url");
  if (url.empty())
    url = found.http.empty() ? "http://" + node_settings.listen_address + ":"
                                 + std::to_string(node_settings.port)
                             : found.http;
  set_address(options, url);
  options.chain = snapshot->chain;
  options.till_keys = found.till_keys;
  if (command.values.count("csv") > 0)
    options.csv_path = command.get<std::string>("csv");
  options.live = command.get<bool>("live");
  options.rate = command.get<double>("rate");
  options.tills = command.get<size_t>("tills");
  options.duration_s = parse_duration(command.get<std::string>("for"));
  options.seed = command.get<uint64_t>("seed");
  borrowed_keys keys{**store};
  for (const auto& where : options.chain.branches) {
    auto& secret = options.till_keys[where.id];
    if (!secret.empty())
      continue;
    auto borrowed = keys.borrow(where.id);
    if (!borrowed)
      return report(borrowed.error());
    secret = *borrowed;
  }
  // A node reads new keys within limits::key_refresh_interval; until then the
  // tills would be strangers.
  if (found.till_keys.size() < options.till_keys.size())
    std::this_thread::sleep_for(limits::key_refresh_interval + 1s);
  stopper signals;
  options.stop = signals.flag();
  switch (simulate(options)) {
    case simulate_outcome::done:
      return done;
    case simulate_outcome::failed:
      return failed;
    case simulate_outcome::invalid:
      break;
  }
  return wrong_usage;
}

} // namespace

command simulate_command() {
  return {"simulate", "[--csv FILE] [--live] [--rate N] [--tills N] [--for T]",
          "play tills over HTTP", simulate_flags, run_simulate};
}

} // namespace tillstream::commands

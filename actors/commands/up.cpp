#include "actors/commands/commands.hpp"
#include "actors/commands/endpoints.hpp"
#include "actors/commands/preparation.hpp"
#include "actors/commands/signals.hpp"
#include "actors/commands/watch.hpp"

#include "actors/directory/api_key.hpp"
#include "actors/node/node.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "storage/postgres/stores.hpp"
#include "storage/servers/private_servers.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <set>

namespace tillstream::commands {

namespace {

using namespace std::chrono_literals;
namespace po = boost::program_options;

constexpr std::string_view log_server_gone = "up.server_gone";
constexpr std::string_view log_not_restarted = "up.server_not_restarted";
constexpr std::string_view log_not_ready = "up.not_ready";

/// How often the servers are checked.
constexpr auto watch_interval = 200ms;
/// A server that dies again and again is not started more often than this.
constexpr auto restart_pause = 1s;

/// Something that `up` cannot go on without, with the sentence to print.
class start_failure : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

template <class T>
T need(caf::expected<T> x) {
  if (!x)
    throw start_failure(describe(x.error()));
  return std::move(*x);
}

void need(const caf::expected<void>& x) {
  if (!x)
    throw start_failure(describe(x.error()));
}

void say(const std::string& sentence) {
  std::cout << "  " << sentence << std::endl;
}

/// Keys of an earlier `up` that still work are kept; others are made anew.
class key_ring {
public:
  explicit key_ring(storage::directory_store& store) : store_(store) {
    for (const auto& key : need(store.load()).keys)
      valid_.insert(key.digest);
  }

  void ensure(std::string& secret, storage::key_role role,
              const std::string& branch_id) {
    if (!secret.empty() && valid_.count(secret_digest(secret)) > 0)
      return;
    secret = need(create_key(store_, role, branch_id, "made by up"));
  }

private:
  storage::directory_store& store_;
  std::set<sha256_digest> valid_;
};

void ensure_keys(const settings& node, endpoints& x) {
  auto store = need(storage::open_directory_store(node.oltp_dsn));
  key_ring keys{*store};
  keys.ensure(x.owner_key, storage::key_role::owner, "");
  keys.ensure(x.operator_key, storage::key_role::operator_, "");
  std::map<std::string, std::string> tills;
  for (const auto& where : need(store->load()).chain.branches) {
    auto& secret = tills[where.id];
    if (auto known = x.till_keys.find(where.id); known != x.till_keys.end())
      secret = known->second;
    keys.ensure(secret, storage::key_role::till, where.id);
  }
  x.till_keys = std::move(tills);
}

/// curl reads the key from this file, so that no secret ends up in a
/// terminal's history or a service's log.
std::string
write_till_header(const std::string& dir, const std::string& secret) {
  auto path = dir + "/first-till.header";
  ::unlink(path.c_str());
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                  S_IRUSR | S_IWUSR);
  auto text = "Authorization: Bearer " + secret + "\n";
  if (fd < 0
      || ::write(fd, text.data(), text.size())
           != static_cast<ssize_t>(text.size()))
    throw start_failure("cannot write " + path);
  ::close(fd);
  return path;
}

/// A link that signs in without the key; empty when none could be made, which
/// is no reason not to start.
std::string make_link(const settings& node, const endpoints& x) {
  auto store = storage::open_directory_store(node.oltp_dsn);
  if (!store)
    return {};
  auto known = (*store)->load();
  if (!known)
    return {};
  auto digest = secret_digest(x.owner_key);
  for (const auto& key : known->keys) {
    if (key.digest != digest)
      continue;
    auto link = create_sign_in_link(**store, key.key_id, x.http);
    return link ? *link : std::string{};
  }
  return {};
}

void announce(const std::string& dir, const endpoints& x,
              const std::string& link) {
  const auto& [branch, secret] = *x.till_keys.begin();
  auto header = write_till_header(dir, secret);
  std::cout << "\nTillstream is ready: " << x.http
            << "\n\n  the owner's page, signed in once within an hour:\n\n"
            << (link.empty() ? x.http : link)
            << "\n\n  keys and addresses:  " << dir << "/endpoints.json"
            << "\n  a first sale, to paste:\n\n"
            << "curl -sS " << x.http << "/purchases -H '@" << header
            << "' -H 'Content-Type: application/json' -d '{\"branch_id\":\""
            << branch
            << "\",\"pos_id\":\"pos-1\",\"cashier_id\":\"anna\","
               "\"receipt_id\":\"first-'$(date +%s)'\","
               "\"idempotency_key\":\"'$(cat "
               "/proc/sys/kernel/random/uuid)'\","
               "\"items\":[{\"product_id\":\"espresso\",\"name\":\"Espresso\","
               "\"unit_price\":\"2.50\",\"qty\":1}]}'"
            << "\n\n  Ctrl-C stops everything.\n"
            << std::endl;
}

/// An address to reach a listener of our own at.
std::string reachable(const std::string& listen_address) {
  if (listen_address == "0.0.0.0")
    return "127.0.0.1";
  return listen_address == "::" ? "::1" : listen_address;
}

/// Starts a server again that died under us: the node itself only waits.
void restart_dead_server(storage::private_servers& servers) {
  if (auto gone = servers.check(); !gone.empty())
    log::warning(log_server_gone, {{"what", gone}});
  auto postgres_gone = servers.postgres_pid() <= 0;
  if (!postgres_gone && servers.nats_pid() > 0)
    return;
  static auto last = std::chrono::steady_clock::time_point{};
  auto now = std::chrono::steady_clock::now();
  if (now - last < restart_pause)
    return;
  last = now;
  auto started
    = postgres_gone ? servers.start_postgres() : servers.start_nats();
  if (!started)
    log::error(log_not_restarted, {{"why", describe(started.error())}});
}

int watch(stop_signals& signals, storage::private_servers& servers,
          const give_up& end) {
  while (!signals.wait(watch_interval)) {
    if (end.happened()) {
      std::cerr << "tillstream: giving up: " << end.reason() << std::endl;
      return failed;
    }
    restart_dead_server(servers);
  }
  return done;
}

int run_up(const parsed_command& command, const std::string& dir,
           stop_signals& signals) {
  auto node_settings = command.node;
  // One a chain, and the same after a crash on another port: it need not wait
  // until its own lease runs out.
  if (node_settings.node_name.empty())
    node_settings.node_name = "up";
  storage::private_server_options options;
  options.data_dir = dir;
  options.progress = say;
  auto servers = need(storage::private_servers::start(std::move(options)));
  endpoints known;
  if (auto before = read_endpoints(dir))
    known = *before;
  else if (before.error() != errc::not_found)
    throw start_failure(describe(before.error()));
  node_settings.oltp_dsn = known.oltp_dsn = servers->oltp_dsn();
  node_settings.analytics_dsn = known.analytics_dsn = servers->analytics_dsn();
  node_settings.nats_url = known.nats_url = servers->nats_url();
  need(prepare_databases(node_settings, command.text("chain"), say));
  ensure_keys(node_settings, known);
  give_up end;
  auto running = need(node::start(
    node_settings, [&end](std::string why) { end.tell(std::move(why)); }));
  known.http = "http://" + reachable(node_settings.listen_address) + ":"
               + std::to_string(running->port());
  need(write_endpoints(dir, known));
  if (!wait_until_ready(reachable(node_settings.listen_address),
                        running->port(), end))
    log::warning(log_not_ready, {{"see", known.http + "/readyz"}});
  announce(dir, known, make_link(node_settings, known));
  auto code = watch(signals, *servers, end);
  std::cout << "  stopping" << std::endl;
  signals.release();
  auto in_time = running->stop();
  if (in_time)
    running.reset();
  servers->stop();
  if (!in_time)
    // A thread of the node hangs in a call: nobody can wait for it.
    _exit(failed);
  std::cout << "  stopped" << std::endl;
  return code;
}

command_options up_options() {
  command_options result{"up",
                         "where everything is kept; for root "
                         "/var/lib/tillstream, else ~/.local/share/tillstream"};
  result.flags.add_options()("chain", po::value<std::string>(),
                             "JSON file with the branches");
  return result;
}

int up(const parsed_command& command) {
  stop_signals signals;
  auto dir = data_dir(command);
  std::error_code failure;
  // Relative paths end up in files that other programs read.
  dir = std::filesystem::absolute(dir, failure).lexically_normal().string();
  std::cout << "Tillstream in " << dir << std::endl;
  try {
    return run_up(command, dir, signals);
  } catch (const start_failure& x) {
    std::cerr << "tillstream: " << x.what() << std::endl;
    return failed;
  }
}

} // namespace

command up_command() {
  return {"up", "[--data-dir DIR] [--port N] [--chain FILE]",
          "everything on this machine: servers, schemas, one node", up_options,
          up};
}

} // namespace tillstream::commands

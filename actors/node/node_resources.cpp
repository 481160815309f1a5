#include "actors/node/node_resources.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/pacing.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "storage/postgres/server_checks.hpp"
#include "storage/postgres/stores.hpp"

#include <unistd.h>

#include <array>
#include <utility>

namespace tillstream {

namespace {

constexpr std::string_view log_broker_unavailable = "node.broker_unavailable";

log::level level_of(const std::string& name) {
  if (name == "debug")
    return log::level::debug;
  if (name == "warning")
    return log::level::warning;
  return name == "error" ? log::level::error : log::level::info;
}

std::string node_name_of(const settings& how) {
  if (!how.node_name.empty())
    return how.node_name;
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0)
    host[0] = '\0';
  auto unique = how.port != 0 ? static_cast<long>(how.port)
                              : static_cast<long>(::getpid());
  return std::string{host.data()} + ":" + std::to_string(unique);
}

caf::error load_page(node_resources& x) {
  auto dir = x.how.web_dir.empty() ? default_web_dir() : x.how.web_dir;
  if (dir.empty())
    return {};
  auto page = web_files::load(dir);
  if (!page)
    return page.error();
  x.page = std::move(*page);
  return {};
}

caf::error load_lake(node_resources& x) {
  if (x.how.lake_dir.empty() || !x.how.roles.shards)
    return {};
  x.lake = std::make_shared<storage::event_lake>(x.how.lake_dir);
  if (auto usable = x.lake->prepare(); !usable)
    return usable.error();
  return {};
}

/// @returns `errc::invalid` with all that is wrong with a server.
caf::error check_database(const std::string& dsn, const char* schema,
                          const char* setting) {
  if (dsn.empty())
    return caf::make_error(errc::invalid, std::string{setting} + " is not set");
  auto complaints = storage::check_server(dsn, schema);
  if (!complaints)
    return complaints.error();
  if (complaints->empty())
    return {};
  std::string all
    = std::string{"the "} + schema + " database is not safe to use:";
  for (const auto& complaint : *complaints)
    all += "\n  - " + complaint;
  return caf::make_error(errc::invalid, all);
}

/// A broker that is away is no reason not to sell; one that is wrong is.
caf::error check_broker(const storage::nats_settings& broker) {
  if (broker.url.empty())
    return caf::make_error(errc::invalid, std::string{"nats-url is not set"});
  auto stream = storage::ensure_stream(broker);
  if (stream)
    return {};
  if (stream.error() == errc::invalid)
    return stream.error();
  log::warning(log_broker_unavailable, {{"why", describe(stream.error())}});
  return {};
}

caf::error load_directory(node_resources& x) {
  auto store = storage::open_directory_store(x.how.oltp_dsn);
  if (!store)
    return store.error();
  auto snapshot = (*store)->load();
  if (!snapshot)
    return snapshot.error();
  x.directory = std::make_shared<directory_view>();
  x.directory->set(std::make_shared<const directory>(*snapshot));
  return {};
}

caf::error bind_port(node_resources& x) {
  http_server_options options;
  options.address = x.how.listen_address;
  options.port = x.how.port;
  auto server = http_server::bind(std::move(options));
  if (!server)
    return server.error();
  x.server = std::move(*server);
  return {};
}

/// What needs no server comes first: it costs nothing to find out.
caf::error load(node_resources& x) {
  if (auto armed = arm_fault_points(x.how.fault_points); !armed)
    return armed.error();
  if (auto err = load_page(x))
    return err;
  if (auto err = load_lake(x))
    return err;
  if (auto err = check_database(x.how.oltp_dsn, "oltp", "oltp-dsn"))
    return err;
  if (auto err
      = check_database(x.how.analytics_dsn, "analytics", "analytics-dsn"))
    return err;
  if (auto err = check_broker(x.broker))
    return err;
  if (auto err = load_directory(x))
    return err;
  return bind_port(x);
}

} // namespace

caf::expected<node_resources> load_node_resources(const settings& how) {
  log::set_level(level_of(how.log_level));
  node_resources result;
  result.how = how;
  result.name = node_name_of(how);
  result.broker = nats_settings_of(how);
  result.broker.client_name = "tillstream " + result.name;
  result.broker.receive_window = pacing::receive_window;
  if (auto err = load(result))
    return err;
  return result;
}

} // namespace tillstream

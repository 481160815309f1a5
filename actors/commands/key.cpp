#include "actors/commands/commands.hpp"
#include "actors/commands/endpoints.hpp"
#include "actors/commands/preparation.hpp"

#include "messages/core/error.hpp"
#include "storage/postgres/stores.hpp"

#include <fmt/format.h>

#include <iostream>

namespace tillstream::commands {

namespace {

namespace po = boost::program_options;

command_options key_options() {
  command_options result{"key create | list | revoke ID | link [ID]"};
  auto add = result.flags.add_options();
  add("role", po::value<std::string>(), "create: till, owner, operator");
  add("branch", po::value<std::string>()->default_value(""),
      "create: the till's branch");
  add("label", po::value<std::string>()->default_value(""),
      "create: a name for people");
  add("action", po::value<std::string>(), "create, list, revoke, link");
  add("key-id", po::value<std::string>(), "revoke, link: which");
  add("url", po::value<std::string>()->default_value(""),
      "link: the node, http://HOST:PORT");
  result.positional.add("action", 1);
  result.positional.add("key-id", 1);
  return result;
}

int create(const parsed_command& command, storage::directory_store& store) {
  if (command.values.count("role") == 0)
    throw usage_error("key create: --role till, owner or operator");
  auto role = storage::parse_key_role(command.get<std::string>("role"));
  if (!role)
    throw usage_error("key create: --role till, owner or operator");
  auto branch_id = command.get<std::string>("branch");
  if ((*role == storage::key_role::till) == branch_id.empty())
    throw usage_error("key create: a till's key, and only that, is for a "
                      "--branch");
  if (!branch_id.empty()) {
    auto known = store.load();
    if (!known)
      return report(known.error());
    if (known->chain.find(branch_id) == nullptr)
      throw usage_error("key create: the chain has no branch '" + branch_id
                        + "'");
  }
  auto secret
    = create_key(store, *role, branch_id, command.get<std::string>("label"));
  if (!secret)
    return report(secret.error());
  std::cout << *secret << std::endl;
  std::cerr << "This is the only time that the key is shown." << std::endl;
  return done;
}

int list(storage::directory_store& store) {
  auto keys = store.list_keys();
  if (!keys)
    return report(keys.error());
  constexpr auto row = "{:36}  {:8}  {:16}  {:24}  {:24}  {}\n";
  std::cout << fmt::format(row, "id", "role", "branch", "created", "revoked",
                           "label");
  for (const auto& key : *keys)
    std::cout << fmt::format(
      row, to_string(key.key_id), to_string(key.role),
      key.branch_id.empty() ? "-" : key.branch_id, to_rfc3339(key.created_at),
      key.revoked_at ? to_rfc3339(*key.revoked_at) : "-", key.label);
  return done;
}

int revoke(const parsed_command& command, storage::directory_store& store) {
  if (command.values.count("key-id") == 0)
    throw usage_error("key revoke: which? `key list` shows the ids");
  auto id = parse_uuid(command.get<std::string>("key-id"));
  if (!id)
    throw usage_error("key revoke: that is no key id; `key list` shows them");
  if (auto revoked = store.revoke_key(*id); !revoked)
    return report(revoked.error());
  std::cout << "revoked; every node refuses it within 5 seconds" << std::endl;
  return done;
}

/// The named owner's key, or else the oldest.
caf::expected<uuid>
owner_key(const parsed_command& command, storage::directory_store& store) {
  std::optional<uuid> wanted;
  if (command.values.count("key-id") > 0) {
    wanted = parse_uuid(command.get<std::string>("key-id"));
    if (!wanted)
      throw usage_error("key link: that is no key id; `key list` shows them");
  }
  auto keys = store.list_keys();
  if (!keys)
    return keys.error();
  for (const auto& key : *keys)
    if (key.role == storage::key_role::owner && !key.revoked_at
        && (!wanted || key.key_id == *wanted))
      return key.key_id;
  return caf::make_error(errc::not_found,
                         std::string{"there is no such key of an owner"});
}

int link(const parsed_command& command, storage::directory_store& store,
         const std::string& http) {
  if (http.empty())
    throw usage_error("key link: --url http://HOST:PORT");
  auto key_id = owner_key(command, store);
  if (!key_id)
    return report(key_id.error());
  auto link = create_sign_in_link(store, *key_id, http);
  if (!link)
    return report(link.error());
  std::cout << *link << std::endl;
  std::cerr << "It signs in once, within an hour." << std::endl;
  return done;
}

int key(const parsed_command& command) {
  auto action = command.values.count("action") > 0
                  ? command.get<std::string>("action")
                  : std::string{};
  if (action != "create" && action != "list" && action != "revoke"
      && action != "link")
    throw usage_error("key: create, list, revoke or link");
  auto node_settings = command.node;
  auto found = locate_servers(command, node_settings);
  auto store = storage::open_directory_store(node_settings.oltp_dsn);
  if (!store)
    return report(store.error());
  if (action == "create")
    return create(command, **store);
  if (action == "link") {
    auto url = command.get<std::string>("url");
    return link(command, **store, url.empty() ? found.http : url);
  }
  return action == "list" ? list(**store) : revoke(command, **store);
}

} // namespace

command key_command() {
  return {
    "key",
    "create --role ROLE [--branch ID] [--label TEXT] | list | revoke ID | "
    "link [ID]",
    "API keys of tills, owners and operators", key_options, key};
}

} // namespace tillstream::commands

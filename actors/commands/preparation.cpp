#include "actors/commands/preparation.hpp"

#include "actors/directory/api_key.hpp"
#include "actors/directory/page_session.hpp"
#include "messages/codec/chain_file.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "storage/postgres/migrations.hpp"
#include "storage/postgres/stores.hpp"

#include <fstream>
#include <sstream>

namespace tillstream::commands {

namespace {

caf::expected<chain> read_chain(const std::string& path) {
  std::ifstream in{path};
  if (!in)
    return caf::make_error(errc::invalid, "cannot read the chain file " + path);
  std::ostringstream text;
  text << in.rdbuf();
  auto result = parse_chain(text.str());
  if (!result)
    return caf::make_error(errc::invalid,
                           path + ": " + describe(result.error()));
  return result;
}

caf::expected<void>
store_chain(const settings& node, const std::string& chain_file) {
  auto store = storage::open_directory_store(node.oltp_dsn);
  if (!store)
    return store.error();
  if (!chain_file.empty()) {
    auto chain = read_chain(chain_file);
    if (!chain)
      return chain.error();
    return (*store)->save_chain(*chain);
  }
  auto stored = (*store)->load();
  if (stored)
    return caf::unit;
  if (stored.error() != errc::not_found)
    return stored.error();
  return (*store)->save_chain(default_chain());
}

} // namespace

caf::expected<void>
prepare_databases(const settings& node, const std::string& chain_file,
                  const std::function<void(const std::string&)>& progress) {
  struct database {
    const char* schema;
    const std::string& dsn;
  };
  for (const auto& [schema, dsn] :
       {database{"oltp", node.oltp_dsn},
        database{"analytics", node.analytics_dsn}}) {
    auto version = storage::migrate(dsn, schema);
    if (!version)
      return version.error();
    auto changed
      = storage::maintain_partitions(dsn, schema, node.retention_days);
    if (!changed)
      return changed.error();
    progress(std::string{schema} + " schema is at version "
             + std::to_string(*version));
  }
  return store_chain(node, chain_file);
}

caf::expected<std::string>
create_key(storage::directory_store& store, storage::key_role role,
           const std::string& branch_id, const std::string& label) {
  auto now = store.now();
  if (!now)
    return now.error();
  auto secret = make_secret(role);
  storage::api_key key;
  key.key_id = uuid_source{}.v7(*now);
  key.digest = secret_digest(secret);
  key.role = role;
  key.branch_id = branch_id;
  key.label = label;
  key.created_at = *now;
  if (auto added = store.add_key(key); !added)
    return added.error();
  return secret;
}

caf::expected<std::string>
create_sign_in_link(storage::directory_store& store, const uuid& key_id,
                    const std::string& http) {
  auto now = store.now();
  if (!now)
    return now.error();
  auto secret = make_link_secret();
  if (auto added = store.add_sign_in_link(secret_digest(secret), key_id,
                                          *now + limits::sign_in_link_age_max);
      !added)
    return added.error();
  // Behind the '#' no server, proxy or log gets to see it.
  return http + "/#link=" + secret;
}

} // namespace tillstream::commands

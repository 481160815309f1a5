#pragma once

#include "messages/model/chain.hpp"
#include "messages/model/purchase.hpp"

#include <caf/expected.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tillstream::storage {

enum class key_role : uint8_t { till, owner, operator_ };

/// `till`, `owner`, `operator`
std::string to_string(key_role role);
std::optional<key_role> parse_key_role(std::string_view text);

struct api_key {
  uuid key_id;
  sha256_digest digest{};
  key_role role = key_role::till;
  /// Set for tills only.
  std::string branch_id;
  /// For people, e.g. `counter 2`.
  std::string label;
  timestamp created_at;
  std::optional<timestamp> revoked_at;
};

struct catalog_product {
  std::string product_id;
  std::string name;
  std::string category;
};

/// Reference data that every node keeps a copy of.
struct directory_snapshot {
  tillstream::chain chain;
  /// Keys that are not revoked.
  std::vector<api_key> keys;
  std::vector<catalog_product> catalog;
  /// What the cookies of the owner's page are signed with.
  sha256_digest session_secret{};
  /// Sessions of the page that were signed out and would not be over yet.
  std::vector<uuid> ended_sessions;
  /// Grows whenever any of these change.
  int64_t version = 0;
};

/// Small reference tables of the OLTP database: chain, branches, API keys,
/// product catalogue. Calls block; one thread, one store.
class directory_store {
public:
  virtual ~directory_store() = default;

  /// The database's clock, for an estimate of its offset from ours.
  virtual caf::expected<timestamp> now() = 0;

  /// Cheap: one row. Compare with the last snapshot's.
  virtual caf::expected<int64_t> version() = 0;

  virtual caf::expected<directory_snapshot> load() = 0;

  /// Writes chain and branches. Branches that `chain` lacks stay: they may
  /// have sales. A currency other than the stored one is `errc::invalid` once
  /// a purchase exists.
  virtual caf::expected<void> save_chain(const tillstream::chain& chain) = 0;

  virtual caf::expected<void> add_key(const api_key& key) = 0;
  /// All keys, revoked ones too, oldest first.
  virtual caf::expected<std::vector<api_key>> list_keys() = 0;
  /// @returns `errc::not_found`, or nothing. Revoking twice is fine.
  virtual caf::expected<void> revoke_key(const uuid& key_id) = 0;

  /// Keeps the digest of a one-time link that signs the owner of a key in.
  /// @returns `errc::not_found` when there is no such key.
  virtual caf::expected<void>
  add_sign_in_link(const sha256_digest& digest, const uuid& key_id,
                   timestamp expires_at)
    = 0;
  /// Uses a link up. @returns whose key it was for, or `errc::not_found` when
  /// there is no such link, or it was used, or is over.
  virtual caf::expected<uuid> take_sign_in_link(const sha256_digest& digest)
    = 0;
  /// Ends a session of the page before its time. Twice is fine.
  virtual caf::expected<void>
  end_page_session(const uuid& session_id, timestamp expires_at) = 0;

  /// Inserts or replaces products. @returns how many.
  virtual caf::expected<int64_t>
  import_catalog(const std::vector<catalog_product>& products) = 0;
};

using directory_store_ptr = std::unique_ptr<directory_store>;

/// Names and categories by product id; shared, replaced, never changed.
using catalog = std::map<std::string, catalog_product, std::less<>>;
using catalog_ptr = std::shared_ptr<const catalog>;

} // namespace tillstream::storage

#include "storage/ports/directory_store.hpp"

#include "messages/core/hex.hpp"
#include "messages/model/purchase.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/stores.hpp"
#include "storage/postgres/transaction.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace postgres;

// -- statements ---------------------------------------------------------------

constexpr statement select_now{"select_now", R"(
  SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)"};

constexpr statement select_directory_version{"select_directory_version", R"(
  SELECT version FROM directory_version)"};

constexpr statement select_chain{"select_chain", R"(
  SELECT name, currency FROM chain)"};

constexpr statement select_branches{"select_branches", R"(
  SELECT branch_id, name, time_zone, day_start_minutes
  FROM branches
  ORDER BY branch_id)"};

constexpr statement select_products{"select_products", R"(
  SELECT product_id, name, category FROM products ORDER BY product_id)"};

constexpr statement select_keys{"select_api_keys", R"(
  SELECT key_id, encode(digest, 'hex') AS digest, role, branch_id, label,
         (extract(epoch FROM created_at) * 1000)::bigint AS created_at,
         (extract(epoch FROM revoked_at) * 1000)::bigint AS revoked_at
  FROM api_keys
  WHERE $1 OR revoked_at IS NULL
  ORDER BY api_keys.created_at, key_id)"};

constexpr statement other_currency{"is_other_currency", R"(
  SELECT EXISTS (SELECT FROM chain WHERE currency <> $1))"};

constexpr statement has_purchases{"has_purchases", R"(
  SELECT EXISTS (SELECT FROM purchases))"};

constexpr statement upsert_chain{"upsert_chain", R"(
  INSERT INTO chain (name, currency) VALUES ($1, $2)
  ON CONFLICT (only_row) DO UPDATE
  SET name = EXCLUDED.name, currency = EXCLUDED.currency)"};

constexpr statement upsert_branches{"upsert_branches", R"(
  INSERT INTO branches (branch_id, name, time_zone, day_start_minutes)
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[])
  ON CONFLICT (branch_id) DO UPDATE
  SET name = EXCLUDED.name, time_zone = EXCLUDED.time_zone,
      day_start_minutes = EXCLUDED.day_start_minutes)"};

constexpr statement insert_key{"insert_api_key", R"(
  INSERT INTO api_keys
    (key_id, digest, role, branch_id, label, created_at, revoked_at)
  VALUES ($1, decode($2, 'hex'), $3, $4, $5, $6::timestamptz,
          $7::timestamptz))"};

constexpr statement revoke{"revoke_api_key", R"(
  UPDATE api_keys
  SET revoked_at = coalesce(
    revoked_at, date_trunc('milliseconds', clock_timestamp()))
  WHERE key_id = $1)"};

constexpr statement upsert_products{"upsert_products", R"(
  INSERT INTO products (product_id, name, category)
  SELECT DISTINCT ON (product_id) product_id, name, category
  FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
    AS u (product_id, name, category, line)
  ORDER BY product_id, line DESC
  ON CONFLICT (product_id) DO UPDATE
  SET name = EXCLUDED.name, category = EXCLUDED.category)"};

constexpr statement select_session_secret{"select_session_secret", R"(
  SELECT encode(secret, 'hex') FROM page_session_secret)"};

constexpr statement select_ended_sessions{"select_ended_sessions", R"(
  SELECT session_id
  FROM ended_page_sessions
  WHERE expires_at > clock_timestamp())"};

constexpr statement end_session{"end_page_session", R"(
  INSERT INTO ended_page_sessions (session_id, expires_at)
  VALUES ($1, $2::timestamptz)
  ON CONFLICT DO NOTHING)"};

constexpr statement forget_sessions{"forget_ended_sessions", R"(
  DELETE FROM ended_page_sessions WHERE expires_at <= clock_timestamp())"};

constexpr statement insert_link{"insert_sign_in_link", R"(
  INSERT INTO sign_in_links (digest, key_id, expires_at)
  VALUES (decode($1, 'hex'), $2, $3::timestamptz))"};

constexpr statement forget_links{"forget_sign_in_links", R"(
  DELETE FROM sign_in_links WHERE expires_at <= clock_timestamp())"};

// Of two that use a link at once the second finds no row any more.
constexpr statement take_link{"take_sign_in_link", R"(
  DELETE FROM sign_in_links
  WHERE digest = decode($1, 'hex') AND expires_at > clock_timestamp()
  RETURNING key_id)"};

// Two nodes that change the directory at once take turns; whoever reads goes
// on.
constexpr const char* begin_change = "BEGIN; SET LOCAL lock_timeout = '5s'; "
                                     "SELECT FROM directory_version FOR UPDATE";

// Version and content of one moment.
constexpr const char* begin_snapshot
  = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

// -- rows ---------------------------------------------------------------------

sha256_digest read_digest(const pqxx::field& x) {
  auto text = as_text(x);
  sha256_digest result{};
  if (text.size() != result.size() * 2)
    throw std::runtime_error("not the 32 bytes that a digest has");
  for (size_t i = 0; i < result.size(); ++i)
    result[i] = static_cast<uint8_t>(hex_value(text[2 * i]) << 4
                                     | hex_value(text[2 * i + 1]));
  return result;
}

api_key read_key(const pqxx::row& row) {
  auto role = parse_key_role(as_text(row["role"]));
  if (!role)
    throw std::runtime_error("unknown role in api_keys");
  api_key result;
  result.key_id = as_uuid(row["key_id"]);
  result.digest = read_digest(row["digest"]);
  result.role = *role;
  result.branch_id = as_text(row["branch_id"]);
  result.label = as_text(row["label"]);
  result.created_at = as_timestamp(row["created_at"]);
  if (!row["revoked_at"].is_null())
    result.revoked_at = as_timestamp(row["revoked_at"]);
  return result;
}

branch read_branch(const pqxx::row& row) {
  branch result;
  result.id = as_text(row[0]);
  result.name = as_text(row[1]);
  result.time_zone = as_text(row[2]);
  result.day_start_minutes = static_cast<int>(as_int(row[3]));
  return result;
}

// -- the store ----------------------------------------------------------------

class postgres_directory_store : public directory_store {
public:
  explicit postgres_directory_store(connection_ptr db) : db_(std::move(db)) {
    // nop
  }

  caf::expected<timestamp> now() override {
    return guarded(*db_, [&]() -> caf::expected<timestamp> {
      return as_timestamp(db_->exec(select_now)[0][0]);
    });
  }

  caf::expected<int64_t> version() override {
    return guarded(*db_, [&]() -> caf::expected<int64_t> {
      return as_int(db_->exec(select_directory_version)[0][0]);
    });
  }

  caf::expected<directory_snapshot> load() override;
  caf::expected<void> save_chain(const tillstream::chain& chain) override;
  caf::expected<void> add_key(const api_key& key) override;
  caf::expected<std::vector<api_key>> list_keys() override;
  caf::expected<void> revoke_key(const uuid& key_id) override;
  caf::expected<void>
  add_sign_in_link(const sha256_digest& digest, const uuid& key_id,
                   timestamp expires_at) override;
  caf::expected<uuid> take_sign_in_link(const sha256_digest& digest) override;
  caf::expected<void>
  end_page_session(const uuid& session_id, timestamp expires_at) override;
  caf::expected<int64_t>
  import_catalog(const std::vector<catalog_product>& products) override;

private:
  caf::expected<chain> load_chain();
  std::vector<api_key> load_keys(bool revoked_too);
  bool would_mix_currencies(const tillstream::chain& chain);

  connection_ptr db_;
};

caf::expected<chain> postgres_directory_store::load_chain() {
  auto rows = db_->exec(select_chain);
  if (rows.empty())
    return caf::make_error(errc::not_found, "the database has no chain yet");
  chain result;
  result.name = as_text(rows[0][0]);
  auto unit = find_currency(as_text(rows[0][1]));
  if (!unit)
    return caf::make_error(errc::internal, "the chain's currency is unknown");
  result.currency = *unit;
  for (auto row : db_->exec(select_branches))
    result.branches.push_back(read_branch(row));
  return result;
}

std::vector<api_key> postgres_directory_store::load_keys(bool revoked_too) {
  std::vector<api_key> result;
  for (auto row : db_->exec(select_keys, revoked_too))
    result.push_back(read_key(row));
  return result;
}

caf::expected<directory_snapshot> postgres_directory_store::load() {
  return guarded(*db_, [&]() -> caf::expected<directory_snapshot> {
    transaction tx{*db_, begin_snapshot};
    directory_snapshot result;
    result.version = as_int(db_->exec(select_directory_version)[0][0]);
    auto chain = load_chain();
    if (!chain)
      return chain.error();
    result.chain = std::move(*chain);
    result.keys = load_keys(false);
    result.session_secret = read_digest(db_->exec(select_session_secret)[0][0]);
    for (auto row : db_->exec(select_ended_sessions))
      result.ended_sessions.push_back(as_uuid(row[0]));
    for (auto row : db_->exec(select_products))
      result.catalog.push_back(
        {as_text(row[0]), as_text(row[1]), as_text(row[2])});
    return result;
  });
}

/// Amounts are kept in minor units without their currency. The lock keeps a
/// first purchase from coming in between.
bool postgres_directory_store::would_mix_currencies(
  const tillstream::chain& chain) {
  if (!as_bool(db_->exec(other_currency, chain.currency.code)[0][0]))
    return false;
  if (as_bool(db_->exec(has_purchases)[0][0]))
    return true;
  db_->run("LOCK TABLE purchases IN SHARE MODE");
  return as_bool(db_->exec(has_purchases)[0][0]);
}

caf::expected<void>
postgres_directory_store::save_chain(const tillstream::chain& chain) {
  return guarded(*db_, [&]() -> caf::expected<void> {
    transaction tx{*db_, begin_change};
    if (would_mix_currencies(chain))
      return caf::make_error(errc::invalid,
                             "the chain has sales in another currency");
    text_array ids, names, zones;
    array_of<int32_t> starts;
    for (const auto& x : chain.branches) {
      ids.add(x.id);
      names.add(x.name);
      zones.add(x.time_zone);
      starts.add(x.day_start_minutes);
    }
    db_->exec(upsert_chain, chain.name, chain.currency.code);
    db_->exec(upsert_branches, ids, names, zones, starts);
    tx.commit();
    return caf::unit;
  });
}

caf::expected<void> postgres_directory_store::add_key(const api_key& key) {
  auto done = guarded(*db_, [&]() -> caf::expected<void> {
    std::optional<std::string> branch_id;
    if (key.role == key_role::till)
      branch_id = key.branch_id;
    try {
      db_->exec(insert_key, key.key_id, to_hex(key.digest), to_string(key.role),
                branch_id, key.label, key.created_at, key.revoked_at);
    } catch (const pqxx::foreign_key_violation&) {
      return caf::make_error(
        errc::invalid, fmt::format("there is no branch '{}'", key.branch_id));
    }
    return caf::unit;
  });
  return done;
}

caf::expected<std::vector<api_key>> postgres_directory_store::list_keys() {
  return guarded(*db_, [&]() -> caf::expected<std::vector<api_key>> {
    return load_keys(true);
  });
}

caf::expected<void> postgres_directory_store::revoke_key(const uuid& key_id) {
  return guarded(*db_, [&]() -> caf::expected<void> {
    if (db_->exec(revoke, key_id).affected_rows() == 0)
      return caf::make_error(
        errc::not_found, fmt::format("there is no key {}", to_string(key_id)));
    return caf::unit;
  });
}

caf::expected<void>
postgres_directory_store::add_sign_in_link(const sha256_digest& digest,
                                           const uuid& key_id,
                                           timestamp expires_at) {
  return guarded(*db_, [&]() -> caf::expected<void> {
    db_->exec(forget_links);
    try {
      db_->exec(insert_link, to_hex(digest), key_id, expires_at);
    } catch (const pqxx::foreign_key_violation&) {
      return caf::make_error(
        errc::not_found, fmt::format("there is no key {}", to_string(key_id)));
    }
    return caf::unit;
  });
}

caf::expected<uuid>
postgres_directory_store::take_sign_in_link(const sha256_digest& digest) {
  return guarded(*db_, [&]() -> caf::expected<uuid> {
    auto rows = db_->exec(take_link, to_hex(digest));
    if (rows.empty())
      return caf::make_error(errc::not_found,
                             "there is no such link, or it was used");
    return as_uuid(rows[0][0]);
  });
}

caf::expected<void>
postgres_directory_store::end_page_session(const uuid& session_id,
                                           timestamp expires_at) {
  return guarded(*db_, [&]() -> caf::expected<void> {
    db_->exec(end_session, session_id, expires_at);
    db_->exec(forget_sessions);
    return caf::unit;
  });
}

caf::expected<int64_t> postgres_directory_store::import_catalog(
  const std::vector<catalog_product>& products) {
  return guarded(*db_, [&]() -> caf::expected<int64_t> {
    text_array ids, names, categories;
    for (const auto& x : products) {
      ids.add(x.product_id);
      names.add(x.name);
      categories.add(x.category);
    }
    auto rows = db_->exec(upsert_products, ids, names, categories);
    return static_cast<int64_t>(rows.affected_rows());
  });
}

} // namespace

std::string to_string(key_role role) {
  switch (role) {
    case key_role::till:
      return "till";
    case key_role::owner:
      return "owner";
    case key_role::operator_:
      return "operator";
  }
  return "unknown";
}

std::optional<key_role> parse_key_role(std::string_view text) {
  for (auto role : {key_role::till, key_role::owner, key_role::operator_})
    if (text == to_string(role))
      return role;
  return std::nullopt;
}

caf::expected<directory_store_ptr>
open_directory_store(const std::string& dsn) {
  return open_store<directory_store, postgres_directory_store>(
    dsn, {.application_name = "tillstream-directory"});
}

} // namespace tillstream::storage

#include "actors/directory/view.hpp"

#include "actors/directory/api_key.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/log.hpp"

#include <openssl/crypto.h>

#include <cstring>
#include <utility>

namespace tillstream {

namespace {

/// The key of the index of digests. Digests of random secrets are random, so
/// that an entry has a place of its own and the search reveals nothing about a
/// secret.
uint64_t place_of(const sha256_digest& digest) {
  uint64_t result;
  std::memcpy(&result, digest.data(), sizeof(result));
  return result;
}

bool same_digest(const sha256_digest& x, const sha256_digest& y) {
  return CRYPTO_memcmp(x.data(), y.data(), x.size()) == 0;
}

storage::catalog_ptr
make_catalog(const std::vector<storage::catalog_product>& products) {
  auto result = std::make_shared<storage::catalog>();
  for (const auto& product : products)
    result->insert_or_assign(product.product_id, product);
  return result;
}

} // namespace

directory::directory(const storage::directory_snapshot& snapshot)
  : chain_(std::make_shared<const tillstream::chain>(snapshot.chain)),
    products_(make_catalog(snapshot.catalog)),
    session_secret_(snapshot.session_secret),
    ended_sessions_(snapshot.ended_sessions.begin(),
                    snapshot.ended_sessions.end()),
    version_(snapshot.version) {
  for (const auto& branch : chain_->branches) {
    if (auto clock = branch_clock::make(branch))
      clocks_.emplace(branch.id, *clock);
    else
      log::error("directory.branch_without_clock",
                 {{"branch", branch.id},
                  {"time_zone", branch.time_zone},
                  {"reason", describe(clock.error())}});
  }
  for (const auto& key : snapshot.keys) {
    if (key.revoked_at)
      continue;
    principal who{key.role, key.branch_id, key.key_id, {}};
    holders_.emplace(key.key_id, who);
    keys_.emplace(place_of(key.digest), key_entry{key.digest, std::move(who)});
  }
}

const branch_clock* directory::clock(std::string_view branch_id) const {
  auto i = clocks_.find(branch_id);
  return i != clocks_.end() ? &i->second : nullptr;
}

std::optional<principal>
directory::authenticate(std::string_view secret) const {
  if (secret.empty() || secret.size() > limits::api_key_bytes_max)
    return std::nullopt;
  auto digest = secret_digest(secret);
  auto [first, last] = keys_.equal_range(place_of(digest));
  for (auto i = first; i != last; ++i)
    if (same_digest(i->second.digest, digest))
      return i->second.who;
  return std::nullopt;
}

std::optional<principal> directory::holder(const uuid& key_id) const {
  auto i = holders_.find(key_id);
  return i != holders_.end() ? std::optional{i->second} : std::nullopt;
}

std::optional<principal>
directory::authenticate_session(std::string_view token, timestamp now) const {
  auto session = open_session_token(token, session_secret_);
  if (!session)
    return std::nullopt;
  auto result = holder(session->key_id);
  if (!result)
    return std::nullopt;
  result->session = session;
  return still_allows(*result, now) ? result : std::nullopt;
}

bool directory::still_allows(const principal& who, timestamp now) const {
  if (holders_.count(who.key_id) == 0)
    return false;
  const auto& session = who.session;
  return !session
         || (session->expires_at > now
             && ended_sessions_.count(session->session_id) == 0);
}

} // namespace tillstream

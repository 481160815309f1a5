#pragma once

#include "actors/directory/page_session.hpp"
#include "actors/runtime/snapshot_holder.hpp"
#include "messages/model/chain.hpp"
#include "storage/ports/directory_store.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace tillstream {

/// What a request's key allows.
struct principal {
  storage::key_role role = storage::key_role::till;
  /// The till's branch.
  std::string branch_id;
  /// Which key it is: the rate limit counts by it.
  uuid key_id;
  /// Set when it was the page's cookie that said so, not the key itself.
  std::optional<page_session> session;
};

/// The node's copy of chain, API keys and catalogue. Immutable; the DIRECTORY
/// replaces it as a whole.
class directory {
public:
  explicit directory(const storage::directory_snapshot& snapshot);

  const chain_ptr& chain() const {
    return chain_;
  }
  const storage::catalog_ptr& products() const {
    return products_;
  }
  int64_t version() const {
    return version_;
  }

  /// @returns the branch's clock, or null when the chain lacks the branch.
  const branch_clock* clock(std::string_view branch_id) const;

  /// Finds the holder of `secret` (the text after `Bearer `): its SHA-256
  /// finds the entry, the digests are then compared in constant time.
  std::optional<principal> authenticate(std::string_view secret) const;

  /// @returns who holds the key; nothing when it is revoked or unknown.
  std::optional<principal> holder(const uuid& key_id) const;

  /// Finds who signed in with the page's cookie: its signature holds, it is not
  /// over at `now` nor signed out, and its key is not revoked.
  std::optional<principal>
  authenticate_session(std::string_view token, timestamp now) const;

  /// Whether what allowed `who` something still does.
  bool still_allows(const principal& who, timestamp now) const;

  /// Renders a sign-in so that every node of the chain accepts it.
  std::string seal(const page_session& x) const {
    return seal_session(x, session_secret_);
  }

private:
  chain_ptr chain_;
  storage::catalog_ptr products_;
  std::map<std::string, branch_clock, std::less<>> clocks_;
  struct key_entry {
    sha256_digest digest;
    principal who;
  };
  /// By the first eight bytes of the digest.
  std::multimap<uint64_t, key_entry> keys_;
  std::unordered_map<uuid, principal> holders_;
  sha256_digest session_secret_;
  std::unordered_set<uuid> ended_sessions_;
  int64_t version_ = 0;
};

using directory_ptr = std::shared_ptr<const directory>;

/// Where the current directory and the database clock's offset are found, from
/// any thread.
class directory_view {
public:
  /// Null until the first reading.
  directory_ptr get() const {
    return current_.get();
  }

  void set(directory_ptr next) {
    current_.set(std::move(next));
  }

  /// The database's clock, estimated: ours plus the offset last measured.
  timestamp now() const {
    return wall_clock_now() + std::chrono::milliseconds{offset_ms_.load()};
  }

  void set_offset(std::chrono::milliseconds offset) {
    offset_ms_ = offset.count();
  }

private:
  snapshot_holder<directory> current_;
  std::atomic<int64_t> offset_ms_{0};
};

using directory_view_ptr = std::shared_ptr<directory_view>;

} // namespace tillstream

#pragma once

#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/purchase.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace tillstream {

/// A sign-in to the owner's page.
struct page_session {
  uuid session_id;
  /// The key that it was opened with: revoked, it ends the session.
  uuid key_id;
  /// By the database's clock.
  timestamp expires_at;
};

/// Renders a session as the value of a cookie, signed with HMAC-SHA-256
/// (RFC 2104): `1.<session>.<key>.<expiry, ms>.<signature>`. Every node has the
/// same secret, so whichever is asked takes it.
std::string seal_session(const page_session& x, const sha256_digest& secret);

/// Reads such a value. The signature is compared in constant time.
/// @returns nothing when it is anything else, or signed with another secret.
std::optional<page_session>
open_session_token(std::string_view token, const sha256_digest& secret);

/// Makes what stands in a one-time sign-in link: `tsl_` and 43 characters that
/// carry 256 random bits. Stored like a key, as its SHA-256.
/// @throws std::system_error when the operating system has no random bytes.
std::string make_link_secret();

} // namespace tillstream

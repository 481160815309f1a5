#pragma once

#include "messages/core/hash.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"

namespace tillstream {

/// The digest of a one-time sign-in link.
struct sign_in_link {
  sha256_digest digest{};
};

/// A session of the page that is to end before its time.
struct session_end {
  uuid session_id;
  timestamp expires_at;
};

} // namespace tillstream

#pragma once

#include "messages/model/purchase.hpp"
#include "storage/ports/directory_store.hpp"

#include <string>
#include <string_view>

namespace tillstream {

/// 43 URL-safe characters that carry 256 random bits of the operating system.
/// @throws std::system_error when it has none.
std::string random_text();

/// Makes the secret of a new API key: `tsk_<role>_` and 43 URL-safe characters
/// that carry 256 random bits of the operating system. The fixed prefix lets
/// scanners find a leaked key.
/// @throws std::system_error when the operating system has no random bytes.
std::string make_secret(storage::key_role role);

/// What is stored of a secret. Plain SHA-256 is enough here: nobody guesses 256
/// random bits, salted or not.
sha256_digest secret_digest(std::string_view secret);

} // namespace tillstream

#include "actors/directory/api_key.hpp"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace tillstream {

namespace {

using secret_bytes = std::array<uint8_t, 32>;

secret_bytes random_bytes() {
  secret_bytes result;
  // Up to 256 bytes come whole, or not at all (getentropy(3)).
  if (getentropy(result.data(), result.size()) != 0)
    throw std::system_error(errno, std::generic_category(), "getentropy");
  return result;
}

/// Base64url without padding (RFC 4648, 5): 43 characters for 32 bytes.
std::string base64url(const secret_bytes& bytes) {
  constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "abcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string result;
  uint32_t window = 0;
  int bits = 0;
  for (auto byte : bytes) {
    window = (window << 8) | byte;
    bits += 8;
    for (; bits >= 6; bits -= 6)
      result += alphabet[(window >> (bits - 6)) & 63];
  }
  result += alphabet[(window << (6 - bits)) & 63];
  return result;
}

} // namespace

std::string random_text() {
  return base64url(random_bytes());
}

std::string make_secret(storage::key_role role) {
  return "tsk_" + to_string(role) + "_" + random_text();
}

sha256_digest secret_digest(std::string_view secret) {
  return sha256(secret);
}

} // namespace tillstream

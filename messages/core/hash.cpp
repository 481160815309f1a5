#include "messages/core/hash.hpp"

#include <openssl/evp.h>

#include <new>

namespace tillstream {

sha256_digest sha256(std::string_view data) {
  // Fetched once: looking the algorithm up costs more than a short digest.
  static const EVP_MD* algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  sha256_digest result;
  // Cannot fail but for want of memory.
  if (EVP_Digest(data.data(), data.size(), result.data(), nullptr, algorithm,
                 nullptr)
      != 1)
    throw std::bad_alloc{};
  return result;
}

} // namespace tillstream

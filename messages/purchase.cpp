#include "messages/purchase.hpp"

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

std::string to_string(verdict x) {
  switch (x) {
    case verdict::recorded:
      return "recorded";
    case verdict::replayed:
      return "replayed";
    case verdict::key_reused:
      return "key-reused";
    case verdict::receipt_taken:
      return "receipt-taken";
    case verdict::customer_unknown:
      return "customer-unknown";
    case verdict::in_progress:
      return "in-progress";
  }
  return "unknown";
}

std::string to_hex(const sha256_digest& x) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string result;
  result.reserve(x.size() * 2);
  for (auto byte : x) {
    result += digits[byte >> 4];
    result += digits[byte & 15];
  }
  return result;
}

} // namespace tillstream

#include "actors/directory/page_session.hpp"

#include "actors/directory/api_key.hpp"
#include "messages/core/text.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <charconv>
#include <stdexcept>

namespace tillstream {

namespace {

/// Names the form, so that another one can follow.
constexpr std::string_view version = "1";

std::string sign(std::string_view text, const sha256_digest& secret) {
  sha256_digest result;
  unsigned size = 0;
  auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), bytes,
           text.size(), result.data(), &size)
        == nullptr
      || size != result.size())
    throw std::runtime_error("HMAC-SHA-256 failed");
  return to_hex(result);
}

bool same_text(std::string_view x, std::string_view y) {
  return x.size() == y.size()
         && CRYPTO_memcmp(x.data(), y.data(), x.size()) == 0;
}

std::optional<timestamp> parse_ms(std::string_view text) {
  int64_t ms = 0;
  auto last = text.data() + text.size();
  auto [end, err] = std::from_chars(text.data(), last, ms);
  if (err != std::errc{} || end != last)
    return std::nullopt;
  return from_ms(ms);
}

} // namespace

std::string seal_session(const page_session& x, const sha256_digest& secret) {
  std::string result{version};
  result += "." + to_string(x.session_id) + "." + to_string(x.key_id) + "."
            + std::to_string(to_ms(x.expires_at));
  return result + "." + sign(result, secret);
}

std::optional<page_session>
open_session_token(std::string_view token, const sha256_digest& secret) {
  auto dot = token.rfind('.');
  if (dot == std::string_view::npos)
    return std::nullopt;
  auto text = token.substr(0, dot);
  if (!same_text(token.substr(dot + 1), sign(text, secret)))
    return std::nullopt;
  if (next_part(text, '.') != version)
    return std::nullopt;
  auto session_id = parse_uuid(next_part(text, '.'));
  auto key_id = parse_uuid(next_part(text, '.'));
  auto expires_at = parse_ms(text);
  if (!session_id || !key_id || !expires_at)
    return std::nullopt;
  return page_session{*session_id, *key_id, *expires_at};
}

std::string make_link_secret() {
  return "tsl_" + random_text();
}

} // namespace tillstream

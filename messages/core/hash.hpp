#pragma once

#include "messages/core/hex.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace tillstream {

using sha256_digest = std::array<uint8_t, 32>;

/// SHA-256 (FIPS 180-4) of `data`.
sha256_digest sha256(std::string_view data);

/// FNV-1a, 64 bits. Source: draft-eastlake-fnv-21.
class fnv1a {
public:
  constexpr fnv1a& add(std::span<const uint8_t> bytes) {
    for (auto byte : bytes)
      add(byte);
    return *this;
  }

  constexpr fnv1a& add(std::string_view text) {
    for (auto c : text)
      add(static_cast<uint8_t>(c));
    return *this;
  }

  constexpr uint64_t value() const {
    return state_;
  }

private:
  constexpr void add(uint8_t byte) {
    state_ = (state_ ^ byte) * 0x100000001b3u;
  }

  uint64_t state_ = 0xcbf29ce484222325u;
};

} // namespace tillstream

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace tillstream {

using sha256_digest = std::array<uint8_t, 32>;

/// SHA-256 (FIPS 180-4) of `data`.
sha256_digest sha256(std::string_view data);

/// Lower-case hexadecimal digits.
std::string to_hex(const sha256_digest& x);

} // namespace tillstream

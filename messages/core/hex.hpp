#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

/// @file messages/core/hex.hpp
/// Hexadecimal digits.

namespace tillstream {

constexpr std::string_view hex_digits = "0123456789abcdef";

/// Appends the two lower-case digits of a byte.
inline void append_hex(std::string& out, uint8_t byte) {
  out += hex_digits[byte >> 4];
  out += hex_digits[byte & 0x0f];
}

/// Lower-case digits, two a byte.
inline std::string to_hex(std::span<const uint8_t> bytes) {
  std::string result;
  result.reserve(bytes.size() * 2);
  for (auto byte : bytes)
    append_hex(result, byte);
  return result;
}

/// Values of digits by character; -1: it is none.
constexpr auto hex_values = [] {
  std::array<int8_t, 256> result{};
  result.fill(-1);
  for (size_t i = 0; i < hex_digits.size(); ++i) {
    auto value = static_cast<int8_t>(i);
    result[static_cast<uint8_t>(hex_digits[i])] = value;
    result[static_cast<uint8_t>("0123456789ABCDEF"[i])] = value;
  }
  return result;
}();

/// @returns the value of a digit in either case, or -1.
constexpr int hex_value(char c) {
  return hex_values[static_cast<uint8_t>(c)];
}

} // namespace tillstream

#pragma once

#include "messages/core/time.hpp"

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <string_view>

namespace tillstream {

/// A UUID (RFC 9562), in network byte order, so that `<` orders version 7 by
/// time and PostgreSQL orders it the same way.
struct uuid {
  std::array<uint8_t, 16> bytes{};

  /// Eight bytes from `at` on, as the number that orders as they do.
  uint64_t word(size_t at) const {
    uint64_t result;
    std::memcpy(&result, bytes.data() + at, sizeof(result));
    if constexpr (std::endian::native == std::endian::little)
      result = __builtin_bswap64(result);
    return result;
  }

  // By words: maps of uuids compare a dozen times for each find, and a call to
  // memcmp each time is a tenth of what applying an event costs a node.
  friend bool operator==(const uuid& x, const uuid& y) {
    return x.word(0) == y.word(0) && x.word(8) == y.word(8);
  }
  friend std::strong_ordering operator<=>(const uuid& x, const uuid& y) {
    auto first = x.word(0) <=> y.word(0);
    return first != 0 ? first : x.word(8) <=> y.word(8);
  }
};

/// Renders lower-case `8-4-4-4-12`.
std::string to_string(const uuid& x);

/// Reads the 36-character form, either case; nothing else (no braces, no
/// `urn:`). @returns nothing when `text` is not a UUID.
std::optional<uuid> parse_uuid(std::string_view text);

/// Tells whether `x` is a version 4 UUID of the RFC's variant.
bool is_uuid4(const uuid& x);

/// Tells whether `x` is a version 7 UUID of the RFC's variant.
bool is_uuid7(const uuid& x);

/// The time inside a version 7 UUID. @pre version 7
timestamp uuid7_time(const uuid& x);

/// The smallest version 7 UUID of the millisecond `t`: a partition bound.
uuid uuid7_floor(timestamp t);

/// Makes UUIDs. Not thread-safe: one for each thread.
class uuid_source {
public:
  /// Seeds from the operating system.
  uuid_source();

  /// For tests: the same seed gives the same UUIDs.
  explicit uuid_source(uint64_t seed);

  uuid v4();

  /// Later calls give larger UUIDs within a millisecond, and as long as `t`
  /// does not go back (RFC 9562, 6.2, method 1: a 12-bit counter).
  uuid v7(timestamp t);

private:
  std::mt19937_64 prng_;
  /// What the last call asked for, and what it got: the latter runs ahead when
  /// a millisecond is full.
  int64_t asked_ms_ = -1;
  int64_t last_ms_ = -1;
  uint32_t counter_ = 0;
};

} // namespace tillstream

template <>
struct std::hash<tillstream::uuid> {
  size_t operator()(const tillstream::uuid& x) const noexcept;
};

#include "messages/core/uuid.hpp"

#include "messages/core/hex.hpp"

#include <cassert>
#include <cstring>

namespace tillstream {

namespace {

/// The bytes of the text form that a dash precedes.
constexpr bool dash_before(size_t byte) {
  return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void put_time(uuid& x, int64_t ms) {
  for (size_t i = 0; i < 6; ++i)
    x.bytes[i] = static_cast<uint8_t>(ms >> (40 - 8 * i));
}

void put_version(uuid& x, uint8_t version) {
  x.bytes[6] = static_cast<uint8_t>((x.bytes[6] & 0x0f) | (version << 4));
  x.bytes[8] = static_cast<uint8_t>((x.bytes[8] & 0x3f) | 0x80);
}

void put_random(uuid& x, std::mt19937_64& prng) {
  for (size_t i = 0; i < x.bytes.size(); i += sizeof(uint64_t)) {
    uint64_t bits = prng();
    std::memcpy(&x.bytes[i], &bits, sizeof(bits));
  }
}

constexpr int64_t time_max = (int64_t{1} << 48) - 1;
constexpr uint32_t counter_max = 0xfff;

} // namespace

std::string to_string(const uuid& x) {
  std::string result;
  result.reserve(36);
  for (size_t i = 0; i < x.bytes.size(); ++i) {
    if (dash_before(i))
      result += '-';
    append_hex(result, x.bytes[i]);
  }
  return result;
}

std::optional<uuid> parse_uuid(std::string_view text) {
  if (text.size() != 36)
    return std::nullopt;
  uuid result;
  size_t pos = 0;
  for (size_t i = 0; i < result.bytes.size(); ++i) {
    if (dash_before(i) && text[pos++] != '-')
      return std::nullopt;
    auto high = hex_value(text[pos++]);
    auto low = hex_value(text[pos++]);
    if (high < 0 || low < 0)
      return std::nullopt;
    result.bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return result;
}

bool is_uuid4(const uuid& x) {
  return x.bytes[6] >> 4 == 4 && x.bytes[8] >> 6 == 2;
}

bool is_uuid7(const uuid& x) {
  return x.bytes[6] >> 4 == 7 && x.bytes[8] >> 6 == 2;
}

timestamp uuid7_time(const uuid& x) {
  assert(is_uuid7(x));
  int64_t ms = 0;
  for (size_t i = 0; i < 6; ++i)
    ms = ms << 8 | x.bytes[i];
  return from_ms(ms);
}

uuid uuid7_floor(timestamp t) {
  assert(to_ms(t) >= 0 && to_ms(t) <= time_max);
  uuid result;
  put_time(result, to_ms(t));
  put_version(result, 7);
  return result;
}

uuid_source::uuid_source() {
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device(),
                     device(), device(), device(), device()};
  prng_.seed(seed);
}

uuid_source::uuid_source(uint64_t seed) : prng_(seed) {
  // nop
}

uuid uuid_source::v4() {
  uuid result;
  put_random(result, prng_);
  put_version(result, 4);
  return result;
}

uuid uuid_source::v7(timestamp t) {
  assert(to_ms(t) >= 0 && to_ms(t) <= time_max);
  auto asked = to_ms(t);
  if (asked < asked_ms_ || asked > last_ms_) {
    last_ms_ = asked;
    // A random start, in the lower half, leaves at least 2048 steps.
    counter_ = static_cast<uint32_t>(prng_() & (counter_max >> 1));
  } else if (++counter_ > counter_max) {
    // A full millisecond borrows from the next one; callers that ask for the
    // same time keep getting larger UUIDs.
    ++last_ms_;
    counter_ = 0;
  }
  asked_ms_ = asked;
  uuid result;
  put_random(result, prng_);
  put_time(result, last_ms_);
  result.bytes[6] = static_cast<uint8_t>(counter_ >> 8);
  result.bytes[7] = static_cast<uint8_t>(counter_);
  put_version(result, 7);
  return result;
}

} // namespace tillstream

size_t std::hash<tillstream::uuid>::operator()(
  const tillstream::uuid& x) const noexcept {
  uint64_t high;
  uint64_t low;
  std::memcpy(&high, x.bytes.data(), sizeof(high));
  std::memcpy(&low, x.bytes.data() + sizeof(high), sizeof(low));
  // Time in front, randomness behind: an odd factor spreads both.
  return static_cast<size_t>((high ^ low) * 0x9e3779b97f4a7c15u);
}

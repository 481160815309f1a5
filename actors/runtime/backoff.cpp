#include "actors/runtime/backoff.hpp"

#include <algorithm>
#include <cassert>

namespace tillstream {

namespace {

/// 2^20 times any minimum is beyond any maximum, and does not overflow.
constexpr unsigned doublings_max = 20;

/// Neighbouring seeds must not draw neighbouring waits, as they would with a
/// plain linear generator. Source: SplitMix64 (Steele, Lea, Flood 2014).
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

} // namespace

backoff::backoff(uint64_t seed, caf::timespan min, caf::timespan max)
  : prng_(static_cast<std::minstd_rand::result_type>(mix(seed))),
    min_(min),
    max_(max) {
  assert(min.count() > 0 && min <= max);
}

caf::timespan backoff::next() {
  auto whole = std::min(max_, min_ * (int64_t{1} << failures_));
  failures_ = std::min(failures_ + 1, doublings_max);
  auto half = whole.count() / 2;
  std::uniform_int_distribution<int64_t> draw{half + 1, whole.count()};
  return caf::timespan{draw(prng_)};
}

uint64_t random_seed() {
  std::random_device source;
  return (uint64_t{source()} << 32) | source();
}

} // namespace tillstream

#pragma once

#include "messages/core/limits.hpp"

#include <caf/timespan.hpp>

#include <cstdint>
#include <random>

namespace tillstream {

/// How long to wait before the next attempt: doubles from `min` to `max`, each
/// drawn from its upper half, so that many who failed at once do not come back
/// at once ('equal jitter').
class backoff {
public:
  explicit backoff(uint64_t seed, caf::timespan min = limits::backoff_min,
                   caf::timespan max = limits::backoff_max);

  /// The wait after one more failure, in (0, max].
  caf::timespan next();

  /// After a success: the next failure waits `min` again.
  void reset() {
    failures_ = 0;
  }

private:
  std::minstd_rand prng_;
  caf::timespan min_;
  caf::timespan max_;
  unsigned failures_ = 0;
};

/// A seed from the operating system, the default of every actor that draws.
/// Tests set their own.
uint64_t random_seed();

} // namespace tillstream

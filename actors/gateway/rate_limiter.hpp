#pragma once

#include "messages/core/uuid.hpp"

#include <caf/actor_clock.hpp>

#include <chrono>
#include <cstddef>
#include <unordered_map>

namespace tillstream {

/// A token bucket for each API key: `rate` requests a second in the long run,
/// a second's worth at once.
///
/// One thread. Holds an entry for each key that was used lately, so no more
/// than there are keys.
class rate_limiter {
public:
  using time_point = caf::actor_clock::time_point;

  /// @param rate Requests a second and key; 0 or less: no limit.
  explicit rate_limiter(double rate = 0) : rate_(rate) {
    // nop
  }

  /// Takes a token. @returns zero, or how long to wait for the next one.
  std::chrono::milliseconds take(const uuid& key_id, time_point now);

private:
  struct bucket {
    double tokens;
    time_point filled;
  };

  double capacity() const {
    return rate_ < 1 ? 1 : rate_;
  }

  /// Forgets keys whose bucket is full again: a new one would be the same.
  void sweep(time_point now);

  double rate_;
  std::unordered_map<uuid, bucket> buckets_;
  size_t sweep_at_ = 1024;
};

} // namespace tillstream

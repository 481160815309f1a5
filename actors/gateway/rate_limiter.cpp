#include "actors/gateway/rate_limiter.hpp"

#include <algorithm>
#include <cmath>

namespace tillstream {

namespace {

using seconds = std::chrono::duration<double>;

} // namespace

std::chrono::milliseconds
rate_limiter::take(const uuid& key_id, time_point now) {
  if (rate_ <= 0)
    return std::chrono::milliseconds{0};
  if (buckets_.size() >= sweep_at_)
    sweep(now);
  auto [i, added] = buckets_.try_emplace(key_id, bucket{capacity(), now});
  auto& [tokens, filled] = i->second;
  tokens = std::min(capacity(), tokens + seconds{now - filled}.count() * rate_);
  filled = now;
  if (tokens >= 1) {
    tokens -= 1;
    return std::chrono::milliseconds{0};
  }
  auto wait = std::ceil((1 - tokens) / rate_ * 1000);
  return std::chrono::milliseconds{static_cast<int64_t>(wait)};
}

void rate_limiter::sweep(time_point now) {
  std::erase_if(buckets_, [&](const auto& entry) {
    const auto& x = entry.second;
    return x.tokens + seconds{now - x.filled}.count() * rate_ >= capacity();
  });
  sweep_at_ = std::max<size_t>(1024, buckets_.size() * 2);
}

} // namespace tillstream

#include "actors/aggregation/repair_limiter.hpp"

#include <algorithm>

namespace tillstream {

repair_limiter::repair_limiter(repair_limiter_limits bounds)
  : bounds_(bounds),
    probes_(bounds.probes_burst) {
  // nop
}

bool repair_limiter::may_probe(time_point now) {
  std::lock_guard guard{mutex_};
  auto passed = std::chrono::duration<double>(now - filled_at_).count();
  filled_at_ = now;
  probes_
    = std::min(bounds_.probes_burst,
               probes_ + std::max(passed, 0.0) * bounds_.probes_per_second);
  if (probes_ < 1)
    return false;
  probes_ -= 1;
  return true;
}

repair_limiter::permit repair_limiter::acquire() {
  auto permits = permits_;
  if (permits->fetch_add(1) >= bounds_.republish_max) {
    permits->fetch_sub(1);
    return nullptr;
  }
  return {new bool{true}, [permits](const bool* x) {
            delete x;
            permits->fetch_sub(1);
          }};
}

} // namespace tillstream

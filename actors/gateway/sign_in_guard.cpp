#include "actors/gateway/sign_in_guard.hpp"

#include <algorithm>

namespace tillstream {

namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// Stands for all addresses that have no place of their own.
const std::string all_others = "*";

seconds wait_after(int failures) {
  auto doublings = failures - sign_in_guard::free_failures;
  if (doublings < 0)
    return seconds{0};
  return std::min(seconds{1 << std::min(doublings, 6)},
                  sign_in_guard::wait_max);
}

} // namespace

const std::string& sign_in_guard::place_of(const std::string& address) const {
  auto known = entries_.count(address) > 0;
  return known || entries_.size() < addresses_max ? address : all_others;
}

milliseconds
sign_in_guard::wait_for(const std::string& address, time_point now) const {
  auto i = entries_.find(place_of(address));
  if (i == entries_.end() || now - i->second.last > memory_max)
    return milliseconds{0};
  auto end = i->second.last + wait_after(i->second.failures);
  return std::max(duration_cast<milliseconds>(end - now), milliseconds{0});
}

void sign_in_guard::failed(const std::string& address, time_point now) {
  sweep(now);
  auto& x = entries_[place_of(address)];
  ++x.failures;
  x.last = now;
}

void sign_in_guard::succeeded(const std::string& address) {
  entries_.erase(address);
}

void sign_in_guard::sweep(time_point now) {
  std::erase_if(
    entries_, [&](const auto& x) { return now - x.second.last > memory_max; });
}

} // namespace tillstream

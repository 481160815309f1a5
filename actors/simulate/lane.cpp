#include "actors/simulate/lane.hpp"

#include <functional>

namespace tillstream::commands {

namespace {

/// How long a wait may overlook that somebody wants to stop.
constexpr std::chrono::milliseconds stop_poll_interval{20};

} // namespace

bool sale_lane::push(due_sale x, const std::atomic<bool>& stop) {
  std::unique_lock guard{mutex_};
  auto room = [this] { return waiting_.size() < waiting_max; };
  while (!changed_.wait_for(guard, stop_poll_interval, room))
    if (stop)
      return false;
  waiting_.push_back(std::move(x));
  changed_.notify_all();
  return true;
}

std::optional<due_sale> sale_lane::pop(const std::atomic<bool>& stop) {
  std::unique_lock guard{mutex_};
  auto ready = [this] { return closed_ || !waiting_.empty(); };
  while (!stop && !changed_.wait_for(guard, stop_poll_interval, ready))
    ; // nop
  if (stop || waiting_.empty())
    return std::nullopt;
  auto result = std::move(waiting_.front());
  waiting_.pop_front();
  changed_.notify_all();
  return result;
}

void sale_lane::close() {
  std::lock_guard guard{mutex_};
  closed_ = true;
  changed_.notify_all();
}

size_t lane_plan::lane_of(const sale& x) {
  std::pair pos{x.branch_id, x.pos_id};
  if (auto i = own_.find(pos); i != own_.end())
    return i->second;
  if (own_.size() < lanes_)
    return own_.emplace(std::move(pos), own_.size()).first->second;
  std::hash<std::string> hash;
  return (hash(x.branch_id) * 31 + hash(x.pos_id)) % lanes_;
}

} // namespace tillstream::commands

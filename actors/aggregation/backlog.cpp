#include "actors/aggregation/backlog.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace tillstream {

void backlog::add(const commit_notice& notice) {
  if (recent_.count(notice.event_id) > 0 || is_pending(notice.event_id))
    return;
  // Once one is counted only, all later ones are: the outbox gives them back
  // in order, and nothing is held and counted at once.
  if (unread_ || pending_.size() >= bounds_.ids_max) {
    count_only(notice);
    return;
  }
  pending_.emplace(notice.event_id, entry{notice.recorded_at, notice.seq});
  by_age_.emplace(notice.recorded_at, notice.event_id);
  seqs_.insert(notice.seq);
}

void backlog::count_only(const commit_notice& notice) {
  if (!unread_ || notice.recorded_at < *unread_)
    unread_ = notice.recorded_at;
  if (counted_only_ == 0 || notice.seq < first_counted_only_)
    first_counted_only_ = notice.seq;
  ++counted_only_;
  if (refilling_ && arrivals_.size() < bounds_.ids_max) {
    arrivals_.push_back(notice);
    arrivals_.back().payload = nullptr;
  }
}

void backlog::take(const uuid& event_id, int64_t seq) {
  auto i = pending_.find(event_id);
  if (i != pending_.end()) {
    by_age_.erase({i->second.recorded_at, event_id});
    seqs_.erase(i->second.seq);
    pending_.erase(i);
  } else if (counted_only_ > 0 && seq >= first_counted_only_) {
    --counted_only_;
  }
}

void backlog::apply(const uuid& event_id, int64_t seq) {
  if (recent_.count(event_id) > 0)
    return;
  take(event_id, seq);
  remember(event_id, true);
}

void backlog::remove(const uuid& event_id, int64_t seq) {
  if (recent_.count(event_id) > 0)
    return;
  take(event_id, seq);
  remember(event_id, false);
}

void backlog::remember(const uuid& event_id, bool applied) {
  recent_.emplace(event_id, applied);
  recent_order_.push_back(event_id);
  if (recent_order_.size() <= bounds_.recent_max)
    return;
  raise_horizon(uuid7_time(recent_order_.front()));
  recent_.erase(recent_order_.front());
  recent_order_.pop_front();
}

void backlog::raise_horizon(timestamp t) {
  horizon_ = std::max(horizon_, t);
}

std::optional<int64_t> backlog::seq_of(const uuid& event_id) const {
  auto i = pending_.find(event_id);
  if (i == pending_.end())
    return std::nullopt;
  return i->second.seq;
}

std::optional<timestamp> backlog::oldest() const {
  if (!by_age_.empty())
    return by_age_.begin()->first;
  if (counted_only_ > 0)
    return unread_;
  return std::nullopt;
}

std::optional<int64_t> backlog::lowest_seq() const {
  // Numbers are not in the order of time: none of the three is always first.
  std::optional<int64_t> result;
  auto consider
    = [&](int64_t seq) { result = result ? std::min(*result, seq) : seq; };
  if (!seqs_.empty())
    consider(*seqs_.begin());
  if (counted_only_ > 0)
    consider(first_counted_only_);
  if (rest_)
    consider(rest_->lowest_seq);
  return result;
}

void backlog::begin_refill() {
  refilling_ = true;
  arrivals_.clear();
}

void backlog::refill(const std::vector<commit_notice>& notices,
                     std::optional<rest> next) {
  auto arrivals = std::exchange(arrivals_, {});
  // Too many came meanwhile to be held: they are in the outbox.
  if (!next && arrivals.size() >= bounds_.ids_max)
    next
      = rest{arrivals.front().recorded_at,
             std::ranges::min_element(arrivals, {}, &commit_notice::seq)->seq};
  refilling_ = false;
  rest_ = next;
  unread_.reset();
  counted_only_ = 0;
  for (const auto& notice : notices)
    add(notice);
  if (next)
    unread_
      = unread_ ? std::min(*unread_, next->recorded_at) : next->recorded_at;
  // What was read may be counted only, so that `add` would not know it again.
  std::unordered_set<uuid> read;
  for (const auto& notice : notices)
    read.insert(notice.event_id);
  for (const auto& notice : arrivals)
    if (read.count(notice.event_id) == 0)
      add(notice);
}

std::vector<uuid> backlog::oldest_ids(size_t count) const {
  std::vector<uuid> result;
  result.reserve(std::min(count, by_age_.size()));
  for (const auto& [when, id] : by_age_) {
    if (result.size() == count)
      break;
    result.push_back(id);
  }
  return result;
}

} // namespace tillstream

#include "actors/outbox/publish_queue.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace tillstream {

publish_queue::publish_queue(size_t notices_max, uint64_t seed)
  : notices_max_(notices_max),
    seeds_(seed) {
  assert(notices_max > 0);
}

// -- in -----------------------------------------------------------------------

void publish_queue::admit(commit_notice notice) {
  if (known_.contains(notice.seq) || is_behind(notice))
    return;
  if (!notice.payload)
    fall_behind(notice.branch_id, notice.seq);
  if (known_.size() >= notices_max_ && !make_room())
    fall_behind(notice.branch_id, notice.seq);
  // Making room may have put this very branch behind.
  if (is_behind(notice))
    return;
  known_.insert(notice.seq);
  ++queue_of(notice.branch_id).notices;
  auto seq = notice.seq;
  waiting_.emplace(seq, std::move(notice));
}

void publish_queue::admit_page(int64_t from, int64_t to,
                               std::vector<commit_notice> rows) {
  auto inside = [&](int64_t seq) { return from <= seq && seq < to; };
  if (unread_from_ && inside(*unread_from_))
    unread_from_ = to == no_end ? std::nullopt : std::optional{to};
  for (auto i = behind_.begin(); i != behind_.end();) {
    if (inside(i->second))
      i->second = to;
    i = i->second == no_end ? behind_.erase(i) : std::next(i);
  }
  for (auto& row : rows)
    admit(std::move(row));
}

std::optional<int64_t> publish_queue::gap(size_t page_size) const {
  auto from = no_end;
  if (unread_from_ && waiting_.size() < page_size)
    from = *unread_from_;
  for (auto& [branch_id, seq] : behind_) {
    auto i = branches_.find(branch_id);
    if (i == branches_.end()
        || (!i->second.stopped && i->second.notices <= page_size / 2))
      from = std::min(from, seq);
  }
  return from == no_end ? std::nullopt : std::optional{from};
}

bool publish_queue::make_room_for(size_t page_size) {
  if (known_.size() + page_size <= notices_max_)
    return true;
  auto id = longest();
  auto& x = queue_of(id);
  return x.stopped && evict(id, x);
}

void publish_queue::forget(const std::string& branch_id, int64_t after_seq) {
  assert(sent_rows_.empty());
  auto& x = queue_of(branch_id);
  stop(branch_id, {});
  release(x);
  std::erase_if(probes_due_, [&](auto& r) { return r.second == branch_id; });
  std::erase_if(waiting_, [&](auto& w) {
    auto gone = w.first > after_seq && w.second.branch_id == branch_id;
    if (gone) {
      known_.erase(w.first);
      --x.notices;
    }
    return gone;
  });
  fall_behind(branch_id, after_seq + 1);
}

// -- publishing ---------------------------------------------------------------

std::optional<uint64_t> publish_queue::send_next(time_point now) {
  if (auto token = probe(now))
    return token;
  while (!waiting_.empty()) {
    auto node = waiting_.extract(waiting_.begin());
    auto& x = queue_of(node.mapped().branch_id);
    if (!x.stopped)
      return begin_attempt(x, std::move(node.mapped()), now);
    x.blocked.insert(std::move(node));
  }
  return std::nullopt;
}

const commit_notice& publish_queue::in_flight(uint64_t token) const {
  return in_flight_.at(token).notice;
}

void publish_queue::unsent(uint64_t token, time_point now) {
  auto node = in_flight_.extract(token);
  assert(node);
  auto& notice = node.mapped().notice;
  auto& x = queue_of(notice.branch_id);
  if (x.probe == token) {
    x.probe = 0;
    probes_due_.emplace(now, notice.branch_id);
  }
  ++x.notices;
  auto seq = notice.seq;
  (x.stopped ? x.blocked : waiting_).emplace(seq, std::move(notice));
}

std::optional<publish_queue::time_point> publish_queue::acked(uint64_t token) {
  auto node = in_flight_.extract(token);
  if (!node)
    return std::nullopt;
  auto& notice = node.mapped().notice;
  auto& x = queue_of(notice.branch_id);
  if (x.probe == token)
    release(x);
  sent_rows_.emplace(notice.seq, notice.event_id);
  return node.mapped().since;
}

bool publish_queue::failed(uint64_t token, time_point now) {
  auto i = in_flight_.find(token);
  if (i == in_flight_.end())
    return false;
  // A copy: stopping the branch moves the notice away.
  auto branch_id = i->second.notice.branch_id;
  stop(branch_id, now);
  return true;
}

size_t publish_queue::fail_overdue(time_point deadline, time_point now) {
  size_t count = 0;
  while (!in_flight_.empty() && in_flight_.begin()->second.since <= deadline) {
    failed(in_flight_.begin()->first, now);
    ++count;
  }
  return count;
}

// -- confirming ---------------------------------------------------------------

std::vector<storage::sent_row> publish_queue::sent_rows(size_t count) const {
  std::vector<storage::sent_row> result;
  result.reserve(std::min(count, sent_rows_.size()));
  for (auto& [seq, event_id] : sent_rows_) {
    if (result.size() == count)
      break;
    result.push_back({seq, event_id});
  }
  return result;
}

void publish_queue::confirm_sent(size_t count) {
  assert(count <= sent_rows_.size());
  for (; count > 0; --count) {
    known_.erase(sent_rows_.begin()->first);
    sent_rows_.erase(sent_rows_.begin());
  }
}

// -- state --------------------------------------------------------------------

std::optional<publish_queue::time_point>
publish_queue::next_due(caf::timespan timeout) const {
  auto due = time_point::max();
  if (!probes_due_.empty())
    due = probes_due_.begin()->first;
  if (!in_flight_.empty())
    due = std::min(due, in_flight_.begin()->second.since + timeout);
  return due == time_point::max() ? std::nullopt : std::optional{due};
}

// -- helpers ------------------------------------------------------------------

publish_queue::branch_queue&
publish_queue::queue_of(const std::string& branch_id) {
  auto i = branches_.find(branch_id);
  if (i == branches_.end())
    i = branches_.emplace(branch_id, branch_queue{seeds_()}).first;
  return i->second;
}

bool publish_queue::is_behind(const commit_notice& notice) const {
  if (unread_from_ && notice.seq >= *unread_from_)
    return true;
  auto i = behind_.find(notice.branch_id);
  return i != behind_.end() && notice.seq >= i->second;
}

void publish_queue::fall_behind(const std::string& branch_id, int64_t seq) {
  auto i = behind_.emplace(branch_id, seq).first;
  i->second = std::min(i->second, seq);
}

/// Makes the branch with the most notices to publish give up half of them.
bool publish_queue::make_room() {
  auto id = longest();
  return evict(id, queue_of(id));
}

/// Drops the newest half of a branch's notices that wait.
/// @returns whether there was one.
bool publish_queue::evict(const std::string& branch_id, branch_queue& from) {
  auto left = (from.notices + 1) / 2;
  auto lowest = no_end;
  for (auto notices : {&waiting_, &from.blocked}) {
    for (auto i = notices->end(); i != notices->begin() && left > 0;) {
      --i;
      if (i->second.branch_id != branch_id)
        continue;
      lowest = std::min(lowest, i->first);
      known_.erase(i->first);
      i = notices->erase(i);
      --from.notices;
      --left;
    }
  }
  if (lowest == no_end)
    return false;
  fall_behind(branch_id, lowest);
  return true;
}

std::string publish_queue::longest() const {
  assert(!branches_.empty());
  auto fewer
    = [](auto& x, auto& y) { return x.second.notices < y.second.notices; };
  return std::max_element(branches_.begin(), branches_.end(), fewer)->first;
}

uint64_t publish_queue::begin_attempt(branch_queue& from, commit_notice notice,
                                      time_point now) {
  assert(from.notices > 0);
  --from.notices;
  auto token = ++last_token_;
  in_flight_.emplace(token, attempt{std::move(notice), now});
  return token;
}

/// Takes back all that a branch has in_flight; it probes after a backoff.
void publish_queue::stop(const std::string& branch_id, time_point now) {
  auto& x = queue_of(branch_id);
  for (auto i = in_flight_.begin(); i != in_flight_.end();) {
    auto& notice = i->second.notice;
    if (notice.branch_id != branch_id) {
      ++i;
      continue;
    }
    ++x.notices;
    auto seq = notice.seq;
    x.blocked.emplace(seq, std::move(notice));
    i = in_flight_.erase(i);
  }
  if (x.stopped && x.probe == 0)
    return; // Waits for its probe already.
  x.stopped = true;
  x.probe = 0;
  probes_due_.emplace(now + x.retry.next(), branch_id);
}

void publish_queue::release(branch_queue& x) {
  x.stopped = false;
  x.probe = 0;
  x.retry.reset();
  waiting_.merge(x.blocked);
}

/// Launches the first notice of a stopped branch whose backoff is over.
std::optional<uint64_t> publish_queue::probe(time_point now) {
  while (!probes_due_.empty() && probes_due_.begin()->first <= now) {
    auto branch_id = probes_due_.extract(probes_due_.begin()).value().second;
    auto& x = queue_of(branch_id);
    if (x.blocked.empty()) { // They gave way to others.
      x.stopped = false;
      continue;
    }
    auto node = x.blocked.extract(x.blocked.begin());
    x.probe = begin_attempt(x, std::move(node.mapped()), now);
    return x.probe;
  }
  return std::nullopt;
}

} // namespace tillstream

#include "actors/relay_queue.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace tillstream {

relay_queue::relay_queue(size_t notes_max, uint64_t seed)
  : notes_max_(notes_max),
    seeds_(seed) {
  assert(notes_max > 0);
}

// -- in -----------------------------------------------------------------------

void relay_queue::admit(outbox_note note) {
  assert(note.payload);
  if (known_.contains(note.seq) || is_behind(note))
    return;
  if (known_.size() >= notes_max_ && !make_room())
    fall_behind(note.branch_id, note.seq);
  // Making room may have put this very branch behind.
  if (is_behind(note))
    return;
  known_.insert(note.seq);
  ++line_of(note.branch_id).notes;
  auto seq = note.seq;
  waiting_.emplace(seq, std::move(note));
}

void relay_queue::miss(const std::string& branch_id, int64_t seq) {
  if (!known_.contains(seq))
    fall_behind(branch_id, seq);
}

void relay_queue::admit_page(int64_t from, int64_t to,
                             std::vector<outbox_note> rows) {
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

std::optional<int64_t> relay_queue::gap(size_t page_size) const {
  auto from = no_end;
  if (unread_from_ && waiting_.size() < page_size)
    from = *unread_from_;
  for (auto& [branch_id, seq] : behind_) {
    auto i = lines_.find(branch_id);
    if (i == lines_.end()
        || (!i->second.stopped && i->second.notes <= page_size / 2))
      from = std::min(from, seq);
  }
  return from == no_end ? std::nullopt : std::optional{from};
}

bool relay_queue::make_room_for(size_t page_size) {
  if (known_.size() + page_size <= notes_max_)
    return true;
  auto id = longest();
  auto& x = line_of(id);
  return x.stopped && evict(id, x);
}

void relay_queue::forget(const std::string& branch_id, int64_t after_seq) {
  assert(marks_.empty());
  auto& x = line_of(branch_id);
  stop(branch_id, {});
  release(x);
  std::erase_if(resumes_, [&](auto& r) { return r.second == branch_id; });
  std::erase_if(waiting_, [&](auto& w) {
    auto gone = w.first > after_seq && w.second.branch_id == branch_id;
    if (gone) {
      known_.erase(w.first);
      --x.notes;
    }
    return gone;
  });
  fall_behind(branch_id, after_seq + 1);
}

// -- publishing ---------------------------------------------------------------

std::optional<uint64_t> relay_queue::launch(time_point now) {
  if (auto token = probe(now))
    return token;
  while (!waiting_.empty()) {
    auto node = waiting_.extract(waiting_.begin());
    auto& x = line_of(node.mapped().branch_id);
    if (!x.stopped)
      return fly(x, std::move(node.mapped()), now);
    x.parked.insert(std::move(node));
  }
  return std::nullopt;
}

const outbox_note& relay_queue::flying(uint64_t token) const {
  return flying_.at(token).note;
}

void relay_queue::unsent(uint64_t token, time_point now) {
  auto node = flying_.extract(token);
  assert(node);
  auto& note = node.mapped().note;
  auto& x = line_of(note.branch_id);
  if (x.probe == token) {
    x.probe = 0;
    resumes_.emplace(now, note.branch_id);
  }
  ++x.notes;
  auto seq = note.seq;
  (x.stopped ? x.parked : waiting_).emplace(seq, std::move(note));
}

std::optional<relay_queue::time_point> relay_queue::acked(uint64_t token) {
  auto node = flying_.extract(token);
  if (!node)
    return std::nullopt;
  auto& note = node.mapped().note;
  auto& x = line_of(note.branch_id);
  if (x.probe == token)
    release(x);
  marks_.emplace(note.seq, note.event_id);
  return node.mapped().since;
}

bool relay_queue::failed(uint64_t token, time_point now) {
  auto i = flying_.find(token);
  if (i == flying_.end())
    return false;
  // A copy: stopping the branch moves the note away.
  auto branch_id = i->second.note.branch_id;
  stop(branch_id, now);
  return true;
}

size_t relay_queue::fail_overdue(time_point deadline, time_point now) {
  size_t count = 0;
  while (!flying_.empty() && flying_.begin()->second.since <= deadline) {
    failed(flying_.begin()->first, now);
    ++count;
  }
  return count;
}

// -- marking ------------------------------------------------------------------

std::vector<storage::outbox_mark> relay_queue::marks(size_t count) const {
  std::vector<storage::outbox_mark> result;
  result.reserve(std::min(count, marks_.size()));
  for (auto& [seq, event_id] : marks_) {
    if (result.size() == count)
      break;
    result.push_back({seq, event_id});
  }
  return result;
}

void relay_queue::marked(size_t count) {
  assert(count <= marks_.size());
  for (; count > 0; --count) {
    known_.erase(marks_.begin()->first);
    marks_.erase(marks_.begin());
  }
}

// -- state --------------------------------------------------------------------

std::optional<relay_queue::time_point>
relay_queue::next_due(caf::timespan timeout) const {
  auto due = time_point::max();
  if (!resumes_.empty())
    due = resumes_.begin()->first;
  if (!flying_.empty())
    due = std::min(due, flying_.begin()->second.since + timeout);
  return due == time_point::max() ? std::nullopt : std::optional{due};
}

// -- helpers ------------------------------------------------------------------

relay_queue::line& relay_queue::line_of(const std::string& branch_id) {
  auto i = lines_.find(branch_id);
  if (i == lines_.end())
    i = lines_.emplace(branch_id, line{seeds_()}).first;
  return i->second;
}

bool relay_queue::is_behind(const outbox_note& note) const {
  if (unread_from_ && note.seq >= *unread_from_)
    return true;
  auto i = behind_.find(note.branch_id);
  return i != behind_.end() && note.seq >= i->second;
}

void relay_queue::fall_behind(const std::string& branch_id, int64_t seq) {
  auto i = behind_.emplace(branch_id, seq).first;
  i->second = std::min(i->second, seq);
}

/// Makes the branch with the most notes to publish give up half of them.
bool relay_queue::make_room() {
  auto id = longest();
  return evict(id, line_of(id));
}

/// Drops the newest half of a branch's notes that wait.
/// @returns whether there was one.
bool relay_queue::evict(const std::string& branch_id, line& from) {
  auto left = (from.notes + 1) / 2;
  auto lowest = no_end;
  for (auto notes : {&waiting_, &from.parked}) {
    for (auto i = notes->end(); i != notes->begin() && left > 0;) {
      --i;
      if (i->second.branch_id != branch_id)
        continue;
      lowest = std::min(lowest, i->first);
      known_.erase(i->first);
      i = notes->erase(i);
      --from.notes;
      --left;
    }
  }
  if (lowest == no_end)
    return false;
  fall_behind(branch_id, lowest);
  return true;
}

std::string relay_queue::longest() const {
  assert(!lines_.empty());
  auto fewer = [](auto& x, auto& y) { return x.second.notes < y.second.notes; };
  return std::max_element(lines_.begin(), lines_.end(), fewer)->first;
}

uint64_t relay_queue::fly(line& from, outbox_note note, time_point now) {
  assert(from.notes > 0);
  --from.notes;
  auto token = ++last_token_;
  flying_.emplace(token, flight{std::move(note), now});
  return token;
}

/// Takes back all that a branch has flying; it probes after a backoff.
void relay_queue::stop(const std::string& branch_id, time_point now) {
  auto& x = line_of(branch_id);
  for (auto i = flying_.begin(); i != flying_.end();) {
    auto& note = i->second.note;
    if (note.branch_id != branch_id) {
      ++i;
      continue;
    }
    ++x.notes;
    auto seq = note.seq;
    x.parked.emplace(seq, std::move(note));
    i = flying_.erase(i);
  }
  if (x.stopped && x.probe == 0)
    return; // Waits for its probe already.
  x.stopped = true;
  x.probe = 0;
  resumes_.emplace(now + x.retry.next(), branch_id);
}

void relay_queue::release(line& x) {
  x.stopped = false;
  x.probe = 0;
  x.retry.reset();
  waiting_.merge(x.parked);
}

/// Launches the first note of a stopped branch whose backoff is over.
std::optional<uint64_t> relay_queue::probe(time_point now) {
  while (!resumes_.empty() && resumes_.begin()->first <= now) {
    auto branch_id = resumes_.extract(resumes_.begin()).value().second;
    auto& x = line_of(branch_id);
    if (x.parked.empty()) { // They gave way to others.
      x.stopped = false;
      continue;
    }
    auto node = x.parked.extract(x.parked.begin());
    x.probe = fly(x, std::move(node.mapped()), now);
    return x.probe;
  }
  return std::nullopt;
}

} // namespace tillstream

#include "actors/aggregation/branch_inbox.hpp"

#include "messages/codec/event_codec.hpp"
#include "messages/core/error.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <utility>

namespace tillstream {

branch_inbox::branch_inbox(std::string branch_id, size_t credit_max)
  : branch_id_(std::move(branch_id)),
    credit_max_(credit_max) {
  assert(credit_max_ > 0);
}

void branch_inbox::open(uint64_t generation, uint64_t after_seq) {
  close();
  is_open_ = true;
  generation_ = generation;
  last_stream_seq_ = after_seq;
  last_consumer_seq_ = 0;
}

void branch_inbox::close() {
  is_open_ = false;
  waiting_.clear();
  credit_ = 0;
  held_ = 0;
}

branch_inbox::trouble branch_inbox::check(const delivered_message& x) {
  // A redelivery comes out of turn: the stream would not be in order.
  if (x.delivery > 1)
    return trouble::redelivered;
  if (x.consumer_seq != last_consumer_seq_ + 1)
    return trouble::gap;
  last_consumer_seq_ = x.consumer_seq;
  if (held_ >= credit_)
    return trouble::flooded;
  return trouble::none;
}

stream_event branch_inbox::decode(const delivered_message& x) const {
  stream_event result;
  result.stream_seq = x.stream_seq;
  result.raw = x.payload;
  auto event
    = decode_event(x.payload ? *x.payload : std::string_view{}, branch_id_);
  if (event)
    result.event = std::move(*event);
  else
    result.reason = describe(event.error());
  return result;
}

branch_inbox::reading branch_inbox::take(const delivery& x) {
  reading result;
  // Generation 0 concerns whatever is open.
  if (!is_open_ || (x.generation != generation_ && x.generation != 0))
    return result;
  if (!x.lost.empty()) {
    result.what = trouble::lost;
    return result;
  }
  for (const auto& next : x.messages) {
    result.what = check(next);
    if (result.what != trouble::none)
      return result;
    if (next.stream_seq <= last_stream_seq_) {
      result.duplicates.push_back(next.reply);
      --credit_;
      continue;
    }
    last_stream_seq_ = next.stream_seq;
    waiting_.push_back({decode(next), next.reply});
    ++held_;
  }
  return result;
}

std::vector<branch_inbox::message> branch_inbox::next_batch(size_t max) {
  auto count = static_cast<std::ptrdiff_t>(std::min(max, waiting_.size()));
  auto end = waiting_.begin() + count;
  std::vector<message> result{std::make_move_iterator(waiting_.begin()),
                              std::make_move_iterator(end)};
  waiting_.erase(waiting_.begin(), end);
  return result;
}

void branch_inbox::settle(size_t count) {
  // After a `close` nothing is held: what was handed out before has no credit.
  count = std::min(count, held_ - waiting_.size());
  held_ -= count;
  credit_ -= count;
}

size_t branch_inbox::refill() {
  if (!is_open_ || credit_ > credit_max_ / 2)
    return 0;
  return credit_max_ - std::exchange(credit_, credit_max_);
}

std::string_view to_string(branch_inbox::trouble x) {
  switch (x) {
    case branch_inbox::trouble::none:
      return "none";
    case branch_inbox::trouble::gap:
      return "gap";
    case branch_inbox::trouble::redelivered:
      return "redelivered";
    case branch_inbox::trouble::lost:
      return "lost";
    case branch_inbox::trouble::flooded:
      return "flooded";
  }
  return "unknown";
}

} // namespace tillstream

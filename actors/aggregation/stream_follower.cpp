#include "actors/aggregation/stream_follower.hpp"

#include "actors/aggregation/stream_incarnation.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <cassert>
#include <utility>

namespace tillstream {

namespace {

constexpr std::string_view log_data_loss = "shard.stream_data_loss";
constexpr std::string_view log_reopened = "shard.stream_reopened";

counter& data_losses() {
  static auto& instance = metrics().get_counter(
    "tillstream_stream_data_loss_total",
    "Times that the stream of a branch was another, or ended before its "
    "cursor.");
  return instance;
}

counter& reopened(branch_inbox::trouble why) {
  return metrics().get_counter(
    "tillstream_shard_reopens_total",
    "Times that a branch's deliveries were opened again, by reason.",
    metric_label("reason", to_string(why)));
}

} // namespace

stream_follower::stream_follower(std::string branch_id, size_t fetch_max,
                                 uint64_t generation, uint64_t seed)
  : branch_id_(std::move(branch_id)),
    inbox_(branch_id_, fetch_max),
    generation_(generation),
    open_wait_(seed) {
  // nop
}

void stream_follower::close() {
  inbox_.close();
  phase_ = phase::closed;
}

void stream_follower::start(time_point now) {
  assert(phase_ == phase::closed);
  phase_ = phase::waiting;
  open_at_ = now;
}

stream_follower::time_point stream_follower::reopen(time_point now) {
  assert(phase_ != phase::closed);
  inbox_.close();
  phase_ = phase::waiting;
  open_at_ = now + open_wait_.next();
  return open_at_;
}

stream_follower::time_point
stream_follower::reopen(time_point now, branch_inbox::trouble reason) {
  reopened(reason).add();
  log::info(log_reopened,
            {{"branch", branch_id_}, {"reason", to_string(reason)}});
  return reopen(now);
}

stream_follower::step
stream_follower::next(const branch_cursor& cursor, bool backlog_synced,
                      time_point now) {
  if (phase_ == phase::waiting)
    return now < open_at_ ? step::none : step::probe;
  if (phase_ != phase::probed)
    return step::none;
  auto incarnation = next_incarnation(cursor, stream_);
  if (incarnation == cursor.stream_incarnation)
    return step::open;
  if (cursor.stream_incarnation.empty() || republished_for_ == incarnation)
    return step::adopt;
  // Without the outbox nobody knows what is missing.
  if (!backlog_synced)
    return step::reopen;
  if (std::exchange(reported_for_, incarnation) != incarnation)
    report_data_loss(cursor, incarnation);
  return now < open_at_ ? step::none : step::republish;
}

void stream_follower::probe_sent() {
  assert(phase_ == phase::waiting);
  phase_ = phase::probing;
}

void stream_follower::probe_answered(const stream_state& x) {
  if (phase_ != phase::probing)
    return;
  phase_ = phase::probed;
  stream_ = x;
}

stream_follower::opening
stream_follower::open(const branch_cursor& cursor, time_point now) {
  assert(phase_ == phase::probed);
  phase_ = phase::following;
  checked_at_ = now;
  inbox_.open(++generation_, cursor.stream_seq);
  return {cursor.stream_seq + 1, generation_, inbox_.refill()};
}

std::string stream_follower::adopt(const branch_cursor& cursor) {
  assert(phase_ == phase::probed);
  phase_ = phase::waiting;
  return next_incarnation(cursor, stream_);
}

std::string stream_follower::republish(const branch_cursor& cursor) {
  assert(phase_ == phase::probed);
  phase_ = phase::republishing;
  return next_incarnation(cursor, stream_);
}

void stream_follower::republished(const std::string& incarnation) {
  republished_for_ = incarnation;
  if (phase_ == phase::republishing)
    phase_ = phase::probed;
}

bool stream_follower::take_check(time_point now) {
  if (!is_following() || now - checked_at_ < limits::incarnation_check_interval)
    return false;
  checked_at_ = now;
  return true;
}

bool stream_follower::is_other(const branch_cursor& cursor,
                               const stream_state& stream) {
  return next_incarnation(cursor, stream) != cursor.stream_incarnation;
}

void stream_follower::report_data_loss(const branch_cursor& cursor,
                                       const std::string& incarnation) {
  data_losses().add();
  log::error(log_data_loss, {{"branch", branch_id_},
                             {"cursor_incarnation", cursor.stream_incarnation},
                             {"cursor_seq", cursor.stream_seq},
                             {"incarnation", incarnation},
                             {"last_seq", stream_.last_seq}});
}

} // namespace tillstream

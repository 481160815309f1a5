#include "actors/aggregation/stall_detector.hpp"

#include "messages/core/metrics.hpp"

#include <algorithm>

namespace tillstream {

namespace {

counter& stalls() {
  static auto& instance = metrics().get_counter(
    "tillstream_shard_stalls_total",
    "Times that pending events did not come and the branch was opened again.");
  return instance;
}

counter& waits_for_relay() {
  static auto& instance = metrics().get_counter(
    "tillstream_shard_waits_for_relay_total",
    "Times that pending events did not come because they were not published.");
  return instance;
}

} // namespace

void stall_detector::heard(time_point now) {
  heard_at_ = now;
  wait_ = limits::stall_min;
}

bool stall_detector::is_overdue(time_point now, timestamp oldest,
                                timestamp db_now) const {
  return now - heard_at_ >= wait_ && db_now - oldest >= wait_;
}

stall_detector::step
stall_detector::outbox_answered(std::chrono::milliseconds sent_for,
                                time_point now, time_point checked_at) {
  // With the relay behind, opening or publishing again would add to its load.
  if (sent_for < limits::stall_min) {
    waits_for_relay().add(sent_for.count() < 0 ? 1 : 0);
    heard_at_ = now;
    return step::wait;
  }
  return checked_at <= silent_since_ ? step::check_event_log
                                     : step::probe_stream;
}

stall_detector::step
stall_detector::stream_answered(bool may_lack_events) const {
  // First the deliveries are opened again: that is cheaper.
  return may_lack_events && wait_ > limits::stall_min ? step::republish
                                                      : step::reopen;
}

void stall_detector::repaired() {
  stalls().add();
  wait_ = std::min<duration>(wait_ * 2, limits::stall_max);
}

} // namespace tillstream

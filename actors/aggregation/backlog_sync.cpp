#include "actors/aggregation/backlog_sync.hpp"

#include "messages/core/limits.hpp"
#include "messages/core/metrics.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace tillstream {

namespace {

using namespace std::chrono_literals;

/// How often pending events are looked up.
constexpr auto reconcile_interval = 30s;

/// The clocks of database and node may differ by this much.
constexpr auto clock_skew_max = 2s;

constexpr std::string_view lag_gauge_name = "tillstream_branch_lag_ms";

histogram& end_to_end_lag() {
  static auto& instance
    = metrics().get_histogram("tillstream_end_to_end_lag_seconds",
                              "From recorded to applied, each event.", 1e3);
  return instance;
}

gauge& pending_events() {
  static auto& instance
    = metrics().get_gauge("tillstream_pending_events",
                          "Committed and not yet applied, as the shards know.");
  return instance;
}

std::unordered_set<uuid> set_of(const std::vector<uuid>& ids) {
  return {ids.begin(), ids.end()};
}

} // namespace

backlog_sync::backlog_sync(std::string branch_id, backlog_limits bounds,
                           size_t notices_max, uint64_t seed)
  : branch_id_(std::move(branch_id)),
    notices_max_(notices_max),
    pending_(bounds),
    retry_(seed, 1s, 30s) {
  // nop
}

backlog_sync::~backlog_sync() {
  pending_events().add(-published_count_);
  metrics().drop_gauge(lag_gauge_name, metric_label("branch", branch_id_));
}

int64_t backlog_sync::republish_after(const branch_cursor& cursor) const {
  auto lowest = pending_.lowest_seq();
  return lowest ? std::min(cursor.outbox_seq, *lowest - 1) : cursor.outbox_seq;
}

void backlog_sync::add_progress(shard_answer& out, const branch_cursor& cursor,
                                timestamp db_now) const {
  auto oldest = pending_.oldest();
  out.pending_events = pending_.count();
  if (synced_) {
    out.as_of = oldest ? *oldest - 1ms : db_now;
    out.lag_ms = oldest ? std::max<int64_t>((db_now - *oldest).count(), 0) : 0;
    return;
  }
  // What is pending beside the notices that came is not known yet.
  out.as_of = cursor.recorded_at;
  if (oldest)
    out.as_of = std::min(out.as_of, *oldest - 1ms);
}

void backlog_sync::committed(const std::vector<commit_notice>& notices) {
  for (const auto& x : notices)
    pending_.add(x);
  publish_count();
}

void backlog_sync::applied(const apply_request& request,
                           const apply_outcome& outcome, timestamp db_now) {
  // The outcome does not name those that the store set aside: if there are
  // any, only the really new events are known to be applied.
  auto unreadable = std::ranges::count_if(
    request.events, [](const auto& x) { return !x.reason.empty(); });
  auto all_known = outcome.quarantined == unreadable;
  auto fresh = set_of(outcome.applied);
  for (const auto& [stream_seq, event, reason, raw] : request.events) {
    if (!reason.empty())
      continue;
    auto is_fresh = fresh.count(event.event_id) > 0;
    if (is_fresh)
      end_to_end_lag().observe(static_cast<uint64_t>(
        std::max<int64_t>((db_now - event.recorded_at).count(), 0)));
    if (is_fresh || all_known)
      pending_.apply(event.event_id, event.outbox_seq);
    else
      pending_.remove(event.event_id, event.outbox_seq);
  }
  publish_count();
}

void backlog_sync::loaded(time_point now, timestamp db_now) {
  // What was applied before is not remembered one by one.
  pending_.raise_horizon(db_now + clock_skew_max);
  // A commit in doubt may have applied what is held as pending.
  reconcile_due_ = true;
  grace_until_ = now + limits::shard_sync_grace;
}

void backlog_sync::begin_round() {
  ++round_;
  notices_.clear();
  phase_ = phase::due;
}

void backlog_sync::invalidate() {
  begin_round();
  synced_ = false;
}

bool backlog_sync::restart(time_point now) {
  begin_round();
  if (!std::exchange(synced_, false))
    return false;
  grace_until_ = now + limits::shard_sync_grace;
  return true;
}

// -- the OLTP database --------------------------------------------------------

timestamp backlog_sync::read_since(const branch_cursor& cursor) const {
  auto unread = pending_.unread();
  // What lies before was read; commits overtake each other by less.
  if (synced_ && unread)
    return *unread - clock_skew_max;
  return cursor.recorded_at - limits::backlog_margin;
}

std::optional<backlog_sync::read_request>
backlog_sync::next_read(const branch_cursor& cursor, time_point now) {
  auto wanted = !synced_ || (pending_.unread() && pending_.has_room());
  if (!wanted || now < read_at_ || phase_ == phase::reading
      || phase_ == phase::checking)
    return std::nullopt;
  phase_ = phase::reading;
  pending_.begin_refill();
  return read_request{++round_, read_since(cursor)};
}

void backlog_sync::read(uint64_t round,
                        const std::vector<commit_notice>& notices) {
  if (round != round_)
    return;
  phase_ = phase::checking;
  notices_ = notices;
  rest_.reset();
  // What was made later may have a lower number than some of these, but not
  // than all: their batches would all have stood still at once.
  if (notices.size() >= notices_max_)
    rest_ = {std::ranges::max_element(notices, {}, &commit_notice::recorded_at)
               ->recorded_at,
             std::ranges::min_element(notices, {}, &commit_notice::seq)->seq};
}

void backlog_sync::read_failed(uint64_t round, time_point now) {
  if (round == round_)
    failed(now);
}

void backlog_sync::failed(time_point now) {
  phase_ = phase::due;
  notices_.clear();
  grace_until_ = now;
  read_at_ = now + retry_.next();
}

// -- the event log ------------------------------------------------------------

std::optional<backlog_sync::lookup> backlog_sync::next_lookup(time_point now) {
  if (std::exchange(reconcile_due_, false)) {
    auto ids = pending_.oldest_ids(limits::known_events_max);
    if (!ids.empty())
      return lookup{0, now, std::move(ids)};
    reconciled_at_ = now;
  }
  if (phase_ != phase::checking)
    return std::nullopt;
  if (notices_.empty()) {
    finish({});
    return std::nullopt;
  }
  lookup result{round_, now, {}};
  for (const auto& x : notices_)
    result.event_ids.push_back(x.event_id);
  return result;
}

void backlog_sync::looked_up(const lookup& what,
                             const std::vector<uuid>& known) {
  if (what.round == round_) {
    finish(known);
  } else if (what.round == 0) {
    reconciled_at_ = what.began;
    for (const auto& id : known)
      if (auto seq = pending_.seq_of(id))
        pending_.apply(id, *seq);
    publish_count();
  }
}

void backlog_sync::lookup_failed(const lookup& what, time_point now) {
  // Pending events are looked up again in turn.
  if (what.round == round_)
    failed(now);
}

/// Ends the sync: `known` are applied.
void backlog_sync::finish(const std::vector<uuid>& known) {
  auto applied = set_of(known);
  std::vector<commit_notice> unapplied;
  for (auto& x : std::exchange(notices_, {})) {
    if (applied.count(x.event_id) == 0)
      unapplied.push_back(std::move(x));
    else if (pending_.is_pending(x.event_id))
      pending_.apply(x.event_id, x.seq);
  }
  pending_.refill(unapplied, rest_);
  phase_ = phase::done;
  synced_ = true;
  retry_.reset();
  publish_count();
}

// -- time and metrics ---------------------------------------------------------

void backlog_sync::tick(time_point now, timestamp db_now) {
  if (synced_ && pending_.count() > 0
      && now - reconciled_at_ >= reconcile_interval)
    reconcile_due_ = true;
  auto oldest = pending_.oldest();
  auto lag = oldest ? std::max<int64_t>((db_now - *oldest).count(), 0) : 0;
  if (lag == std::exchange(published_lag_, lag))
    return;
  metrics()
    .get_gauge(lag_gauge_name, "Age of a branch's oldest pending event.",
               metric_label("branch", branch_id_))
    .set(lag);
}

void backlog_sync::publish_count() {
  auto count = pending_.count();
  pending_events().add(count - published_count_);
  published_count_ = count;
}

} // namespace tillstream

#include "actors/upkeep/lake_archiver.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/stateful_actor.hpp>

#include <algorithm>
#include <cassert>
#include <map>
#include <utility>

namespace tillstream {

namespace {

using self_pointer = lake_archiver_impl::stateful_pointer<lake_archiver_state>;

constexpr std::string_view log_failure = "lake_archiver.round_failed";
constexpr std::string_view log_missing = "lake_archiver.events_missing";

struct lake_metrics {
  counter& written = metrics().get_counter("tillstream_lake_events_total",
                                           "Events written to the lake.");
  counter& missing = metrics().get_counter(
    "tillstream_lake_missing_total",
    "Applied events that were gone before they could be written.");
};

lake_metrics& stats() {
  static lake_metrics instance;
  return instance;
}

using events_by_day = std::map<calendar_day, std::vector<std::string>>;

/// Sorts payloads into business days. Those that are gone leave a gap.
events_by_day group(const std::vector<lake_entry>& entries,
                    std::vector<std::string> payloads) {
  assert(entries.size() == payloads.size());
  events_by_day days;
  for (size_t i = 0; i < entries.size(); ++i)
    if (!payloads[i].empty())
      days[entries[i].day].push_back(std::move(payloads[i]));
  return days;
}

void report_missing(const lake_segment& segment, int64_t count) {
  if (count == 0)
    return;
  stats().missing.add(static_cast<uint64_t>(count));
  log::error(log_missing, {{"branch", segment.branch_id},
                           {"from", segment.from_no},
                           {"to", segment.to_no},
                           {"events", count}});
}

/// Fetches a segment's events, in order of their apply numbers.
caf::expected<events_by_day>
load(lake_archiver_state& state, const lake_segment& segment) {
  auto entries = state.plan->entries(segment);
  if (!entries)
    return entries.error();
  std::vector<uuid> ids;
  for (auto& x : *entries)
    ids.push_back(x.event_id);
  auto payloads = state.outbox->payloads(segment.branch_id, ids);
  if (!payloads)
    return payloads.error();
  return group(*entries, std::move(*payloads));
}

/// Writes one segment and ticks it off.
caf::error
write_segment(lake_archiver_state& state, const lake_segment& segment) {
  auto days = load(state, segment);
  if (!days)
    return days.error();
  int64_t written = 0;
  for (auto& [day, events] : *days) {
    fault_point("lake-archiver.write");
    auto path = state.options.write(segment.branch_id, day, segment.from_no,
                                    segment.to_no, events);
    if (!path)
      return path.error();
    written += static_cast<int64_t>(events.size());
  }
  fault_point("lake-archiver.finish");
  if (auto done = state.plan->finish(segment); !done)
    return done.error();
  stats().written.add(static_cast<uint64_t>(written));
  report_missing(segment, segment.to_no - segment.from_no + 1 - written);
  return {};
}

/// Writes what is due. @returns whether more may be.
caf::expected<bool> do_round(self_pointer self) {
  fault_point("lake-archiver.tick");
  auto& state = self->state;
  auto& options = state.options;
  auto now = self->clock().now();
  if (!state.plan.open(now))
    return state.plan.error();
  if (!state.outbox.open(now))
    return state.outbox.error();
  auto segments = state.plan->plan(options.rows_max, options.age_max.count(),
                                   options.segments_max);
  if (!segments)
    return segments.error();
  for (auto& segment : *segments)
    if (auto err = write_segment(state, segment))
      return err;
  return segments->size() == options.segments_max;
}

/// Which session failed is not worth the bookkeeping: both are opened anew.
void fail(self_pointer self, caf::error err) {
  auto& state = self->state;
  auto now = self->clock().now();
  log::error(log_failure, {{"error", describe(err)}});
  if (state.plan.is_open())
    state.plan.drop(now, err);
  if (state.outbox.is_open())
    state.outbox.drop(now, err);
  state.trouble = std::move(err);
  self->delayed_send(self, state.retry.next(), atom::tick_v);
}

void tick(self_pointer self) {
  auto& state = self->state;
  auto more = do_round(self);
  if (!more) {
    fail(self, std::move(more.error()));
    return;
  }
  state.trouble = caf::error{};
  state.retry.reset();
  if (*more)
    self->send(self, atom::tick_v);
  else
    self->delayed_send(self, state.options.interval, atom::tick_v);
}

readiness tell(const lake_archiver_state& state) {
  return {state.name, !state.trouble,
          state.trouble ? describe(state.trouble) : ""};
}

} // namespace

lake_archiver_impl::behavior_type
lake_archiver(self_pointer self, lake_archiver_options options) {
  assert(options.open_plan && options.open_outbox && options.write);
  install_handlers(self);
  auto& state = self->state;
  state.options = std::move(options);
  std::mt19937_64 seeds{state.options.seed + self->id()};
  state.plan = {state.options.open_plan, seeds()};
  state.outbox = {state.options.open_outbox, seeds()};
  state.retry
    = backoff{seeds(), state.options.interval / 10, state.options.interval * 6};
  self->send(self, atom::tick_v);
  return {
    [self](atom::ready) { return tell(self->state); },
    [self](atom::tick) { tick(self); },
  };
}

} // namespace tillstream

#include "actors/query/fallback_reader.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/metrics.hpp"

#include <caf/stateful_actor.hpp>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <map>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = fallback_reader_impl::stateful_pointer<fallback_reader_state>;
using job_ptr = fallback_reader_state::job_ptr;

using namespace std::chrono_literals;

/// An owner that applies events changes the tables while they are read; after
/// so many attempts the answer does without the backlog.
constexpr int attempts_max = 3;

struct fallback_metrics {
  counter& answers = metrics().get_counter(
    "tillstream_fallback_answers_total",
    "Parts of queries that the tables answered for an absent owner.");
  counter& restarts = metrics().get_counter(
    "tillstream_fallback_restarts_total",
    "Times that something was applied while the tables were read.");
};

fallback_metrics& stats() {
  static fallback_metrics instance;
  return instance;
}

/// Begins to read queued branches, as many as may be read at once.
void start_jobs(self_pointer self);

// -- the end of a job ---------------------------------------------------------

void end_job(self_pointer self, const job_ptr& x) {
  x->done = true;
  x->cache.reset();
  self->state.running.erase(x);
  start_jobs(self);
}

void fail(self_pointer self, const job_ptr& x, const caf::error& why) {
  x->promise.deliver(why);
  end_job(self, x);
}

/// @param known Those of the notices that are applied; nothing when that can't
///              be told.
void answer(self_pointer self, const job_ptr& x,
            const std::optional<std::unordered_set<uuid>>& known) {
  auto result = x->cache->answer(*x->query);
  result.as_of = x->cache->cursor().recorded_at;
  if (known) {
    result.as_of = x->read_at;
    result.lag_ms = 0;
    for (const auto& notice : x->notices) {
      if (known->count(notice.event_id) > 0)
        continue;
      ++result.pending_events;
      result.as_of = std::min(result.as_of, notice.recorded_at - 1ms);
      result.lag_ms = std::max<int64_t>(
        *result.lag_ms, (x->read_at - notice.recorded_at).count());
    }
  }
  stats().answers.add();
  x->promise.deliver(std::make_shared<const shard_answer>(std::move(result)));
  end_job(self, x);
}

// -- reading ------------------------------------------------------------------

caf::timespan
time_left(self_pointer self, const fallback_reader_state::job& x) {
  return std::max<caf::timespan>(x.deadline - self->clock().now(), 1ms);
}

/// Sends a request for a job; what comes when the job is over is dropped.
template <class Result, class Handle, class F, class OnError, class... Args>
void request(self_pointer self, const job_ptr& x, caf::timespan timeout,
             const Handle& whom, F f, OnError on_error, Args... args) {
  self->request(whom, timeout, args...)
    .then(
      [x, f](const Result& result) {
        if (!x->done)
          f(result);
      },
      [x, on_error](caf::error& err) {
        if (!x->done)
          on_error(err);
      });
}

void load(self_pointer self, const job_ptr& x);

/// Something was applied between two readings.
void start_over(self_pointer self, const job_ptr& x) {
  stats().restarts.add();
  if (x->attempts < attempts_max)
    load(self, x);
  else
    fail(self, x,
         caf::make_error(errc::unavailable, "tables of " + x->branch_id));
}

/// Compares what is committed with the event log. It must stand where the
/// tables were when they were read, lest an event between the two be in
/// neither.
void check_log(self_pointer self, const job_ptr& x) {
  slice_request what;
  what.what = slice_request::kind::known_events;
  what.branch_id = x->branch_id;
  for (const auto& notice : x->notices)
    what.event_ids.push_back(notice.event_id);
  request<slice_ptr>(
    self, x, time_left(self, *x), self->state.options.reader,
    [self, x](const slice_ptr& log) {
      if (log->apply_no == x->cache->cursor().apply_no)
        answer(self, x,
               std::unordered_set<uuid>{log->known_events.begin(),
                                        log->known_events.end()});
      else if (x->attempts < attempts_max)
        start_over(self, x);
      else
        answer(self, x, std::nullopt);
    },
    [self, x](const caf::error&) { answer(self, x, std::nullopt); },
    atom::load_v, what);
}

void read_outbox(self_pointer self, const job_ptr& x) {
  auto since = x->cache->cursor().recorded_at - limits::backlog_margin;
  // With half of the time: the reader of all branches may be busy, and an
  // answer without the lag must still come.
  request<commit_notices_ptr>(
    self, x, time_left(self, *x) / 2, self->state.options.purchases,
    [self, x](const commit_notices_ptr& notices) {
      x->notices = *notices;
      if (x->notices.empty())
        answer(self, x, std::unordered_set<uuid>{});
      else
        check_log(self, x);
    },
    // The purchases' database is away: the numbers are right all the same.
    [self, x](const caf::error&) { answer(self, x, std::nullopt); },
    atom::recent_v, x->branch_id, since);
}

/// Loads what the query needs, slice by slice.
void read_slices(self_pointer self, const job_ptr& x) {
  auto missing = x->cache->missing(*x->query);
  if (!missing) {
    read_outbox(self, x);
    return;
  }
  missing->branch_id = x->branch_id;
  request<slice_ptr>(
    self, x, time_left(self, *x), self->state.options.reader,
    [self, x, what = *missing](const slice_ptr& part) {
      if (x->cache->add(what, *part))
        read_slices(self, x);
      else
        start_over(self, x);
    },
    [self, x](const caf::error& err) { fail(self, x, err); }, atom::load_v,
    *missing);
}

void load(self_pointer self, const job_ptr& x) {
  const auto& options = self->state.options;
  auto chain = options.view->get();
  const auto* clock = chain ? chain->clock(x->branch_id) : nullptr;
  if (clock == nullptr) {
    fail(self, x, caf::make_error(errc::not_found, "branch " + x->branch_id));
    return;
  }
  ++x->attempts;
  x->read_at = options.view->now();
  x->cache.emplace(x->branch_id, *clock, limits::shard_slice_rows_max);
  request<branch_state_ptr>(
    self, x, time_left(self, *x), options.reader,
    [self, x](const branch_state_ptr& state) {
      x->cache->reset(*state);
      read_slices(self, x);
    },
    [self, x](const caf::error& err) { fail(self, x, err); }, atom::load_v,
    x->branch_id);
}

void start_jobs(self_pointer self) {
  auto& state = self->state;
  while (!state.queue.empty() && state.running.size() < state.options.at_once) {
    auto next = std::move(state.queue.front());
    state.queue.pop_front();
    if (next->deadline <= self->clock().now()) {
      next->done = true;
      next->promise.deliver(
        caf::make_error(errc::timeout, "tables of " + next->branch_id));
      continue;
    }
    state.running.insert(next);
    load(self, next);
  }
}

caf::result<shard_answer_ptr>
enqueue(self_pointer self, const std::string& branch_id,
        const shard_query_ptr& query) {
  fault_point("fallback-reader.ask");
  auto& state = self->state;
  if (state.queue.size() >= state.options.queue_max)
    return caf::make_error(errc::overloaded, "answers from the tables");
  auto x = std::make_shared<fallback_reader_state::job>();
  x->branch_id = branch_id;
  x->query = query;
  x->promise = self->make_response_promise<shard_answer_ptr>();
  x->deadline = self->clock().now() + state.options.answer_max;
  auto promise = x->promise;
  state.queue.push_back(std::move(x));
  start_jobs(self);
  return promise;
}

// -- waiting for an event -----------------------------------------------------

template <class Predicate>
void release(self_pointer self, bool outcome, Predicate done) {
  std::erase_if(self->state.waiters, [&](auto& x) {
    if (!done(x))
      return false;
    x.promise.deliver(bool{outcome});
    return true;
  });
}

/// Answers those whose event is in the log.
void release_known(self_pointer self, const slice& log) {
  std::map<uuid, std::string_view> branch_of;
  for (size_t i = 0; i < log.known_events.size(); ++i)
    branch_of[log.known_events[i]] = log.known_branches[i];
  release(self, true, [&](const auto& x) {
    auto event = branch_of.find(x.event_id);
    return event != branch_of.end()
           && std::count(x.branches->begin(), x.branches->end(), event->second)
                > 0;
  });
}

/// Checks the event log for all waiters at once. Of a check that fails the next
/// tick is the repetition.
void check_waiters(self_pointer self) {
  auto& state = self->state;
  if (state.checking || state.waiters.empty())
    return;
  state.checking = true;
  slice_request what;
  what.what = slice_request::kind::known_events;
  std::set<uuid> ids;
  for (const auto& x : state.waiters)
    ids.insert(x.event_id);
  what.event_ids.assign(ids.begin(), ids.end());
  self
    ->request(state.options.reader, limits::after_wait_max, atom::load_v, what)
    .then(
      [self](const slice_ptr& log) {
        self->state.checking = false;
        release_known(self, *log);
      },
      [self](caf::error&) { self->state.checking = false; });
}

void schedule_tick(self_pointer self) {
  auto& state = self->state;
  if (state.tick_scheduled || state.waiters.empty())
    return;
  state.tick_scheduled = true;
  self->delayed_send(self, state.options.check_interval, atom::tick_v);
}

/// Time-outs do not depend on checks: one that hangs holds nobody up.
void tick(self_pointer self) {
  self->state.tick_scheduled = false;
  auto now = self->clock().now();
  release(self, false, [now](const auto& x) { return x.deadline <= now; });
  check_waiters(self);
  schedule_tick(self);
}

caf::result<bool>
wait_for(self_pointer self, const uuid& event_id, const strings_ptr& branches) {
  auto& state = self->state;
  // Not the id of an event: it will never be in the log.
  if (!is_uuid7(event_id))
    return false;
  if (state.waiters.size() >= state.options.waiters_max)
    return caf::make_error(errc::overloaded, "waiters for absent owners");
  auto promise = self->make_response_promise<bool>();
  state.waiters.push_back({event_id, branches, promise,
                           self->clock().now() + limits::after_wait_max});
  check_waiters(self);
  schedule_tick(self);
  return promise;
}

} // namespace

fallback_reader_state::~fallback_reader_state() {
  auto ended = caf::make_error(errc::unavailable, "the fallback reader ended");
  for (auto& x : queue)
    x->promise.deliver(ended);
  for (auto& x : running)
    x->promise.deliver(ended);
  for (auto& x : waiters)
    x.promise.deliver(ended);
}

fallback_reader_impl::behavior_type
fallback_reader(self_pointer self, fallback_reader_options options) {
  assert(options.view && options.at_once > 0);
  install_handlers(self);
  self->state.options = std::move(options);
  return {
    [self](atom::ask, const std::string& branch_id, const shard_query_ptr& x) {
      return enqueue(self, branch_id, x);
    },
    [self](atom::after, const uuid& event_id, const strings_ptr& branches) {
      return wait_for(self, event_id, branches);
    },
    [self](atom::tick) { tick(self); },
  };
}

} // namespace tillstream

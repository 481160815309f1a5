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
#include <unordered_set>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = fallback_reader_actor::stateful_pointer<fallback_reader_state>;
using job_ptr = fallback_reader_state::job_ptr;

using namespace std::chrono_literals;

/// An owner that goes on applying changes the tables under our hands; after so
/// many beginnings the answer does without the backlog.
constexpr int attempts_max = 3;

struct answerer_metrics {
  counter& answers = metrics().get_counter(
    "tillstream_table_answers_total",
    "Parts of questions that the tables answered for an absent owner.");
  counter& restarts = metrics().get_counter(
    "tillstream_table_answer_restarts_total",
    "Times that something was applied while the tables were read.");
};

answerer_metrics& stats() {
  static answerer_metrics instance;
  return instance;
}

/// Begins to read branches that wait, as many as may be.
void go_on(self_pointer self);

// -- the end of a job ---------------------------------------------------------

void end_job(self_pointer self, const job_ptr& x) {
  x->done = true;
  x->memory.reset();
  self->state.running.erase(x);
  go_on(self);
}

void fail(self_pointer self, const job_ptr& x, const caf::error& why) {
  x->promise.deliver(why);
  end_job(self, x);
}

/// @param known Those of the notices that are applied; nothing when that can't
///              be told.
void answer(self_pointer self, const job_ptr& x,
            const std::optional<std::unordered_set<uuid>>& known) {
  auto result = x->memory->answer(*x->query);
  result.as_of = x->memory->cursor().recorded_at;
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
      if (log->apply_no == x->memory->cursor().apply_no)
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
  auto since = x->memory->cursor().recorded_at - limits::backlog_margin;
  // With half of the time: one who reads for all branches may have much to do,
  // and an answer without the lag must still come.
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

/// Loads what the query needs, piece by piece.
void read_pieces(self_pointer self, const job_ptr& x) {
  auto missing = x->memory->missing(*x->query);
  if (!missing) {
    read_outbox(self, x);
    return;
  }
  missing->branch_id = x->branch_id;
  request<slice_ptr>(
    self, x, time_left(self, *x), self->state.options.reader,
    [self, x, what = *missing](const slice_ptr& piece) {
      if (x->memory->add(what, *piece))
        read_pieces(self, x);
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
  x->memory.emplace(x->branch_id, *clock, limits::shard_slice_rows_max);
  request<branch_state_ptr>(
    self, x, time_left(self, *x), options.reader,
    [self, x](const branch_state_ptr& state) {
      x->memory->reset(*state);
      read_pieces(self, x);
    },
    [self, x](const caf::error& err) { fail(self, x, err); }, atom::load_v,
    x->branch_id);
}

void go_on(self_pointer self) {
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
ask(self_pointer self, const std::string& branch_id,
    const shard_query_ptr& query) {
  fault_point("table-answerer.ask");
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
  go_on(self);
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

void look_again(self_pointer self) {
  auto& state = self->state;
  state.looking = false;
  auto now = self->clock().now();
  release(self, false, [now](const auto& x) { return x.deadline <= now; });
  if (!state.waiters.empty())
    self->delayed_send(self, state.options.after_interval, atom::tick_v);
}

/// Looks for all events at once that somebody waits for.
void look(self_pointer self) {
  auto& state = self->state;
  if (state.looking || state.waiters.empty())
    return;
  state.looking = true;
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
        std::map<uuid, std::string> known;
        for (size_t i = 0; i < log->known_events.size(); ++i)
          known[log->known_events[i]] = log->known_branches[i];
        release(self, true, [&](const auto& x) {
          auto event = known.find(x.event_id);
          return event != known.end()
                 && std::count(x.branches->begin(), x.branches->end(),
                               event->second)
                      > 0;
        });
        look_again(self);
      },
      [self](caf::error&) { look_again(self); });
}

caf::result<bool>
wait_for(self_pointer self, const uuid& event_id, const strings_ptr& branches) {
  auto& state = self->state;
  // Nobody waits for what cannot be an event.
  if (!is_uuid7(event_id))
    return false;
  if (state.waiters.size() >= state.options.waiters_max)
    return caf::make_error(errc::overloaded, "waiters for absent owners");
  auto promise = self->make_response_promise<bool>();
  state.waiters.push_back({event_id, branches, promise,
                           self->clock().now() + limits::after_wait_max});
  look(self);
  return promise;
}

} // namespace

fallback_reader_state::~fallback_reader_state() {
  auto ended = caf::make_error(errc::unavailable, "the table answerer ended");
  for (auto& x : queue)
    x->promise.deliver(ended);
  for (auto& x : running)
    x->promise.deliver(ended);
  for (auto& x : waiters)
    x.promise.deliver(ended);
}

fallback_reader_actor::behavior_type
fallback_reader(self_pointer self, fallback_reader_options options) {
  assert(options.view && options.at_once > 0);
  install_handlers(self);
  self->state.options = std::move(options);
  return {
    [self](atom::ask, const std::string& branch_id, const shard_query_ptr& x) {
      return ask(self, branch_id, x);
    },
    [self](atom::after, const uuid& event_id, const strings_ptr& branches) {
      return wait_for(self, event_id, branches);
    },
    [self](atom::tick) { look(self); },
  };
}

} // namespace tillstream

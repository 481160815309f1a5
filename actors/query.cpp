#include "actors/query.hpp"

#include "actors/fault_point.hpp"
#include "actors/system_config.hpp"
#include "messages/error.hpp"
#include "messages/log.hpp"
#include "messages/metrics.hpp"

#include <caf/stateful_actor.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <memory>
#include <utility>
#include <variant>

namespace tillstream {

namespace {

using self_pointer = query_actor::stateful_pointer<query_state>;
using running = query_state::running;
using running_ptr = query_state::running_ptr;

using namespace std::chrono_literals;

constexpr std::string_view log_partial = "question-not-answered";

/// Above the shard's own limit, so that it is the shard who answers.
constexpr auto after_answer_max = limits::after_wait_max + 500ms;

void count_answer(const std::string& name, int status) {
  metrics()
    .get_counter("tillstream_questions_total", "Questions of the dashboard.",
                 metric_label("name", name) + ","
                   + metric_label("status", std::to_string(status)))
    .add();
}

histogram& latency_of(const std::string& name) {
  return metrics().get_histogram(
    "tillstream_question_seconds",
    "From a question to its answer, waits of ?after= included.", 1e6,
    metric_label("name", name));
}

gauge& in_flight() {
  static auto& instance = metrics().get_gauge(
    "tillstream_questions_in_flight", "Questions that are being answered.");
  return instance;
}

http_reply_ptr share(http_reply x) {
  return std::make_shared<const http_reply>(std::move(x));
}

http_reply_ptr render_unavailable(std::string name, std::string detail,
                                  const std::string& trace_id) {
  problem x;
  x.status = 503;
  x.name = std::move(name);
  x.detail = std::move(detail);
  x.headers.emplace_back("Retry-After", "1");
  return share(render_problem(x, trace_id));
}

// -- the life of a question ---------------------------------------------------

void finish(self_pointer self, const running_ptr& x, http_reply_ptr reply) {
  auto& state = self->state;
  if (state.questions.erase(x) == 0)
    return;
  ++x->step;
  in_flight().add(-1);
  auto took = self->clock().now() - x->begun;
  latency_of(x->name).observe(static_cast<uint64_t>(
    std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  count_answer(x->name, reply->status);
  x->promise.deliver(std::move(reply));
}

/// One part can't be had: the answer would be wrong without it.
void fail(self_pointer self, const running_ptr& x, const caf::error& why) {
  log::warning(log_partial, {{"question", x->name},
                             {"error", describe(why)},
                             {"trace_id", x->trace_id}});
  auto overloaded = why == errc::overloaded;
  finish(self, x,
         render_unavailable(overloaded ? "overloaded" : "not-ready",
                            overloaded
                              ? "too many questions wait for this branch"
                              : "not all of the branches can answer now",
                            x->trace_id));
}

/// What is left of the question's time, at most `wanted`.
caf::timespan
time_left(self_pointer self, const running& x, caf::timespan wanted) {
  auto left = x.begun + self->state.options.answer_max - self->clock().now();
  return std::clamp<caf::timespan>(left, 1ms, wanted);
}

/// Runs `f` if the question is still in the step that asked.
template <class F>
void in_step(const running_ptr& x, int step, F f) {
  if (x->step == step)
    f();
}

void render(self_pointer self, const running_ptr& x) {
  fault_point("query.render");
  finish(self, x, share(render_answer(x->plan, x->parts)));
}

/// Counts customers where they do not add up.
void ask_subsets(self_pointer self, const running_ptr& x) {
  const auto& subsets = x->plan.subsets;
  if (subsets.empty()) {
    render(self, x);
    return;
  }
  x->parts.subsets.resize(subsets.size());
  x->missing = subsets.size();
  auto step = ++x->step;
  const auto& options = self->state.options;
  for (size_t i = 0; i < subsets.size(); ++i)
    self
      ->request(options.reader, time_left(self, *x, options.shards_wait_max),
                atom::load_v, subsets[i])
      .then(
        [self, x, step, i](const chunk_ptr& part) {
          in_step(x, step, [&] {
            x->parts.subsets[i] = part;
            if (--x->missing == 0)
              render(self, x);
          });
        },
        [self, x, step](caf::error& err) {
          in_step(x, step, [&] { fail(self, x, err); });
        });
}

void ask_shards(self_pointer self, const running_ptr& x) {
  auto count = x->plan.branches.size();
  x->parts.shards.resize(count);
  x->missing = count;
  auto step = ++x->step;
  const auto& options = self->state.options;
  for (size_t i = 0; i < count; ++i)
    self
      ->request(options.shards, time_left(self, *x, options.shards_wait_max),
                atom::ask_v, x->plan.branches[i].where->id,
                question_for(x->plan, i))
      .then(
        [self, x, step, i](const shard_answer_ptr& part) {
          in_step(x, step, [&] {
            x->parts.shards[i] = part;
            if (--x->missing == 0)
              ask_subsets(self, x);
          });
        },
        [self, x, step](caf::error& err) {
          in_step(x, step, [&] { fail(self, x, err); });
        });
}

/// One branch told whether it has the event.
void waited(self_pointer self, const running_ptr& x, bool applied) {
  --x->missing;
  if (!applied && x->missing > 0)
    return;
  x->parts.applied_after = applied;
  ask_shards(self, x);
}

/// The event's branch is not known: all that were asked wait, and the first
/// who has it ends the wait.
void wait_for_event(self_pointer self, const running_ptr& x) {
  x->missing = x->plan.branches.size();
  auto step = ++x->step;
  for (const auto& branch : x->plan.branches)
    self
      ->request(self->state.options.shards, after_answer_max, atom::after_v,
                branch.where->id, *x->plan.after)
      .then(
        [self, x, step](bool applied) {
          in_step(x, step, [&] { waited(self, x, applied); });
        },
        [self, x, step](caf::error&) {
          in_step(x, step, [&] { waited(self, x, false); });
        });
}

caf::result<http_reply_ptr>
ask(self_pointer self, const analytics_question& question) {
  fault_point("query.ask");
  auto& state = self->state;
  if (state.questions.size() >= state.options.in_flight_max) {
    count_answer(question.name, 503);
    return render_unavailable("overloaded", "too many questions at once",
                              question.trace_id);
  }
  auto shops = state.options.view->get();
  if (!shops)
    return render_unavailable("not-ready", "the branches are not known yet",
                              question.trace_id);
  auto plan = plan_question(question, shops, state.options.view->now());
  if (auto* wrong = std::get_if<problem>(&plan)) {
    auto known = find_analytics(question.name).has_value();
    count_answer(known ? question.name : "unknown", wrong->status);
    return share(render_problem(*wrong, question.trace_id));
  }
  auto x = std::make_shared<running>();
  x->plan = std::move(std::get<analytics_plan>(plan));
  x->name = question.name;
  x->trace_id = question.trace_id;
  x->begun = self->clock().now();
  x->promise = self->make_response_promise<http_reply_ptr>();
  auto promise = x->promise;
  state.questions.insert(x);
  in_flight().add(1);
  if (x->plan.after)
    wait_for_event(self, x);
  else
    ask_shards(self, x);
  return promise;
}

} // namespace

query_state::~query_state() {
  for (const auto& x : questions) {
    in_flight().add(-1);
    x->promise.deliver(render_unavailable(
      "not-ready", "the node restarts a part of it", x->trace_id));
  }
}

query_actor::behavior_type query(self_pointer self, query_options options) {
  assert(options.view && options.in_flight_max > 0);
  install_handlers(self);
  self->state.options = std::move(options);
  return {
    [self](atom::ask, const analytics_question_ptr& question) {
      return ask(self, *question);
    },
  };
}

} // namespace tillstream

#include "actors/query/query.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/codec/problem.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"
#include "messages/model/peer.hpp"

#include <caf/sec.hpp>
#include <caf/stateful_actor.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <map>
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

/// PEERS answers at the deadline; this much later we go on without.
constexpr auto peer_margin = 200ms;

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

// -- the life of a query ---------------------------------------------------

void finish(self_pointer self, const running_ptr& x, http_reply_ptr reply) {
  auto& state = self->state;
  if (state.queries.erase(x) == 0)
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

/// What is left of the query's time, at most `wanted`.
caf::timespan
time_left(self_pointer self, const running& x, caf::timespan wanted) {
  auto left = x.begun + self->state.options.answer_max - self->clock().now();
  return std::clamp<caf::timespan>(left, 1ms, wanted);
}

/// Runs `f` if the query is still in the step that asked.
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
        [self, x, step, i](const slice_ptr& part) {
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

// -- the parts of the branches ------------------------------------------------

/// Where a branch is asked first. Nothing: nobody alive owns it.
/// @pre `owners` may be null: then we own all
std::optional<std::string>
owner_of(const query_options& options, const ownership_table* owners,
         const std::string& branch_id) {
  if (owners == nullptr)
    return options.node;
  auto i = owners->find(branch_id);
  if (i == owners->end())
    return std::nullopt;
  return i->second;
}

ownership_table_ptr owners_of(const query_options& options) {
  auto result = options.owners ? options.owners->get() : nullptr;
  return result && !result->empty() ? result : nullptr;
}

using routes = query_state::routes;

routes find_routes(const query_options& options, const analytics_plan& plan) {
  routes result;
  auto owners = owners_of(options);
  for (size_t i = 0; i < plan.branches.size(); ++i) {
    auto owner = owner_of(options, owners.get(), plan.branches[i].where->id);
    if (owner && *owner != options.node && options.peers)
      result.elsewhere[*owner].push_back(i);
    else if (owner && options.shards)
      result.here.push_back(i);
    else
      result.nowhere.push_back(i);
  }
  return result;
}

const std::string& id_of(const running& x, size_t index) {
  return x.plan.branches[index].where->id;
}

void take_part(self_pointer self, const running_ptr& x, size_t index,
               const shard_answer_ptr& part) {
  x->parts.shards[index] = part;
  if (--x->missing == 0)
    ask_subsets(self, x);
}

/// The owner can't answer: the tables do.
void ask_tables(self_pointer self, const running_ptr& x, size_t index) {
  const auto& options = self->state.options;
  auto step = x->step;
  self
    ->request(options.tables, time_left(self, *x, options.shards_wait_max),
              atom::ask_v, id_of(*x, index), query_for(x->plan, index))
    .then(
      [self, x, step, index](const shard_answer_ptr& part) {
        in_step(x, step, [&] { take_part(self, x, index, part); });
      },
      [self, x, step](caf::error& err) {
        in_step(x, step, [&] { fail(self, x, err); });
      });
}

/// Asks SHARD MANAGER of this node.
void ask_here(self_pointer self, const running_ptr& x, size_t index) {
  const auto& options = self->state.options;
  auto step = x->step;
  self
    ->request(options.shards, time_left(self, *x, options.shards_wait_max),
              atom::ask_v, id_of(*x, index), query_for(x->plan, index))
    .then(
      [self, x, step, index](const shard_answer_ptr& part) {
        in_step(x, step, [&] { take_part(self, x, index, part); });
      },
      [self, x, step, index](caf::error& err) {
        in_step(x, step, [&] {
          // Who has too much to do is not helped by doing it elsewhere.
          if (err == errc::overloaded)
            fail(self, x, err);
          else
            ask_tables(self, x, index);
        });
      });
}

/// Takes what another node said of one of its branches.
void take_peer_part(self_pointer self, const running_ptr& x, size_t index,
                    const peer_answer& answer) {
  auto i = answer.parts.find(id_of(*x, index));
  if (i != answer.parts.end() && i->second.answer)
    take_part(self, x, index, i->second.answer);
  // It moved, and where to we don't know yet: perhaps here.
  else if (i != answer.parts.end() && i->second.error == errc::not_owner
           && self->state.options.shards)
    ask_here(self, x, index);
  else
    ask_tables(self, x, index);
}

/// Asks another node for all of its branches at once.
void ask_peer(self_pointer self, const running_ptr& x, const std::string& node,
              const std::vector<size_t>& indexes) {
  const auto& options = self->state.options;
  auto timeout = time_left(self, *x, options.peers_wait_max);
  auto query = std::make_shared<peer_query>();
  query->timeout
    = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
  for (auto index : indexes) {
    query->branches.push_back(id_of(*x, index));
    query->queries.push_back(query_for(x->plan, index));
  }
  auto step = x->step;
  self
    ->request(options.peers, timeout + peer_margin, atom::ask_v, node,
              peer_query_ptr{std::move(query)})
    .then(
      [self, x, step, indexes](const peer_answer_ptr& answer) {
        for (auto index : indexes)
          in_step(x, step, [&] { take_peer_part(self, x, index, *answer); });
      },
      [self, x, step, indexes](caf::error&) {
        for (auto index : indexes)
          in_step(x, step, [&] { ask_tables(self, x, index); });
      });
}

void ask_branches(self_pointer self, const running_ptr& x) {
  auto count = x->plan.branches.size();
  x->parts.shards.resize(count);
  x->missing = count;
  ++x->step;
  // The farthest first.
  for (const auto& [node, indexes] : x->where.elsewhere)
    ask_peer(self, x, node, indexes);
  for (auto index : x->where.here)
    ask_here(self, x, index);
  for (auto index : x->where.nowhere)
    ask_tables(self, x, index);
}

// -- waiting for an event -----------------------------------------------------

/// One of those asked told whether it has the event.
void waited(self_pointer self, const running_ptr& x, bool applied) {
  --x->missing;
  if (!applied && x->missing > 0)
    return;
  x->parts.applied_after = applied;
  ask_branches(self, x);
}

/// Waits for the event in the tables: nobody answers for these branches, and
/// the tables will be asked for their parts, too.
void wait_at_tables(self_pointer self, const running_ptr& x,
                    const std::vector<size_t>& indexes) {
  auto branches = std::make_shared<std::vector<std::string>>();
  for (auto index : indexes)
    branches->push_back(id_of(*x, index));
  auto step = x->step;
  self
    ->request(self->state.options.tables, after_answer_max, atom::after_v,
              *x->plan.after, strings_ptr{std::move(branches)})
    .then(
      [self, x, step](bool applied) {
        in_step(x, step, [&] { waited(self, x, applied); });
      },
      [self, x, step](caf::error&) {
        in_step(x, step, [&] { waited(self, x, false); });
      });
}

void wait_here(self_pointer self, const running_ptr& x, size_t index) {
  auto step = x->step;
  self
    ->request(self->state.options.shards, after_answer_max, atom::after_v,
              id_of(*x, index), *x->plan.after)
    .then(
      [self, x, step](bool applied) {
        in_step(x, step, [&] { waited(self, x, applied); });
      },
      [self, x, step, index](caf::error& err) {
        in_step(x, step, [&] {
          if (err == caf::sec::request_timeout) {
            waited(self, x, false);
            return;
          }
          std::erase(x->where.here, index);
          x->where.nowhere.push_back(index);
          wait_at_tables(self, x, {index});
        });
      });
}

void wait_elsewhere(self_pointer self, const running_ptr& x,
                    const std::string& node,
                    const std::vector<size_t>& indexes) {
  auto query = std::make_shared<peer_query>();
  query->what = peer_query::kind::after;
  query->timeout = after_answer_max;
  query->event_id = *x->plan.after;
  for (auto index : indexes)
    query->branches.push_back(id_of(*x, index));
  auto step = x->step;
  self
    ->request(self->state.options.peers, after_answer_max + peer_margin,
              atom::ask_v, node, peer_query_ptr{std::move(query)})
    .then(
      [self, x, step](const peer_answer_ptr& y) {
        in_step(x, step, [&] { waited(self, x, y->applied); });
      },
      [self, x, step, node, indexes](caf::error&) {
        in_step(x, step, [&] {
          x->where.elsewhere.erase(node);
          x->where.nowhere.insert(x->where.nowhere.end(), indexes.begin(),
                                  indexes.end());
          wait_at_tables(self, x, indexes);
        });
      });
}

/// The event's branch is not known: all that were asked wait, and the first
/// who has it ends the wait.
void wait_for_event(self_pointer self, const running_ptr& x) {
  ++x->step;
  // Those who answer now may change the routes.
  auto where = x->where;
  x->missing = where.elsewhere.size() + where.here.size()
               + (where.nowhere.empty() ? 0 : 1);
  for (const auto& [node, indexes] : where.elsewhere)
    wait_elsewhere(self, x, node, indexes);
  for (auto index : where.here)
    wait_here(self, x, index);
  if (!where.nowhere.empty())
    wait_at_tables(self, x, where.nowhere);
}

caf::result<http_reply_ptr>
ask(self_pointer self, const analytics_query& query) {
  fault_point("query.ask");
  auto& state = self->state;
  if (state.queries.size() >= state.options.in_flight_max) {
    count_answer(query.name, 503);
    return render_unavailable("overloaded", "too many questions at once",
                              query.trace_id);
  }
  auto chain = state.options.view->get();
  if (!chain)
    return render_unavailable("not-ready", "the branches are not known yet",
                              query.trace_id);
  auto plan = plan_query(query, chain, state.options.view->now());
  if (auto* wrong = std::get_if<problem>(&plan)) {
    auto known = find_analytics(query.name).has_value();
    count_answer(known ? query.name : "unknown", wrong->status);
    return share(render_problem(*wrong, query.trace_id));
  }
  auto x = std::make_shared<running>();
  x->plan = std::move(std::get<analytics_plan>(plan));
  x->where = find_routes(state.options, x->plan);
  x->name = query.name;
  x->trace_id = query.trace_id;
  x->begun = self->clock().now();
  x->promise = self->make_response_promise<http_reply_ptr>();
  auto promise = x->promise;
  state.queries.insert(x);
  in_flight().add(1);
  if (x->plan.after)
    wait_for_event(self, x);
  else
    ask_branches(self, x);
  return promise;
}

} // namespace

query_state::~query_state() {
  for (const auto& x : queries) {
    in_flight().add(-1);
    x->promise.deliver(render_unavailable(
      "not-ready", "the node restarts a part of it", x->trace_id));
  }
}

query_actor::behavior_type query(self_pointer self, query_options options) {
  assert(options.view && options.tables && options.in_flight_max > 0);
  install_handlers(self);
  self->state.options = std::move(options);
  return {
    [self](atom::ask, const analytics_query_ptr& query) {
      return ask(self, *query);
    },
  };
}

} // namespace tillstream

#include "actors/query/query.hpp"

#include "actors/query/part_check.hpp"
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
using indexes = query_state::indexes;
using routes = query_state::routes;
using running = query_state::running;
using running_ptr = query_state::running_ptr;

using namespace std::chrono_literals;

constexpr std::string_view log_not_answered = "query.not_answered";

/// Above the shard's own limit, so that it is the shard who answers.
constexpr auto after_answer_max = limits::after_wait_max + 500ms;

/// SHARD MANAGER and PEERS reply at the deadline; this much later we go on
/// without them.
constexpr auto reply_margin = 200ms;

void count_answer(const std::string& name, int status) {
  metrics()
    .get_counter("tillstream_queries_total", "Queries of the dashboard.",
                 metric_label("name", name) + ","
                   + metric_label("status", std::to_string(status)))
    .add();
}

histogram& latency_of(const std::string& name) {
  return metrics().get_histogram(
    "tillstream_query_seconds",
    "From a query to its answer, waits of ?after= included.", 1e6,
    metric_label("name", name));
}

gauge& in_flight() {
  static auto& instance = metrics().get_gauge("tillstream_queries_in_flight",
                                              "Queries that are in flight.");
  return instance;
}

counter& misfits() {
  static auto& instance = metrics().get_counter(
    "tillstream_query_parts_refused_total",
    "Parts of answers that did not fit their query, e.g. of a node of another "
    "version.");
  return instance;
}

http_reply_ptr render_unavailable(std::string name, std::string detail,
                                  const std::string& trace_id) {
  problem x;
  x.status = 503;
  x.name = std::move(name);
  x.detail = std::move(detail);
  x.headers.emplace_back("Retry-After", "1");
  return std::make_shared<const http_reply>(render_problem(x, trace_id));
}

std::chrono::milliseconds to_milliseconds(caf::timespan x) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(x);
}

// -- the end of a query -------------------------------------------------------

void finish(self_pointer self, const running_ptr& x, query_reply reply) {
  if (self->state.queries.erase(x) == 0)
    return;
  ++x->step;
  in_flight().add(-1);
  auto took = self->clock().now() - x->begun;
  latency_of(x->name).observe(static_cast<uint64_t>(
    std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  count_answer(x->name, reply.reply->status);
  x->promise.deliver(std::move(reply));
}

/// One part can't be had: the answer would be wrong without it.
void fail(self_pointer self, const running_ptr& x, const caf::error& why) {
  log::warning(
    log_not_answered,
    {{"query", x->name}, {"error", describe(why)}, {"trace_id", x->trace_id}});
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

/// Runs `f` if the query is still in the step that the request was sent in.
template <class F>
void in_step(const running_ptr& x, int step, F f) {
  if (x->step == step)
    f();
}

void render(self_pointer self, const running_ptr& x) {
  fault_point("query.render");
  finish(self, x, render_answer(x->plan, x->parts));
}

/// Counts customers where they do not add up.
void request_subsets(self_pointer self, const running_ptr& x) {
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

/// Who answers for a branch. Nothing: nobody alive owns it.
/// @param owners May be null: then we own all.
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
      result.unowned.push_back(i);
  }
  return result;
}

const std::string& id_of(const running& x, size_t index) {
  return x.plan.branches[index].where->id;
}

/// Takes a branch's part. @returns why it cannot be used
caf::error take_part(self_pointer self, const running_ptr& x, size_t index,
                     const shard_answer_ptr& part) {
  if (auto err = check_part(*x->queries[index], id_of(*x, index), part)) {
    misfits().add();
    return err;
  }
  x->parts.shards[index] = part;
  if (--x->missing == 0)
    request_subsets(self, x);
  return caf::none;
}

/// The owner gave no part: the tables have it.
void request_fallback(self_pointer self, const running_ptr& x, size_t index) {
  const auto& options = self->state.options;
  auto step = x->step;
  self
    ->request(options.fallback, time_left(self, *x, options.shards_wait_max),
              atom::ask_v, id_of(*x, index), x->queries[index])
    .then(
      [self, x, step, index](const shard_answer_ptr& part) {
        in_step(x, step, [&] {
          if (auto err = take_part(self, x, index, part))
            fail(self, x, err);
        });
      },
      [self, x, step](caf::error& err) {
        in_step(x, step, [&] { fail(self, x, err); });
      });
}

void take_part_or_fall_back(self_pointer self, const running_ptr& x,
                            size_t index, const shard_answer_ptr& part) {
  if (take_part(self, x, index, part))
    request_fallback(self, x, index);
}

void take_local_answer(self_pointer self, const running_ptr& x, size_t index,
                       const branch_answer& answer) {
  // Doing the work elsewhere is no help against too much of it.
  if (answer.error == errc::overloaded)
    fail(self, x, caf::make_error(answer.error, id_of(*x, index)));
  else if (answer.error != errc::none)
    request_fallback(self, x, index);
  else
    take_part_or_fall_back(self, x, index, answer.answer);
}

/// Requests the parts of some branches from SHARD MANAGER of this node.
void request_here(self_pointer self, const running_ptr& x,
                  const indexes& branches) {
  const auto& options = self->state.options;
  auto timeout = time_left(self, *x, options.shards_wait_max);
  auto request = std::make_shared<shard_queries>();
  request->timeout = to_milliseconds(timeout);
  for (auto index : branches)
    request->branches.push_back({id_of(*x, index), x->queries[index]});
  auto step = x->step;
  self
    ->request(options.shards, timeout + reply_margin, atom::request_v,
              shard_queries_ptr{std::move(request)})
    .then(
      [self, x, step, branches](const shard_answers_ptr& answers) {
        static const branch_answer missing{errc::internal, nullptr};
        const auto& xs = answers->branches;
        for (size_t i = 0; i < branches.size(); ++i)
          in_step(x, step, [&] {
            take_local_answer(self, x, branches[i],
                              i < xs.size() ? xs[i] : missing);
          });
      },
      [self, x, step, branches](caf::error& err) {
        for (auto index : branches)
          in_step(x, step, [&] {
            if (err == errc::overloaded)
              fail(self, x, err);
            else
              request_fallback(self, x, index);
          });
      });
}

/// Takes what another node said of one of its branches.
void take_peer_answer(self_pointer self, const running_ptr& x, size_t index,
                      const peer_answer& answer) {
  auto i = answer.parts.find(id_of(*x, index));
  if (i == answer.parts.end())
    request_fallback(self, x, index);
  // It moved, and where to we don't know yet: perhaps here.
  else if (i->second.error == errc::not_owner && self->state.options.shards)
    request_here(self, x, {index});
  else if (i->second.error != errc::none)
    request_fallback(self, x, index);
  else
    take_part_or_fall_back(self, x, index, i->second.answer);
}

/// Requests the parts of all branches of another node.
void request_peer(self_pointer self, const running_ptr& x,
                  const std::string& node, const indexes& branches) {
  const auto& options = self->state.options;
  auto timeout = time_left(self, *x, options.peers_wait_max);
  auto query = std::make_shared<peer_query>();
  query->timeout = to_milliseconds(timeout);
  for (auto index : branches) {
    query->branches.push_back(id_of(*x, index));
    query->queries.push_back(x->queries[index]);
  }
  auto step = x->step;
  self
    ->request(options.peers, timeout + reply_margin, atom::ask_v, node,
              peer_query_ptr{std::move(query)})
    .then(
      [self, x, step, branches](const peer_answer_ptr& answer) {
        for (auto index : branches)
          in_step(x, step, [&] { take_peer_answer(self, x, index, *answer); });
      },
      [self, x, step, branches](caf::error&) {
        for (auto index : branches)
          in_step(x, step, [&] { request_fallback(self, x, index); });
      });
}

void request_parts(self_pointer self, const running_ptr& x) {
  auto count = x->plan.branches.size();
  x->parts.shards.resize(count);
  x->missing = count;
  ++x->step;
  // The farthest first.
  for (const auto& [node, branches] : x->where.elsewhere)
    request_peer(self, x, node, branches);
  if (!x->where.here.empty())
    request_here(self, x, x->where.here);
  for (auto index : x->where.unowned)
    request_fallback(self, x, index);
}

// -- waiting for an event -----------------------------------------------------

/// One of those who wait replied whether it has the event.
void end_wait(self_pointer self, const running_ptr& x, bool applied) {
  --x->missing;
  if (!applied && x->missing > 0)
    return;
  x->parts.applied_after = applied;
  request_parts(self, x);
}

/// Waits for the event in the tables: nobody answers for these branches, and
/// their parts will come from the tables, too.
void wait_in_tables(self_pointer self, const running_ptr& x,
                    const indexes& branches) {
  auto ids = std::make_shared<std::vector<std::string>>();
  for (auto index : branches)
    ids->push_back(id_of(*x, index));
  auto step = x->step;
  self
    ->request(self->state.options.fallback, after_answer_max, atom::after_v,
              *x->plan.after, strings_ptr{std::move(ids)})
    .then(
      [self, x, step](bool applied) {
        in_step(x, step, [&] { end_wait(self, x, applied); });
      },
      [self, x, step](caf::error&) {
        in_step(x, step, [&] { end_wait(self, x, false); });
      });
}

void wait_here(self_pointer self, const running_ptr& x, size_t index) {
  auto step = x->step;
  self
    ->request(self->state.options.shards, after_answer_max, atom::after_v,
              id_of(*x, index), *x->plan.after)
    .then(
      [self, x, step](bool applied) {
        in_step(x, step, [&] { end_wait(self, x, applied); });
      },
      [self, x, step, index](caf::error& err) {
        in_step(x, step, [&] {
          if (err == caf::sec::request_timeout) {
            end_wait(self, x, false);
            return;
          }
          std::erase(x->where.here, index);
          x->where.unowned.push_back(index);
          wait_in_tables(self, x, {index});
        });
      });
}

void wait_elsewhere(self_pointer self, const running_ptr& x,
                    const std::string& node, const indexes& branches) {
  auto query = std::make_shared<peer_query>();
  query->what = peer_query::kind::after;
  query->timeout = after_answer_max;
  query->event_id = *x->plan.after;
  for (auto index : branches)
    query->branches.push_back(id_of(*x, index));
  auto step = x->step;
  self
    ->request(self->state.options.peers, after_answer_max + reply_margin,
              atom::ask_v, node, peer_query_ptr{std::move(query)})
    .then(
      [self, x, step](const peer_answer_ptr& y) {
        in_step(x, step, [&] { end_wait(self, x, y->applied); });
      },
      [self, x, step, node, branches](caf::error&) {
        in_step(x, step, [&] {
          auto& where = x->where;
          where.elsewhere.erase(node);
          where.unowned.insert(where.unowned.end(), branches.begin(),
                               branches.end());
          wait_in_tables(self, x, branches);
        });
      });
}

/// The event's branch is not known: all wait, and the first who has it ends the
/// wait.
void wait_for_event(self_pointer self, const running_ptr& x) {
  ++x->step;
  // Replies may change the routes.
  auto where = x->where;
  x->missing = where.elsewhere.size() + where.here.size()
               + (where.unowned.empty() ? 0 : 1);
  for (const auto& [node, branches] : where.elsewhere)
    wait_elsewhere(self, x, node, branches);
  for (auto index : where.here)
    wait_here(self, x, index);
  if (!where.unowned.empty())
    wait_in_tables(self, x, where.unowned);
}

// -- the begin of a query -----------------------------------------------------

caf::result<query_reply>
start(self_pointer self, const analytics_query& query, analytics_plan plan) {
  auto& state = self->state;
  auto x = std::make_shared<running>();
  x->plan = std::move(plan);
  x->queries = make_shard_queries(x->plan);
  x->where = find_routes(state.options, x->plan);
  x->parts.wants_version = query.wants_version;
  x->name = query.name;
  x->trace_id = query.trace_id;
  x->begun = self->clock().now();
  x->promise = self->make_response_promise<query_reply>();
  auto promise = x->promise;
  state.queries.insert(x);
  in_flight().add(1);
  if (x->plan.after)
    wait_for_event(self, x);
  else
    request_parts(self, x);
  return promise;
}

caf::result<query_reply>
answer(self_pointer self, const analytics_query& query) {
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
    return query_reply{std::make_shared<const http_reply>(
      render_problem(*wrong, query.trace_id))};
  }
  return start(self, query, std::move(std::get<analytics_plan>(plan)));
}

} // namespace

query_state::~query_state() {
  for (const auto& x : queries) {
    in_flight().add(-1);
    x->promise.deliver(query_reply{render_unavailable(
      "not-ready", "the node restarts a part of it", x->trace_id)});
  }
}

query_actor::behavior_type query(self_pointer self, query_options options) {
  assert(options.view && options.fallback && options.in_flight_max > 0);
  install_handlers(self);
  self->state.options = std::move(options);
  return {
    [self](atom::ask, const analytics_query_ptr& query) {
      return answer(self, *query);
    },
  };
}

} // namespace tillstream

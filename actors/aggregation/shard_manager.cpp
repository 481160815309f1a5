#include "actors/aggregation/shard_manager.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/pacing.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"
#include "messages/model/queries.hpp"

#include <caf/actor_cast.hpp>
#include <caf/stateful_actor.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

namespace tillstream {

namespace {

using self_pointer = shard_manager_impl::stateful_pointer<shard_manager_state>;
using phase = shard_manager_state::phase;
using entry = shard_manager_state::entry;
using time_point = shard_manager_state::time_point;

using namespace std::chrono_literals;

constexpr std::string_view log_no_clock = "shard_manager.branch_without_clock";
constexpr std::string_view log_not_owned = "shard_manager.branch_not_owned";
constexpr std::string_view log_gave_up = "shard_manager.gave_up";

/// A shard tells that it has loaded by answering its first query.
constexpr auto start_answer_max = limits::shard_load_max + 10s;

/// A node's lag is part of each of its heartbeats.
constexpr auto load_interval = 1s;

/// Generations of a shard's deliveries are numbered within its start.
constexpr int generation_bits = 32;

struct supervisor_metrics {
  counter& restarts = metrics().get_counter("tillstream_shard_restarts_total",
                                            "Shards that were started again.");
  counter& not_owned = metrics().get_counter(
    "tillstream_shard_not_owner_total",
    "Shards that ended because another node took their branch.");
  gauge& up = metrics().get_gauge("tillstream_shards_up",
                                  "Shards that have loaded their state.");
  gauge& owned
    = metrics().get_gauge("tillstream_branches", "Branches of this node.");
};

supervisor_metrics& stats() {
  static supervisor_metrics instance;
  return instance;
}

time_point now_of(self_pointer self) {
  return self->clock().now();
}

entry* find(shard_manager_state& state, std::string_view branch_id) {
  auto i = state.branches.find(branch_id);
  return i != state.branches.end() ? &i->second : nullptr;
}

size_t count_owned(const shard_manager_state& state) {
  auto is_owned = [](const auto& x) { return x.second.owned; };
  return static_cast<size_t>(
    std::count_if(state.branches.begin(), state.branches.end(), is_owned));
}

void show_counts(const shard_manager_state& state) {
  auto is_up = [](const auto& x) { return x.second.at == phase::up; };
  stats().up.set(
    std::count_if(state.branches.begin(), state.branches.end(), is_up));
  stats().owned.set(static_cast<int64_t>(count_owned(state)));
}

/// Sees to it that a `tick` comes at `when` or before.
void wake_at(self_pointer self, time_point when) {
  auto& wake = self->state.wake;
  if (wake && *wake <= when)
    return;
  wake = when;
  self->scheduled_send(self, when, atom::tick_v);
}

/// Does whatever can be done now.
void step(self_pointer self);

// -- ownership ----------------------------------------------------------------

entry& entry_of(shard_manager_state& state, const std::string& branch_id) {
  auto [i, is_new] = state.branches.try_emplace(branch_id);
  if (is_new) {
    auto options = state.options.restarts;
    options.seed = state.options.seed + std::hash<std::string>{}(branch_id);
    i->second.policy.emplace(options);
  }
  return i->second;
}

/// Asks a branch's shard to end, if there is one.
void end_shard(self_pointer self, entry& branch) {
  if (branch.at == phase::ending)
    return;
  if (!branch.shard) {
    branch.at = branch.owned ? phase::waiting : phase::not_owned;
    return;
  }
  branch.at = phase::ending;
  self->send_exit(branch.shard, caf::exit_reason::user_shutdown);
}

void own(self_pointer self, entry& branch, int64_t epoch) {
  if (epoch == branch.refused || (branch.owned && branch.epoch == epoch))
    return;
  branch.owned = true;
  branch.epoch = epoch;
  branch.not_before = {};
  end_shard(self, branch);
}

void disown(self_pointer self, entry& branch) {
  if (!branch.owned)
    return;
  branch.owned = false;
  end_shard(self, branch);
}

/// Follows what OWNERSHIP announces.
void set_owned(self_pointer self, int64_t incarnation,
               const std::vector<ownership>& xs) {
  auto& state = self->state;
  state.incarnation = incarnation;
  state.announced = true;
  std::set<std::string_view> ids;
  for (const auto& x : xs) {
    ids.insert(x.branch_id);
    own(self, entry_of(state, x.branch_id), x.epoch);
  }
  for (auto& [id, x] : state.branches)
    if (!ids.contains(id))
      disown(self, x);
  show_counts(state);
  step(self);
}

/// Answers those who wait for shards that are gone now.
void answer_close_requests(shard_manager_state& state,
                           const std::string& gone) {
  auto is_done = [&](auto& request) {
    request.branches.erase(gone);
    if (!request.branches.empty())
      return false;
    request.promise.deliver(true);
    return true;
  };
  std::erase_if(state.close_requests, is_done);
}

caf::result<bool>
close_branches(self_pointer self, const std::vector<std::string>& ids) {
  auto& state = self->state;
  shard_manager_state::close_request request;
  for (const auto& id : ids) {
    auto* branch = find(state, id);
    if (branch == nullptr)
      continue;
    disown(self, *branch);
    if (branch->shard)
      request.branches.insert(id);
  }
  show_counts(state);
  if (request.branches.empty())
    return true;
  auto promise = self->make_response_promise<bool>();
  request.promise = promise;
  state.close_requests.push_back(std::move(request));
  return promise;
}

// -- starting shards ----------------------------------------------------------

/// An equal part of the node's credit, at least a message a branch.
size_t credit_of(const shard_manager_state& state) {
  auto part
    = state.options.pending_max / std::max<size_t>(count_owned(state), 1);
  return std::clamp<size_t>(part, 1, limits::branch_fetch_max);
}

aggregate_shard_options
options_of(const shard_manager_state& state, const std::string& branch_id,
           const entry& branch, const branch_clock& clock) {
  const auto& options = state.options;
  aggregate_shard_options result;
  result.branch_id = branch_id;
  result.epoch = branch.epoch;
  result.clock = clock;
  result.generation = branch.starts << generation_bits;
  result.consumer = state.consumer;
  result.writers = options.writers;
  result.reader = options.reader;
  result.purchases = options.purchases;
  result.relay = options.relay;
  result.limiter = options.gate;
  result.lag_ms = branch.lag_ms;
  result.now = [view = options.view] { return view->now(); };
  result.batch_window = pacing::apply_window;
  result.fetch_max = credit_of(state);
  result.batch_max = std::min(result.batch_max, result.fetch_max);
  result.seed = options.seed + std::hash<std::string>{}(branch_id);
  return result;
}

/// Waits until a shard has loaded: it answers its first query then.
/// @param holds_slot Whether it counts as one of those that start.
void await_start(self_pointer self, const std::string& branch_id,
                 bool holds_slot);

/// A shard has loaded, or failed to, which it goes on trying by itself: then
/// it gives up its slot, and we go on waiting.
void start_ended(self_pointer self, const std::string& branch_id,
                 uint64_t start, bool loaded, bool holds_slot) {
  auto& state = self->state;
  state.starting -= holds_slot ? 1 : 0;
  auto* branch = find(state, branch_id);
  if (branch != nullptr && branch->starts == start
      && branch->at == phase::starting) {
    if (loaded)
      branch->at = phase::up;
    else if (!state.closing)
      await_start(self, branch_id, false);
  }
  show_counts(state);
  step(self);
}

void await_start(self_pointer self, const std::string& branch_id,
                 bool holds_slot) {
  const auto& branch = *find(self->state, branch_id);
  auto ended
    = [self, branch_id, start = branch.starts, holds_slot](bool loaded) {
        start_ended(self, branch_id, start, loaded, holds_slot);
      };
  self
    ->request(branch.shard, start_answer_max, atom::ask_v,
              std::make_shared<const shard_query>())
    .then([ended](const shard_answer_ptr&) { ended(true); },
          [ended](caf::error&) { ended(false); });
}

void start(self_pointer self, const std::string& branch_id, entry& branch) {
  auto& state = self->state;
  auto chain = state.options.view->get();
  const auto* clock = chain ? chain->clock(branch_id) : nullptr;
  if (clock == nullptr) {
    // The directory is read again every few seconds.
    log::warning(log_no_clock, {{"branch", branch_id}});
    branch.not_before = now_of(self) + limits::key_refresh_interval;
    wake_at(self, branch.not_before);
    return;
  }
  ++branch.starts;
  branch.shard = state.options.start_shard(
    self, options_of(state, branch_id, branch, *clock));
  self->monitor(branch.shard);
  state.by_address.emplace(branch.shard.address(), branch_id);
  branch.at = phase::starting;
  state.starting += 1;
  await_start(self, branch_id, true);
}

void start_waiting(self_pointer self) {
  auto& state = self->state;
  for (auto& [id, x] : state.branches) {
    if (x.at != phase::waiting)
      continue;
    if (x.not_before > now_of(self)) {
      wake_at(self, x.not_before);
      continue;
    }
    // The next start that ends goes on here.
    if (state.starting >= state.options.starts_max)
      return;
    start(self, id, x);
  }
}

void step(self_pointer self) {
  if (!self->state.closing)
    start_waiting(self);
}

// -- ending -------------------------------------------------------------------

void answer_drained(self_pointer self, bool outcome) {
  for (auto& x : std::exchange(self->state.draining, {}))
    x.deliver(outcome);
}

/// Goes on with the end once nobody is left.
void end_if_alone(self_pointer self) {
  auto& state = self->state;
  if (!state.by_address.empty())
    return;
  if (state.end_reason) {
    self->quit(*state.end_reason);
    return;
  }
  answer_drained(self, true);
}

void end_shards(self_pointer self) {
  auto& state = self->state;
  state.closing = true;
  for (auto& [id, x] : state.branches)
    if (x.shard)
      self->send_exit(x.shard, caf::exit_reason::user_shutdown);
}

void shut_down(self_pointer self, caf::error reason) {
  auto& state = self->state;
  if (state.end_reason)
    return;
  state.end_reason = std::move(reason);
  end_shards(self);
  if (state.consumer) {
    self->demonitor(state.consumer.address());
    self->send_exit(state.consumer, caf::exit_reason::user_shutdown);
  }
  end_if_alone(self);
}

caf::result<bool> drain(self_pointer self) {
  auto& state = self->state;
  auto promise = self->make_response_promise<bool>();
  state.draining.push_back(promise);
  end_shards(self);
  end_if_alone(self);
  return promise;
}

// -- shards that end ----------------------------------------------------------

/// The tables name another owner, or another epoch. What we are to do about it
/// comes from OWNERSHIP.
void lose_ownership(const std::string& branch_id, entry& branch) {
  stats().not_owned.add();
  log::warning(log_not_owned, {{"branch", branch_id}});
  branch.refused = branch.epoch;
  branch.owned = false;
  branch.at = phase::not_owned;
}

void restart_later(self_pointer self, const std::string& branch_id,
                   entry& branch, caf::error reason) {
  auto wait = branch.policy->admit(now_of(self));
  detail::log_child_end("aggregate-shard " + branch_id, reason, wait);
  if (!wait) {
    log::error(log_gave_up, {{"branch", branch_id}});
    if (!reason)
      reason = caf::make_error(errc::internal, "shard ended by itself");
    shut_down(self, std::move(reason));
    return;
  }
  detail::restarts_of("aggregate-shard").add();
  stats().restarts.add();
  branch.at = phase::waiting;
  branch.not_before = now_of(self) + *wait;
}

void shard_ended(self_pointer self, const std::string& branch_id,
                 caf::error reason) {
  auto& state = self->state;
  auto& branch = state.branches.find(branch_id)->second;
  branch.shard = nullptr;
  *branch.lag_ms = 0;
  self->send(state.consumer, atom::close_v, branch_id);
  answer_close_requests(state, branch_id);
  if (state.closing) {
    end_if_alone(self);
    return;
  }
  if (branch.at == phase::ending)
    branch.at = branch.owned ? phase::waiting : phase::not_owned;
  else if (reason == errc::not_owner)
    lose_ownership(branch_id, branch);
  else
    restart_later(self, branch_id, branch, std::move(reason));
  show_counts(state);
  step(self);
}

void on_down(self_pointer self, caf::down_msg& msg) {
  auto& state = self->state;
  if (msg.source == state.consumer) {
    auto reason = msg.reason
                    ? std::move(msg.reason)
                    : caf::make_error(errc::internal, "stream consumer ended");
    state.consumer = nullptr;
    shut_down(self, std::move(reason));
    return;
  }
  auto i = state.by_address.find(msg.source);
  if (i == state.by_address.end())
    return;
  auto branch_id = std::move(i->second);
  state.by_address.erase(i);
  shard_ended(self, branch_id, std::move(msg.reason));
}

// -- passing on ---------------------------------------------------------------

/// Hands a part of a shared vector on without a copy.
template <class T>
std::shared_ptr<const T>
part_of(const std::shared_ptr<const std::vector<T>>& xs, size_t index) {
  return {xs, &(*xs)[index]};
}

void deliver(self_pointer self, const deliveries_ptr& xs) {
  fault_point("shards.deliver");
  auto& state = self->state;
  for (size_t i = 0; i < xs->size(); ++i) {
    const auto& x = (*xs)[i];
    if (x.branch_id.empty()) {
      // It concerns all branches.
      for (auto& [id, branch] : state.branches)
        if (branch.shard)
          self->send(branch.shard, atom::deliver_v, part_of(xs, i));
      continue;
    }
    auto* branch = find(state, x.branch_id);
    if (branch != nullptr && branch->shard)
      self->send(branch->shard, atom::deliver_v, part_of(xs, i));
  }
}

void notice_committed(self_pointer self, const commit_notices_ptr& notices) {
  std::map<std::string_view, std::vector<commit_notice>> by_branch;
  for (const auto& x : *notices) {
    auto& part = by_branch[x.branch_id];
    part.push_back(x);
    // The shard needs no payload, and must not keep it alive.
    part.back().payload = nullptr;
  }
  for (auto& [id, part] : by_branch) {
    auto* branch = find(self->state, id);
    if (branch != nullptr && branch->shard)
      self->send(
        branch->shard, atom::committed_v,
        std::make_shared<const std::vector<commit_notice>>(std::move(part)));
  }
}

/// @returns the shard that answers for a branch, or why there is none.
caf::expected<aggregate_shard_actor>
shard_of(const shard_manager_state& state, const std::string& branch_id) {
  if (state.closing)
    return caf::make_error(errc::shutting_down, "shards");
  auto i = state.branches.find(branch_id);
  if (i == state.branches.end() || !i->second.owned)
    return caf::make_error(errc::not_owner, branch_id);
  if (state.options.lease && !state.options.lease->holds(state.incarnation))
    return caf::make_error(errc::not_owner, "the lease ran out");
  if (!i->second.shard || i->second.at == phase::ending)
    return caf::make_error(errc::unavailable, "shard of " + branch_id);
  return i->second.shard;
}

caf::result<shard_answer_ptr>
ask(self_pointer self, const std::string& branch_id,
    const shard_query_ptr& query) {
  auto shard = shard_of(self->state, branch_id);
  if (!shard)
    return std::move(shard.error());
  return self->delegate(*shard, atom::ask_v, query);
}

caf::result<shard_answers_ptr>
ask_many(self_pointer self, const shard_queries& xs) {
  if (xs.branches.empty())
    return std::make_shared<const shard_answers>();
  auto& queries = self->state.queries;
  auto promise = self->make_response_promise<shard_answers_ptr>();
  auto number = queries.open(xs.branches.size(),
                             [promise](shard_answers_ptr answers) mutable {
                               promise.deliver(std::move(answers));
                             });
  self->delayed_send(self, xs.timeout, atom::tick_v, number);
  for (size_t i = 0; i < xs.branches.size(); ++i) {
    const auto& x = xs.branches[i];
    auto shard = shard_of(self->state, x.branch_id);
    if (!shard) {
      queries.take(number, i, {code_of(shard.error()), nullptr});
      continue;
    }
    // All of them have one deadline: the `tick` above.
    self->request(*shard, caf::infinite, atom::ask_v, x.query)
      .then(
        [self, number, i](const shard_answer_ptr& answer) {
          self->state.queries.take(number, i, {errc::none, answer});
        },
        [self, number, i](caf::error& err) {
          self->state.queries.take(number, i, {code_of(err), nullptr});
        });
  }
  return promise;
}

caf::result<bool> wait_for(self_pointer self, const std::string& branch_id,
                           const uuid& event_id) {
  auto shard = shard_of(self->state, branch_id);
  if (!shard)
    return std::move(shard.error());
  return self->delegate(*shard, atom::after_v, event_id);
}

readiness readiness_of(const shard_manager_state& state) {
  auto is_up
    = [](const auto& x) { return x.second.owned && x.second.at == phase::up; };
  auto up = static_cast<size_t>(
    std::count_if(state.branches.begin(), state.branches.end(), is_up));
  auto all = count_owned(state);
  if (state.closing)
    return {state.name, false, "shutting down"};
  if (!state.announced)
    return {state.name, false, "not among the nodes yet"};
  if (up < all)
    return {state.name, false, fmt::format("{} of {} shards are up", up, all)};
  return {state.name, true, ""};
}

void publish_load(self_pointer self) {
  auto& state = self->state;
  shard_load load;
  for (const auto& [id, x] : state.branches)
    load.lag_ms = std::max(load.lag_ms, x.lag_ms->load());
  state.options.load->set(std::make_shared<const shard_load>(load));
  self->delayed_send(self, load_interval, atom::flush_v);
}

} // namespace

shard_manager_state::~shard_manager_state() {
  for (auto& x : draining)
    x.deliver(caf::make_error(errc::shutting_down, "shards ended"));
  for (auto& x : close_requests)
    x.promise.deliver(caf::make_error(errc::shutting_down, "shards ended"));
}

shard_manager_impl::behavior_type
shard_manager(self_pointer self, shard_manager_options options) {
  assert(options.view && options.start_consumer && options.start_shard);
  install_handlers(self);
  auto& state = self->state;
  state.options = std::move(options);
  self->set_down_handler([self](caf::down_msg& msg) { on_down(self, msg); });
  self->set_exit_handler(
    [self](caf::exit_msg& msg) { shut_down(self, std::move(msg.reason)); });
  state.consumer
    = state.options.start_consumer(caf::actor_cast<shard_manager_actor>(self));
  self->monitor(state.consumer);
  if (state.options.load)
    publish_load(self);
  return {
    [self](atom::deliver, const deliveries_ptr& xs) { deliver(self, xs); },
    [self](atom::committed, const commit_notices_ptr& xs) {
      notice_committed(self, xs);
    },
    [self](atom::ask, const std::string& branch_id, const shard_query_ptr& x) {
      return ask(self, branch_id, x);
    },
    [self](atom::request, const shard_queries_ptr& xs) {
      return ask_many(self, *xs);
    },
    [self](atom::after, const std::string& branch_id, const uuid& event_id) {
      return wait_for(self, branch_id, event_id);
    },
    [self](atom::poll) {
      for (auto& [id, branch] : self->state.branches)
        if (branch.shard)
          self->send(branch.shard, atom::poll_v);
    },
    [self](atom::update, int64_t incarnation, const ownerships_ptr& xs) {
      set_owned(self, incarnation, *xs);
    },
    [self](atom::close, const strings_ptr& ids) {
      return close_branches(self, *ids);
    },
    [self](atom::ready) { return readiness_of(self->state); },
    [self](atom::drain) { return drain(self); },
    [self](atom::tick) {
      self->state.wake.reset();
      step(self);
    },
    [self](atom::flush) { publish_load(self); },
    [self](atom::tick, uint64_t number) { self->state.queries.expire(number); },
  };
}

} // namespace tillstream

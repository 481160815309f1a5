#include "actors/runtime/root_supervisor.hpp"

#include "messages/core/error.hpp"
#include "messages/core/log.hpp"

#include <caf/stateful_actor.hpp>
#include <caf/system_messages.hpp>

#include <algorithm>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = root_supervisor_impl::stateful_pointer<root_supervisor_state>;

constexpr std::string_view log_gave_up = "node.gave_up";
constexpr std::string_view log_late = "node.shutdown_stage_late";

/// Forgets an actor that ended. @returns its name; empty if it is not ours.
std::string forget(root_supervisor_state& state, const caf::actor_addr& who) {
  for (auto& stage : state.options.stages) {
    auto is_it = [&](const top_actor& x) { return x.handle == who; };
    auto i = std::find_if(stage.begin(), stage.end(), is_it);
    if (i == stage.end())
      continue;
    auto name = std::move(i->name);
    stage.erase(i);
    return name;
  }
  return {};
}

void give_up(self_pointer self, const std::string& name,
             const caf::error& reason) {
  auto& state = self->state;
  if (std::exchange(state.gave_up, true))
    return;
  auto text = name + " ended: " + describe(reason);
  log::error(log_gave_up, {{"reason", text}});
  if (state.options.on_give_up)
    state.options.on_give_up(text);
}

void finish(self_pointer self) {
  for (auto& promise : std::exchange(self->state.waiting, {}))
    promise.deliver(self->state.in_time);
  self->quit();
}

/// Asks the first stage that has somebody left to end.
void end_stage(self_pointer self) {
  auto& state = self->state;
  auto& stages = state.options.stages;
  while (state.stage < stages.size() && stages[state.stage].empty())
    ++state.stage;
  if (state.stage == stages.size()) {
    finish(self);
    return;
  }
  for (auto& x : stages[state.stage])
    self->send_exit(x.handle, caf::exit_reason::user_shutdown);
  self->delayed_send(self, state.options.stage_grace, atom::tick_v,
                     uint64_t{state.stage});
}

/// The grace period of `stage` is over.
void kill_stage(self_pointer self, uint64_t stage) {
  auto& state = self->state;
  if (stage != state.stage)
    return; // It ended in time.
  state.in_time = false;
  for (auto& x : state.options.stages[stage]) {
    log::warning(log_late, {{"actor", x.name}});
    self->send_exit(x.handle, caf::exit_reason::kill);
  }
  state.options.stages[stage].clear();
  end_stage(self);
}

void on_down(self_pointer self, const caf::down_msg& msg) {
  auto& state = self->state;
  auto name = forget(state, msg.source);
  if (name.empty())
    return;
  if (!state.closing)
    give_up(self, name, msg.reason);
  else if (state.options.stages[state.stage].empty())
    end_stage(self);
}

caf::result<bool> close(self_pointer self) {
  auto& state = self->state;
  auto promise = self->make_response_promise<bool>();
  state.waiting.push_back(promise);
  if (!std::exchange(state.closing, true))
    end_stage(self);
  return promise;
}

} // namespace

root_supervisor_state::~root_supervisor_state() {
  for (auto& promise : waiting)
    promise.deliver(false);
}

root_supervisor_impl::behavior_type
root_supervisor(self_pointer self, root_supervisor_options options) {
  self->state.options = std::move(options);
  for (auto& stage : self->state.options.stages)
    for (auto& x : stage)
      self->monitor(x.handle);
  self->set_down_handler([self](caf::down_msg& msg) { on_down(self, msg); });
  return {
    [self](atom::close) { return close(self); },
    [self](atom::tick, uint64_t stage) { kill_stage(self, stage); },
  };
}

} // namespace tillstream

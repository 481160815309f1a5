#pragma once

#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/protocol/fwd.hpp"

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/expected.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <caf/system_messages.hpp>
#include <caf/timespan.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

namespace tillstream::tests {

/// The node's settings, with a scheduler that runs only when a test steps it.
struct deterministic_config : node_config {
  deterministic_config() {
    // Not the node's scheduler, but one that tests drive.
    module_factories.clear();
    set("scheduler.policy", caf::atom("testing"));
    set("logger.inline-output", true);
  }
};

/// Drops all log lines while it lives: for tests in which failing is the point
/// and happens by the thousand.
struct quiet_log {
  quiet_log() {
    constexpr auto above_all = static_cast<int>(log::level::error) + 1;
    log::set_level(static_cast<log::level>(above_all));
  }

  ~quiet_log() {
    log::set_level(log::level::info);
  }
};

/// Where the answer to a request arrives.
template <class T>
struct answer_slot {
  template <class U>
  void set(U x) {
    ++count;
    value.emplace(std::move(x));
  }

  /// How often it was answered.
  size_t count = 0;
  std::optional<caf::expected<T>> value;
};

template <class T>
using answer = std::shared_ptr<answer_slot<T>>;

/// A world with a single thread and a clock that stands still until a
/// test moves it. Actors must be spawned undetached, and end before the fixture
/// does: `end(h)` in the destructor of the derived fixture.
struct actor_fixture {
  actor_fixture()
    : sys(cfg),
      self(sys, true),
      sched(dynamic_cast<caf::scheduler::test_coordinator&>(sys.scheduler())) {
    // nop
  }

  ~actor_fixture() {
    for (auto& x : clients_)
      caf::anon_send_exit(x, caf::exit_reason::kill);
    clients_.clear();
    settle();
  }

  /// Runs actors until no message is left. Time does not move.
  void settle() {
    while (sched.try_run_once())
      ; // nop
  }

  /// As `settle`, but the next actor to run is drawn.
  void settle_in_random_order(std::mt19937& prng) {
    while (run_one_at_random(prng))
      ; // nop
  }

  /// Lets one actor run, drawn among those that have something to do.
  /// @returns whether there was one.
  bool run_one_at_random(std::mt19937& prng) {
    auto& jobs = sched.jobs;
    if (jobs.empty())
      return false;
    auto next
      = jobs.begin() + static_cast<std::ptrdiff_t>(prng() % jobs.size());
    std::rotate(jobs.begin(), next, next + 1);
    sched.run_once();
    return true;
  }

  /// Moves the clock in one step, then runs what that set off.
  void advance(caf::timespan by) {
    sched.advance_time(by);
    settle();
  }

  /// Moves the clock in steps of `step`, running everything after each.
  void advance_in_steps(caf::timespan by, caf::timespan step
                                          = std::chrono::milliseconds{10}) {
    for (auto done = caf::timespan{0}; done < by; done += step)
      advance(std::min(step, by - done));
  }

  /// Sends a request, as its own client, and runs nothing else.
  /// @returns where the answer will be.
  template <class T, class Handle, class... Ts>
  answer<T> post(const Handle& whom, Ts... xs) {
    auto slot = std::make_shared<answer_slot<T>>();
    auto run = [=](caf::event_based_actor* client) {
      client->request(whom, caf::infinite, xs...)
        .then([slot](T& x) { slot->set(std::move(x)); },
              [slot](caf::error& err) { slot->set(std::move(err)); });
    };
    auto client = sys.spawn(run);
    sched.prioritize(client);
    sched.run_once();
    clients_.push_back(std::move(client));
    return slot;
  }

  /// Sends a request and runs everything. @returns the answer, if one came
  /// without time going by.
  template <class T, class Handle, class... Ts>
  std::optional<caf::expected<T>> ask(const Handle& whom, Ts... xs) {
    auto slot = post<T>(whom, std::move(xs)...);
    settle();
    return slot->value;
  }

  /// Returns why an actor that `self` monitors ended; nothing if none did.
  std::optional<caf::error> down_reason() {
    std::optional<caf::error> result;
    bool empty = false;
    while (!empty)
      self->receive([&](caf::down_msg& msg) { result = std::move(msg.reason); },
                    caf::after(std::chrono::seconds{0}) >>
                      [&] { empty = true; });
    return result;
  }

  /// Ends an actor and runs what follows.
  template <class Handle>
  void end(Handle& whom) {
    caf::anon_send_exit(whom, caf::exit_reason::user_shutdown);
    settle();
    whom = nullptr;
  }

  deterministic_config cfg;
  caf::actor_system sys;
  caf::scoped_actor self;
  caf::scheduler::test_coordinator& sched;

private:
  /// Ended here if they got no answer.
  std::vector<caf::actor> clients_;
};

} // namespace tillstream::tests

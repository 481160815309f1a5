#pragma once

#include <caf/policy/unprofiled.hpp>
#include <caf/resumable.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>
#include <caf/scheduler/coordinator.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>

/// @file actors/runtime/run_next_policy.hpp
/// How the workers of cooperative actors share their work.

namespace tillstream {

/// A policy of CAF's scheduler: one queue for all workers, and for each a place
/// for what its current actor has just called for ("run next" in Go, "LIFO
/// slot" in Tokio). A sale goes through four actors, one after the other; with
/// a queue alone each of these steps woke the other worker, which costs more
/// than the step (benchmarks/LOG.md).
///
/// At most one worker is on its way from its sleep to the queue; it wakes the
/// next one when there is more. What comes from other threads goes through the
/// queue, and after `streak_max` jobs of its own a worker looks there first.
class run_next_policy : public caf::policy::unprofiled {
public:
  /// Jobs in a row that a worker takes from its own place.
  static constexpr size_t streak_max = 16;

  struct coordinator_data {
    explicit coordinator_data(caf::scheduler::abstract_coordinator*) {
      // nop
    }

    std::mutex lock;
    std::condition_variable has_work;
    std::deque<caf::resumable*> queue;
    size_t asleep = 0;
    bool waking = false;

    /// Whether somebody is to be woken. Hold `lock`; then notify.
    bool must_wake() {
      if (queue.empty() || asleep == 0 || waking)
        return false;
      waking = true;
      return true;
    }
  };

  struct worker_data {
    explicit worker_data(caf::scheduler::abstract_coordinator*) {
      // nop
    }

    caf::resumable* next = nullptr;
    size_t streak = 0;
  };

  template <class Coordinator>
  void central_enqueue(Coordinator* self, caf::resumable* job) {
    auto& shared = d(self);
    std::unique_lock guard{shared.lock};
    shared.queue.push_back(job);
    auto wake = shared.must_wake();
    guard.unlock();
    if (wake)
      shared.has_work.notify_one();
  }

  template <class Worker>
  void external_enqueue(Worker* self, caf::resumable* job) {
    central_enqueue(self->parent(), job);
  }

  template <class Worker>
  void internal_enqueue(Worker* self, caf::resumable* job) {
    auto& own = d(self);
    if (own.next == nullptr)
      own.next = job;
    else
      central_enqueue(self->parent(), job);
  }

  /// An actor that has used its turn up: others come first.
  template <class Worker>
  void resume_job_later(Worker* self, caf::resumable* job) {
    central_enqueue(self->parent(), job);
  }

  template <class Worker>
  caf::resumable* dequeue(Worker* self) {
    auto& own = d(self);
    if (own.next != nullptr && own.streak < streak_max) {
      ++own.streak;
      return std::exchange(own.next, nullptr);
    }
    own.streak = 0;
    auto& shared = d(self->parent());
    std::unique_lock guard{shared.lock};
    if (own.next != nullptr)
      shared.queue.push_back(std::exchange(own.next, nullptr));
    while (shared.queue.empty()) {
      ++shared.asleep;
      shared.has_work.wait(guard);
      --shared.asleep;
      shared.waking = false;
    }
    auto* result = shared.queue.front();
    shared.queue.pop_front();
    auto wake = shared.must_wake();
    guard.unlock();
    if (wake)
      shared.has_work.notify_one();
    return result;
  }

  template <class Worker, class Function>
  void foreach_resumable(Worker* self, Function f) {
    if (auto* job = std::exchange(d(self).next, nullptr))
      f(job);
  }

  template <class Coordinator, class Function>
  void foreach_central_resumable(Coordinator* self, Function f) {
    auto& shared = d(self);
    std::unique_lock guard{shared.lock};
    auto left = std::exchange(shared.queue, {});
    guard.unlock();
    for (auto* job : left)
      f(job);
  }
};

using run_next_scheduler = caf::scheduler::coordinator<run_next_policy>;

} // namespace tillstream

#include "actors/intake/admission.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/hash.hpp"
#include "messages/core/metrics.hpp"

#include <caf/duration.hpp>
#include <caf/sec.hpp>
#include <caf/stateful_actor.hpp>

#include <cassert>
#include <utility>

namespace tillstream {

namespace {

using self_pointer = admission_actor::stateful_pointer<admission_state>;

/// Below `limits::ready_wait_max`, so that a writer that does not answer is
/// told as not ready instead of costing the answer.
constexpr auto writer_ready_max
  = std::chrono::milliseconds{limits::ready_wait_max} * 4 / 5;

struct intake_metrics {
  gauge& in_flight = metrics().get_gauge(
    "tillstream_purchases_in_flight", "Purchases admitted, not yet answered.");
  counter& overloaded = metrics().get_counter(
    "tillstream_purchases_overloaded_total",
    "Purchases refused because too many were in flight.");
};

intake_metrics& stats() {
  static intake_metrics instance;
  return instance;
}

/// Puts CAF's own errors into our vocabulary.
caf::error translate(const caf::error& err) {
  if (err == caf::sec::request_receiver_down)
    return caf::make_error(errc::unavailable, "the writer ended");
  if (err == caf::sec::request_timeout)
    return caf::make_error(errc::in_doubt, "the writer did not answer");
  if (err.category() != caf::atom("tillstream"))
    return caf::make_error(errc::internal, caf::to_string(err));
  return err;
}

/// Answers one purchase and gives its place back.
template <class T>
void finish(self_pointer self, uint64_t id, T answer) {
  auto& state = self->state;
  auto waiting = state.in_flight.extract(id);
  if (!waiting)
    return; // Given up before.
  stats().in_flight.add(-1);
  waiting.mapped().promise.deliver(std::move(answer));
  if (state.draining && state.in_flight.empty())
    for (auto& promise : std::exchange(state.drained, {}))
      promise.deliver(true);
}

/// Gives back the places of those whose answer is lost.
void give_up_lost(self_pointer self, caf::actor_clock::time_point now) {
  auto& in_flight = self->state.in_flight;
  while (!in_flight.empty() && in_flight.begin()->second.deadline <= now)
    finish(self, in_flight.begin()->first,
           caf::make_error(errc::in_doubt, "the writer did not answer"));
}

caf::result<record_result> submit(self_pointer self, purchase_ptr& what) {
  fault_point("request-intake.submit");
  auto& state = self->state;
  auto now = self->clock().now();
  give_up_lost(self, now);
  if (state.draining)
    return caf::make_error(errc::shutting_down, "the node goes down");
  if (state.in_flight.size() >= state.options.in_flight_max) {
    stats().overloaded.add();
    return caf::make_error(errc::overloaded, "too many purchases in flight");
  }
  auto& writers = state.options.writers;
  auto spread = state.in_flight.size() >= state.options.spread_min;
  auto& writer
    = writers[spread ? writer_of(what->branch_id, writers.size()) : 0];
  auto id = ++state.last_id;
  auto promise = self->make_response_promise<record_result>();
  state.in_flight.emplace(
    id, admitted_purchase{promise, now + state.options.answer_max});
  stats().in_flight.add(1);
  self->request(writer.handle, caf::infinite, atom::submit_v, std::move(what))
    .then([=](record_result& x) { finish(self, id, std::move(x)); },
          [=](caf::error& err) { finish(self, id, translate(err)); });
  writer.arriving->add();
  return promise;
}

/// Notices a writer's answer. A branch has one writer, so all must be ready;
/// the first that is not answers for all.
void notice_ready(self_pointer self, uint64_t id, bool ready,
                  std::string reason) {
  auto& queries = self->state.queries;
  auto i = queries.find(id);
  if (i == queries.end())
    return;
  auto& query = i->second;
  if (ready && --query.open > 0)
    return;
  query.promise.deliver(
    readiness{"transaction-writer", ready, std::move(reason)});
  queries.erase(i);
}

caf::result<readiness> ask_writers(self_pointer self) {
  auto& state = self->state;
  auto id = ++state.last_id;
  auto promise = self->make_response_promise<readiness>();
  state.queries.emplace(id, ready_query{promise, state.options.writers.size()});
  for (auto& writer : state.options.writers)
    self->request(writer.handle, writer_ready_max, atom::ready_v)
      .then(
        [=](readiness& x) {
          notice_ready(self, id, x.ready, std::move(x.reason));
        },
        [=](caf::error& err) {
          notice_ready(self, id, false, describe(translate(err)));
        });
  return promise;
}

caf::result<bool> drain(self_pointer self) {
  auto& state = self->state;
  state.draining = true;
  if (state.in_flight.empty())
    return true;
  auto promise = self->make_response_promise<bool>();
  state.drained.push_back(promise);
  return promise;
}

} // namespace

admission_state::~admission_state() {
  stats().in_flight.add(-static_cast<int64_t>(in_flight.size()));
  for (auto& [id, x] : in_flight)
    x.promise.deliver(caf::make_error(errc::in_doubt, "the intake ended"));
  for (auto& [id, query] : queries)
    query.promise.deliver(
      caf::make_error(errc::unavailable, "the intake ended"));
  for (auto& promise : drained)
    promise.deliver(false);
}

admission_actor::behavior_type
admission(self_pointer self, admission_options options) {
  assert(!options.writers.empty() && options.in_flight_max > 0);
  install_handlers(self);
  self->state.options = std::move(options);
  return {
    [self](atom::submit, purchase_ptr& what) { return submit(self, what); },
    [self](atom::ready) { return ask_writers(self); },
    [self](atom::drain) { return drain(self); },
  };
}

size_t writer_of(std::string_view branch_id, size_t writers) {
  assert(writers > 0);
  return fnv1a{}.add(branch_id).value() % writers;
}

} // namespace tillstream

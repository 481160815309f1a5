#include "benchmarks/micro/allocations.hpp"

#include "actors/runtime/system_config.hpp"
#include "messages/protocol/query.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <chrono>
#include <cstdlib>

namespace tillstream::bench {

namespace {

query_actor::behavior_type answer_at_once(query_actor::pointer) {
  return {
    [](atom::ask, const analytics_query_ptr&) { return query_reply{}; }};
}

/// There and back: two messages between threads, one time-out set and taken
/// back.
void request_and_reply(benchmark::State& state) {
  node_config config{2};
  caf::actor_system sys{config};
  caf::scoped_actor self{sys};
  auto other = sys.spawn(answer_at_once);
  count_allocations counting{state};
  for (auto _ : state)
    self
      ->request(other, caf::duration{std::chrono::seconds{10}}, atom::ask_v,
                analytics_query_ptr{})
      .receive([](const query_reply&) {},
               [](const caf::error&) { std::abort(); });
}
BENCHMARK(request_and_reply);

} // namespace

} // namespace tillstream::bench

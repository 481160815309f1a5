#include "benchmarks/micro/allocations.hpp"
#include "benchmarks/micro/sample.hpp"

#include "messages/model/aggregates.hpp"

#include <vector>

namespace tillstream::bench {

namespace {

/// A branch's batch summed up before it is written.
void sum_up_a_batch(benchmark::State& state) {
  std::vector<purchase_event> events;
  for (int64_t n = 0; n < state.range(0); ++n)
    events.push_back(sample_event(static_cast<uint64_t>(n)));
  count_allocations counting{state};
  for (auto _ : state) {
    branch_delta delta;
    for (const auto& event : events)
      accumulate(delta, event);
    benchmark::DoNotOptimize(delta.events);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sum_up_a_batch)->Arg(100)->Arg(1000);

} // namespace

} // namespace tillstream::bench

#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

/// @file benchmarks/micro/allocations.hpp
/// How often a piece of code allocates: `operator new` is counted while a
/// benchmark of ours runs.

namespace tillstream::bench {

/// Calls of `operator new` so far, on any thread.
uint64_t allocations();

/// Adds the counter `allocations`, per iteration, when it goes.
class count_allocations {
public:
  explicit count_allocations(benchmark::State& state)
    : state_(state),
      before_(allocations()) {
    // nop
  }

  ~count_allocations() {
    state_.counters["allocations"]
      = benchmark::Counter(static_cast<double>(allocations() - before_),
                           benchmark::Counter::kAvgIterations);
  }

private:
  benchmark::State& state_;
  uint64_t before_;
};

} // namespace tillstream::bench

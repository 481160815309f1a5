#include "benchmarks/micro/allocations.hpp"
#include "benchmarks/micro/sample.hpp"

#include "storage/postgres/array_param.hpp"

namespace tillstream::bench {

namespace {

/// A column of 64 events, as the server reads it fastest.
void column_of_events_in_binary(benchmark::State& state) {
  auto payload = encode_event(sample_event());
  count_allocations counting{state};
  for (auto _ : state) {
    storage::postgres::text_array column{64 * 2048};
    for (int i = 0; i < 64; ++i)
      column.add(payload);
    benchmark::DoNotOptimize(column.data());
  }
}
BENCHMARK(column_of_events_in_binary);

} // namespace

} // namespace tillstream::bench

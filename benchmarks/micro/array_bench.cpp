#include "benchmarks/micro/allocations.hpp"
#include "benchmarks/micro/sample.hpp"

#include "storage/postgres/array_param.hpp"
#include "storage/postgres/session.hpp"

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

/// The same as text, every quote escaped.
void column_of_events_as_text(benchmark::State& state) {
  auto payload = encode_event(sample_event());
  count_allocations counting{state};
  for (auto _ : state) {
    storage::postgres::array_literal column{64 * 2048};
    for (int i = 0; i < 64; ++i)
      column.add(payload);
    benchmark::DoNotOptimize(column.str());
  }
}
BENCHMARK(column_of_events_as_text);

} // namespace

} // namespace tillstream::bench

#include "benchmarks/micro/allocations.hpp"
#include "benchmarks/micro/sample.hpp"

#include "messages/core/money.hpp"
#include "messages/model/purchase.hpp"

#include <stdexcept>
#include <variant>

namespace tillstream::bench {

namespace {

void decode_a_purchase(benchmark::State& state) {
  auto context = sample_context();
  const auto& body = sample_body();
  if (!std::holds_alternative<purchase>(
        decode_purchase(body, sample_chain(), context)))
    throw std::logic_error("the sample is no purchase");
  count_allocations counting{state};
  for (auto _ : state)
    benchmark::DoNotOptimize(decode_purchase(body, sample_chain(), context));
}
BENCHMARK(decode_a_purchase);

void encode_a_recorded_purchase(benchmark::State& state) {
  recorded_purchase x;
  x.branch_id = "branch-01";
  x.receipt_id = "r-0000000000000001";
  x.total = 750;
  x.currency = "USD";
  x.items_count = 3;
  count_allocations counting{state};
  for (auto _ : state)
    benchmark::DoNotOptimize(encode_recorded(x, currency{}));
}
BENCHMARK(encode_a_recorded_purchase);

void encode_an_event(benchmark::State& state) {
  auto event = sample_event();
  count_allocations counting{state};
  for (auto _ : state)
    benchmark::DoNotOptimize(encode_event(event));
}
BENCHMARK(encode_an_event);

void decode_an_event(benchmark::State& state) {
  auto bytes = encode_event(sample_event());
  if (!decode_event(bytes, "branch-01"))
    throw std::logic_error("the sample is no event");
  count_allocations counting{state};
  for (auto _ : state)
    benchmark::DoNotOptimize(decode_event(bytes, "branch-01"));
}
BENCHMARK(decode_an_event);

void fingerprint(benchmark::State& state) {
  const auto& body = sample_body();
  count_allocations counting{state};
  for (auto _ : state)
    benchmark::DoNotOptimize(sha256(body));
}
BENCHMARK(fingerprint);

void read_money(benchmark::State& state) {
  minor_units amount = 0;
  count_allocations counting{state};
  for (auto _ : state) {
    benchmark::DoNotOptimize(
      parse_money("12345.67", currency{}, 10'000'000'000, false, amount));
    benchmark::DoNotOptimize(amount);
  }
}
BENCHMARK(read_money);

void write_money(benchmark::State& state) {
  count_allocations counting{state};
  for (auto _ : state)
    benchmark::DoNotOptimize(format_money(1'234'567, currency{}));
}
BENCHMARK(write_money);

} // namespace

} // namespace tillstream::bench

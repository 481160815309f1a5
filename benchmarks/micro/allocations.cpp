#include "benchmarks/micro/allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<uint64_t> count{0};

} // namespace

void* operator new(size_t bytes) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (auto* result = std::malloc(bytes))
    return result;
  throw std::bad_alloc{};
}

void operator delete(void* where) noexcept {
  std::free(where);
}

void operator delete(void* where, size_t) noexcept {
  std::free(where);
}

uint64_t tillstream::bench::allocations() {
  return count.load(std::memory_order_relaxed);
}

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

/// @file messages/core/metrics.hpp
/// Counters, gauges and histograms, rendered in Prometheus' text format 0.0.4.
/// Updating is one relaxed atomic; names are constants beside their use.

namespace tillstream {

class counter {
public:
  void add(uint64_t n = 1) {
    value_.fetch_add(n, std::memory_order_relaxed);
  }
  uint64_t value() const {
    return value_.load(std::memory_order_relaxed);
  }

private:
  std::atomic<uint64_t> value_{0};
};

class gauge {
public:
  void set(int64_t x) {
    value_.store(x, std::memory_order_relaxed);
  }
  void add(int64_t x) {
    value_.fetch_add(x, std::memory_order_relaxed);
  }
  int64_t value() const {
    return value_.load(std::memory_order_relaxed);
  }

private:
  std::atomic<int64_t> value_{0};
};

/// Counts values in buckets that double from 1: good for microseconds and for
/// sizes. `scale` divides when rendering (1e6: microseconds to seconds).
class histogram {
public:
  static constexpr size_t bucket_count = 28;

  explicit histogram(double scale) : scale_(scale) {
    // nop
  }

  void observe(uint64_t value);

  double scale() const {
    return scale_;
  }
  uint64_t bucket(size_t i) const {
    return buckets_[i].load(std::memory_order_relaxed);
  }
  uint64_t sum() const {
    return sum_.load(std::memory_order_relaxed);
  }

private:
  std::array<std::atomic<uint64_t>, bucket_count + 1> buckets_{};
  std::atomic<uint64_t> sum_{0};
  double scale_;
};

/// All metrics of a process. References stay valid as long as it runs.
class metrics_registry {
public:
  /// @param labels Already rendered, e.g. `outcome="recorded"`, or empty.
  counter& get_counter(std::string_view name, std::string_view help,
                       std::string_view labels = {});
  gauge& get_gauge(std::string_view name, std::string_view help,
                   std::string_view labels = {});
  histogram& get_histogram(std::string_view name, std::string_view help,
                           double scale, std::string_view labels = {});

  /// Removes a labelled gauge, e.g. of a branch that moved away. The next new
  /// gauge takes its memory: nobody may set it any more.
  void drop_gauge(std::string_view name, std::string_view labels);

  /// Renders everything, ordered by name.
  std::string render() const;

private:
  struct family {
    std::string help;
    std::string type;
    std::map<std::string, counter*> counters;
    std::map<std::string, gauge*, std::less<>> gauges;
    std::map<std::string, histogram*> histograms;
  };

  family& get_family(std::string_view name, std::string_view help,
                     std::string_view type);

  mutable std::mutex mutex_;
  std::map<std::string, family, std::less<>> families_;
  std::deque<counter> counters_;
  std::deque<gauge> gauges_;
  std::vector<gauge*> dropped_gauges_;
  std::deque<histogram> histograms_;
};

/// The process's registry.
metrics_registry& metrics();

/// Renders `key="value"` with the escapes of the text format.
std::string metric_label(std::string_view key, std::string_view value);

} // namespace tillstream

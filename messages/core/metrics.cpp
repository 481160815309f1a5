#include "messages/core/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace tillstream {

void histogram::observe(uint64_t value) {
  // Bucket i holds values up to 2^i; the last one everything above.
  size_t i = value <= 1 ? 0 : static_cast<size_t>(std::bit_width(value - 1));
  if (i > bucket_count)
    i = bucket_count;
  buckets_[i].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

metrics_registry::family&
metrics_registry::get_family(std::string_view name, std::string_view help,
                             std::string_view type) {
  auto i = families_.find(name);
  if (i == families_.end()) {
    i = families_.emplace(std::string{name}, family{}).first;
    i->second.help = help;
    i->second.type = type;
  }
  return i->second;
}

counter&
metrics_registry::get_counter(std::string_view name, std::string_view help,
                              std::string_view labels) {
  std::lock_guard guard{mutex_};
  auto& slot = get_family(name, help, "counter").counters[std::string{labels}];
  if (slot == nullptr)
    slot = &counters_.emplace_back();
  return *slot;
}

gauge& metrics_registry::get_gauge(std::string_view name, std::string_view help,
                                   std::string_view labels) {
  std::lock_guard guard{mutex_};
  auto& slot = get_family(name, help, "gauge").gauges[std::string{labels}];
  if (slot == nullptr && !dropped_gauges_.empty()) {
    slot = dropped_gauges_.back();
    dropped_gauges_.pop_back();
    slot->set(0);
  }
  if (slot == nullptr)
    slot = &gauges_.emplace_back();
  return *slot;
}

histogram&
metrics_registry::get_histogram(std::string_view name, std::string_view help,
                                double scale, std::string_view labels) {
  std::lock_guard guard{mutex_};
  auto& slot
    = get_family(name, help, "histogram").histograms[std::string{labels}];
  if (slot == nullptr)
    slot = &histograms_.emplace_back(scale);
  return *slot;
}

void metrics_registry::drop_gauge(std::string_view name,
                                  std::string_view labels) {
  std::lock_guard guard{mutex_};
  auto found = families_.find(name);
  if (found == families_.end())
    return;
  auto& gauges = found->second.gauges;
  if (auto i = gauges.find(labels); i != gauges.end()) {
    dropped_gauges_.push_back(i->second);
    gauges.erase(i);
  }
}

namespace {

std::string braces(const std::string& labels) {
  return labels.empty() ? "" : "{" + labels + "}";
}

void render_histogram(std::string& out, const std::string& name,
                      const std::string& labels, const histogram& h) {
  auto comma = labels.empty() ? "" : ",";
  uint64_t total = 0;
  for (size_t i = 0; i < histogram::bucket_count; ++i) {
    total += h.bucket(i);
    out
      += fmt::format("{}_bucket{{{}{}le=\"{}\"}} {}\n", name, labels, comma,
                     static_cast<double>(uint64_t{1} << i) / h.scale(), total);
  }
  total += h.bucket(histogram::bucket_count);
  out += fmt::format("{}_bucket{{{}{}le=\"+Inf\"}} {}\n", name, labels, comma,
                     total);
  out += fmt::format("{}_sum{} {}\n", name, braces(labels),
                     static_cast<double>(h.sum()) / h.scale());
  out += fmt::format("{}_count{} {}\n", name, braces(labels), total);
}

} // namespace

std::string metrics_registry::render() const {
  std::lock_guard guard{mutex_};
  std::string out;
  for (const auto& [name, f] : families_) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, f.help, name,
                       f.type);
    for (const auto& [labels, x] : f.counters)
      out += fmt::format("{}{} {}\n", name, braces(labels), x->value());
    for (const auto& [labels, x] : f.gauges)
      out += fmt::format("{}{} {}\n", name, braces(labels), x->value());
    for (const auto& [labels, x] : f.histograms)
      render_histogram(out, name, labels, *x);
  }
  return out;
}

metrics_registry& metrics() {
  // Never destroyed: detached threads may count until the very end.
  static auto* instance = new metrics_registry;
  return *instance;
}

std::string metric_label(std::string_view key, std::string_view value) {
  std::string out{key};
  out += "=\"";
  for (char c : value) {
    if (c == '\\' || c == '"')
      out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  out += '"';
  return out;
}

} // namespace tillstream

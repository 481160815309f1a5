#include "actors/simulate/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string_view>
#include <vector>

namespace tillstream::commands {

namespace {

constexpr int bar_width = 24;

/// Finds `name`, or the line that all names beyond the limit share.
template <class Map>
auto& entry(Map& xs, const std::string& name) {
  if (xs.size() < scoreboard::names_max)
    return xs[printable(name)];
  auto i = xs.find(printable(name));
  return i != xs.end() ? i->second : xs["(others)"];
}

void count(branch_tally& x, const sale_result& result) {
  switch (result.what) {
    case sale_result::kind::recorded:
      ++x.recorded;
      x.revenue += result.total;
      break;
    case sale_result::kind::replayed:
      ++x.replayed;
      break;
    case sale_result::kind::refused:
      ++x.refused;
      break;
    case sale_result::kind::failed:
      ++x.failed;
      break;
  }
}

std::string number(int64_t value) {
  return grouped(std::to_string(value));
}

double seconds(std::chrono::milliseconds x) {
  return static_cast<double>(x.count()) / 1000;
}

double rate_of(int64_t sales, std::chrono::milliseconds elapsed) {
  return elapsed.count() > 0 ? static_cast<double>(sales) / seconds(elapsed)
                             : 0;
}

std::string milliseconds_of(duration_us x) {
  return fmt::format("{:.1f} ms", static_cast<double>(x.count()) / 1000);
}

std::string clock_of(double left) {
  auto s = static_cast<int64_t>(std::ceil(left));
  if (s >= 3600)
    return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

/// The reasons, most frequent first.
void render_reasons(std::string& out,
                    const std::map<std::string, int64_t>& reasons) {
  std::vector<std::pair<std::string, int64_t>> xs(reasons.begin(),
                                                  reasons.end());
  std::stable_sort(xs.begin(), xs.end(), [](const auto& a, const auto& b) {
    return a.second > b.second;
  });
  for (const auto& [reason, times] : xs)
    out += fmt::format("    {:>10}  {}\n", number(times), reason);
}

void render_branch(std::string& out, const std::string& name,
                   const branch_tally& x, const currency& unit) {
  out += fmt::format("  {:<20} {:>10} {:>16} {:>10} {:>10} {:>8}\n",
                     printable(name, 20), number(x.recorded),
                     grouped(format_money(x.revenue, unit)), number(x.replayed),
                     number(x.refused), number(x.failed));
}

void render_branches(std::string& out, const tally& counts,
                     const currency& unit) {
  out += fmt::format("  {:<20} {:>10} {:>16} {:>10} {:>10} {:>8}\n", "branch",
                     "recorded", fmt::format("revenue ({})", unit.code),
                     "replayed", "refused", "failed");
  for (const auto& [name, x] : counts.branches)
    render_branch(out, name, x, unit);
  render_branch(out, "total", counts.total, unit);
}

} // namespace

// -- latency_histogram --------------------------------------------------------

void latency_histogram::add(duration_us latency) {
  auto value = static_cast<uint64_t>(std::max<int64_t>(0, latency.count()));
  ++counts_[bucket_of(value)];
  ++count_;
  max_ = std::max(max_, value);
}

duration_us latency_histogram::quantile(double share) const {
  if (count_ == 0)
    return duration_us{0};
  auto wanted
    = static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_)));
  uint64_t seen = 0;
  size_t bucket = 0;
  while (bucket + 1 < buckets && (seen += counts_[bucket]) < wanted)
    ++bucket;
  return duration_us{std::min(end_of(bucket), max_)};
}

size_t latency_histogram::bucket_of(uint64_t value) {
  if (value < exact)
    return static_cast<size_t>(value);
  // The top seven bits name the bucket: one is always set, six count.
  auto shift = static_cast<size_t>(std::bit_width(value)) - 7;
  auto step = static_cast<size_t>(value >> shift) - steps;
  return std::min(exact + (shift - 1) * steps + step, buckets - 1);
}

uint64_t latency_histogram::end_of(size_t bucket) {
  if (bucket < exact)
    return bucket;
  auto shift = (bucket - exact) / steps + 1;
  auto step = (bucket - exact) % steps;
  return ((uint64_t{steps + step} + 1) << shift) - 1;
}

// -- scoreboard ---------------------------------------------------------------

void scoreboard::add(const std::string& branch_id, const sale_result& result,
                     duration_us latency) {
  std::lock_guard guard{mutex_};
  auto& x = tally_;
  count(x.total, result);
  count(entry(x.branches, branch_id), result);
  x.retries += result.attempts - 1;
  if (result.what == sale_result::kind::failed) {
    ++entry(x.failures, result.reason);
    ++x.failures_in_a_row;
    return;
  }
  x.failures_in_a_row = 0;
  x.latency.add(latency);
  if (result.what == sale_result::kind::refused)
    ++entry(x.refusals, result.reason);
  if (result.what == sale_result::kind::replayed && result.attempts > 1)
    ++x.settled;
}

tally scoreboard::snapshot() const {
  std::lock_guard guard{mutex_};
  return tally_;
}

int64_t scoreboard::sales() const {
  std::lock_guard guard{mutex_};
  return tally_.sales();
}

int64_t scoreboard::failures_in_a_row() const {
  std::lock_guard guard{mutex_};
  return tally_.failures_in_a_row;
}

// -- text ---------------------------------------------------------------------

std::string render_report(const tally& counts, const run_facts& facts) {
  const auto& x = counts.total;
  auto out = fmt::format("{} sales in {:.1f} s over {} tills: {:.1f} a "
                         "second\n\n",
                         number(counts.sales()), seconds(facts.elapsed),
                         facts.tills, rate_of(counts.sales(), facts.elapsed));
  auto line = [&out](const char* name, int64_t value) {
    out += fmt::format("  {:<12} {:>12}\n", name, number(value));
  };
  line("recorded", x.recorded);
  line("replayed", x.replayed);
  line("refused", x.refused);
  render_reasons(out, counts.refusals);
  line("failed", x.failed);
  render_reasons(out, counts.failures);
  line("retries", counts.retries);
  if (counts.settled > 0)
    line("settled", counts.settled);
  out += fmt::format("\n  latency      p50 {}, p99 {}, max {}\n\n",
                     milliseconds_of(counts.latency.quantile(0.5)),
                     milliseconds_of(counts.latency.quantile(0.99)),
                     milliseconds_of(counts.latency.max()));
  render_branches(out, counts, facts.currency);
  return out;
}

std::string
render_progress(const tally& counts, std::chrono::milliseconds elapsed,
                std::optional<double> share, bool bar) {
  std::string out;
  auto done = std::clamp(share.value_or(0), 0.0, 1.0);
  if (bar && share) {
    auto full = static_cast<int>(done * bar_width);
    out = fmt::format("[{:#<{}}{:-<{}}] ", "", full, "", bar_width - full);
  }
  if (share)
    out += fmt::format("{:3.0f} %  ", std::floor(done * 100));
  out += fmt::format("{} sales, {:.0f}/s", number(counts.sales()),
                     rate_of(counts.sales(), elapsed));
  if (counts.total.refused > 0)
    out += fmt::format(", {} refused", number(counts.total.refused));
  if (counts.total.failed > 0)
    out += fmt::format(", {} failed", number(counts.total.failed));
  if (done > 0.01 && done < 1)
    out += fmt::format(", {} left",
                       clock_of(seconds(elapsed) * (1 - done) / done));
  return out;
}

std::string grouped(std::string digits) {
  auto first = digits.find_first_of("0123456789");
  if (first == std::string::npos)
    return digits;
  auto end = std::min(digits.find('.'), digits.size());
  for (auto i = end; i > first + 3; i -= 3)
    digits.insert(i - 3, 1, ',');
  return digits;
}

std::string printable(std::string_view text, size_t size_max) {
  std::string result{text.substr(0, size_max)};
  for (auto& c : result)
    if (c < ' ' || c > '~')
      c = '?';
  return result;
}

} // namespace tillstream::commands

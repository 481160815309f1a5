#include "actors/runtime/fault_point.hpp"

#include "messages/core/error.hpp"

#include <charconv>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace tillstream {

namespace {

/// How often each point still throws.
using point_map = std::map<std::string, uint64_t, std::less<>>;

struct {
  std::mutex mutex;
  point_map left;
} points;

/// Reads `name=throw:count`.
std::optional<std::pair<std::string, uint64_t>>
parse_point(std::string_view text) {
  constexpr std::string_view action = "=throw:";
  auto at = text.find(action);
  if (at == 0 || at == std::string_view::npos)
    return std::nullopt;
  auto digits = text.substr(at + action.size());
  uint64_t count = 0;
  auto end = digits.data() + digits.size();
  auto [stop, err] = std::from_chars(digits.data(), end, count);
  if (err != std::errc{} || stop != end)
    return std::nullopt;
  return std::pair{std::string{text.substr(0, at)}, count};
}

} // namespace

void detail::hit_fault_point(std::string_view name) {
  std::lock_guard guard{points.mutex};
  auto i = points.left.find(name);
  if (i == points.left.end() || i->second == 0)
    return;
  --i->second;
  throw std::runtime_error{"fault point " + i->first};
}

caf::expected<void> arm_fault_points(std::string_view text) {
  point_map left;
  while (!text.empty()) {
    auto comma = std::min(text.find(','), text.size());
    auto part = text.substr(0, comma);
    auto point = parse_point(part);
    if (!point)
      return caf::make_error(errc::invalid,
                             "fault point '" + std::string{part}
                               + "' is not of the form name=throw:count");
    left.insert(std::move(*point));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  std::lock_guard guard{points.mutex};
  points.left = std::move(left);
  detail::fault_points_armed = !points.left.empty();
  return caf::unit;
}

} // namespace tillstream

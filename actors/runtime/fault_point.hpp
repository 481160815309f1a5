#pragma once

#include <caf/expected.hpp>

#include <atomic>
#include <string_view>

/// @file actors/runtime/fault_point.hpp
/// Named places at which a test can make an actor throw. Disarmed, a point
/// costs one relaxed load.

namespace tillstream {

namespace detail {

inline std::atomic<bool> fault_points_armed{false};

void hit_fault_point(std::string_view name);

} // namespace detail

/// Throws `std::runtime_error` if the point is armed.
/// @param name `<actor>.<message>`, e.g. `transaction-writer.batch`.
inline void fault_point(std::string_view name) {
  if (detail::fault_points_armed.load(std::memory_order_relaxed))
    detail::hit_fault_point(name);
}

/// Arms points: `name=throw:count[,name=…]`. Each throws the next `count`
/// times that it is passed, whichever actor passes it. Replaces what was
/// armed before; an empty text disarms everything.
/// @returns `errc::invalid` naming the part that it cannot read.
caf::expected<void> arm_fault_points(std::string_view text);

} // namespace tillstream

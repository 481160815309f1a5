#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tillstream {

/// An amount in the currency's smallest unit (cents for USD).
using minor_units = int64_t;

/// A currency and the number of its fraction digits.
struct currency {
  /// ISO 4217 code, e.g. `USD`.
  std::string code = "USD";
  /// Digits after the point: 0 (JPY) to 4 (CLF). Source: ISO 4217, list one.
  int exponent = 2;

  friend bool operator==(const currency&, const currency&) = default;
};

/// Looks a code up. @returns nothing for what is not three upper-case letters.
std::optional<currency> find_currency(std::string_view code);

/// Why an amount was refused.
enum class money_error : uint8_t {
  none,
  /// Not a decimal number.
  syntax,
  /// More fraction digits than the currency has.
  too_precise,
  /// Below zero, or too large for what the caller allows.
  out_of_range,
};

/// Reads an amount from its decimal digits, never through a binary float.
///
/// @param text A decimal string, `[0-9]+(\.[0-9]+)?`. With `json_number` also
///             what JSON allows: a minus sign and an exponent (`1.5e1`).
/// @param max  The largest amount allowed, in minor units.
/// @param out  Set when `money_error::none` is returned.
money_error parse_money(std::string_view text, const currency& unit,
                        minor_units max, bool json_number, minor_units& out);

/// Renders `amount` as a decimal string with all of the currency's fraction
/// digits, e.g. `4.50`, `-0.05`, `100` (JPY).
std::string format_money(minor_units amount, const currency& unit);

/// `sum / count`, rounded half away from zero. @pre count > 0
minor_units average(minor_units sum, int64_t count);

} // namespace tillstream

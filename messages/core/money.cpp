#include "messages/core/money.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <limits>

namespace tillstream {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// The pieces of a decimal number, as written.
struct decimal {
  bool negative = false;
  std::string_view whole;
  std::string_view fraction;
  /// Clamped: no amount needs more, and a hostile one has no end.
  int64_t exponent = 0;
};

constexpr int64_t exponent_clamp = 1'000'000;

std::string_view take_digits(std::string_view& text) {
  auto end = std::find_if_not(text.begin(), text.end(), is_digit);
  auto result = text.substr(0, static_cast<size_t>(end - text.begin()));
  text.remove_prefix(result.size());
  return result;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c)
    return false;
  text.remove_prefix(1);
  return true;
}

/// Reads `e` and what follows; @returns false when it is malformed.
bool take_exponent(std::string_view& text, int64_t& out) {
  if (!take(text, 'e') && !take(text, 'E'))
    return true;
  auto negative = take(text, '-');
  if (!negative)
    take(text, '+');
  auto digits = take_digits(text);
  for (char c : digits)
    out = std::min(exponent_clamp, out * 10 + (c - '0'));
  if (negative)
    out = -out;
  return !digits.empty();
}

bool split(std::string_view text, bool json_number, decimal& out) {
  out.negative = json_number && take(text, '-');
  out.whole = take_digits(text);
  if (out.whole.empty())
    return false;
  if (take(text, '.')) {
    out.fraction = take_digits(text);
    if (out.fraction.empty())
      return false;
  }
  if (json_number && !take_exponent(text, out.exponent))
    return false;
  return text.empty();
}

/// Appends digits to `amount`; @returns false when it passes `max`.
bool push_digits(minor_units& amount, std::string_view digits,
                 minor_units max) {
  for (char c : digits) {
    auto digit = c - '0';
    if (amount > max / 10 || amount * 10 > max - digit)
      return false;
    amount = amount * 10 + digit;
  }
  return true;
}

} // namespace

std::optional<currency> find_currency(std::string_view code) {
  static constexpr std::string_view without_fraction[]
    = {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG",
       "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"};
  static constexpr std::string_view thousandths[]
    = {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"};
  static constexpr std::string_view ten_thousandths[] = {"CLF", "UYW"};
  auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  if (code.size() != 3 || !std::all_of(code.begin(), code.end(), is_upper))
    return std::nullopt;
  auto is_in = [&](const auto& codes) {
    return std::find(std::begin(codes), std::end(codes), code)
           != std::end(codes);
  };
  auto exponent = 2;
  if (is_in(without_fraction))
    exponent = 0;
  else if (is_in(thousandths))
    exponent = 3;
  else if (is_in(ten_thousandths))
    exponent = 4;
  return currency{std::string{code}, exponent};
}

money_error parse_money(std::string_view text, const currency& unit,
                        minor_units max, bool json_number, minor_units& out) {
  assert(max >= 0);
  decimal number;
  if (!split(text, json_number, number))
    return money_error::syntax;
  auto fraction_digits
    = static_cast<int64_t>(number.fraction.size()) - number.exponent;
  if (fraction_digits > unit.exponent)
    return money_error::too_precise;
  minor_units amount = 0;
  if (!push_digits(amount, number.whole, max)
      || !push_digits(amount, number.fraction, max))
    return money_error::out_of_range;
  // Zero stays zero whatever the exponent; else 19 steps pass any `max`.
  if (amount != 0)
    for (auto i = fraction_digits; i < unit.exponent; ++i)
      if (!push_digits(amount, "0", max))
        return money_error::out_of_range;
  if (number.negative && amount != 0)
    return money_error::out_of_range;
  out = amount;
  return money_error::none;
}

std::string format_money(minor_units amount, const currency& unit) {
  // Room for 19 digits, a sign, a point and the zeros before it.
  char buffer[32];
  auto* end = std::end(buffer);
  auto* pos = end;
  // Unsigned: the smallest int64 has no positive twin.
  auto rest = amount < 0 ? uint64_t{0} - static_cast<uint64_t>(amount)
                         : static_cast<uint64_t>(amount);
  for (int i = 0; rest != 0 || i <= unit.exponent; ++i, rest /= 10) {
    if (i == unit.exponent && i > 0)
      *--pos = '.';
    *--pos = static_cast<char>('0' + rest % 10);
  }
  if (amount < 0)
    *--pos = '-';
  return std::string(pos, end);
}

minor_units average(minor_units sum, int64_t count) {
  assert(count > 0);
  auto quotient = sum / count;
  auto remainder = sum % count;
  if (remainder < 0)
    return -remainder >= count + remainder ? quotient - 1 : quotient;
  return remainder >= count - remainder ? quotient + 1 : quotient;
}

} // namespace tillstream

#include <boost/test/unit_test.hpp>

#include "messages/core/money.hpp"

#include <limits>

using namespace tillstream;

namespace {

constexpr minor_units no_max = std::numeric_limits<minor_units>::max();

const currency usd{"USD", 2};
const currency jpy{"JPY", 0};
const currency clf{"CLF", 4};

/// The amount as text, or the name of what is wrong.
std::string read(std::string_view text, const currency& unit = usd,
                 bool json_number = false, minor_units max = no_max) {
  minor_units amount = -1;
  switch (parse_money(text, unit, max, json_number, amount)) {
    case money_error::none:
      return std::to_string(amount);
    case money_error::syntax:
      return "syntax";
    case money_error::too_precise:
      return "too precise";
    case money_error::out_of_range:
      return "out of range";
  }
  return "unknown";
}

std::string read_number(std::string_view text, const currency& unit = usd) {
  return read(text, unit, true);
}

} // namespace

BOOST_AUTO_TEST_SUITE(money_suite)

BOOST_AUTO_TEST_CASE(strings_are_read_from_their_digits) {
  BOOST_TEST(read("4.50") == "450");
  BOOST_TEST(read("4.5") == "450");
  BOOST_TEST(read("4") == "400");
  BOOST_TEST(read("0") == "0");
  BOOST_TEST(read("0.01") == "1");
  BOOST_TEST(read("007.00") == "700");
  BOOST_TEST(read("100", jpy) == "100");
  BOOST_TEST(read("1.0001", clf) == "10001");
  BOOST_TEST(read("92233720368547758.07") == "9223372036854775807");
}

BOOST_AUTO_TEST_CASE(what_is_no_decimal_is_refused) {
  for (auto text :
       {"", " ", ".", ".5", "5.", "4,50", "4.5.0", "$4", "4.50 ", " 4.50",
        "1e2", "-1", "+1", "0x10", "NaN", "inf", "4_000", "\xd9\xa4"})
    BOOST_TEST(read(text) == "syntax", text);
  BOOST_TEST(read(std::string_view{"4\0", 2}) == "syntax");
}

BOOST_AUTO_TEST_CASE(more_fraction_digits_than_the_currency_has_are_refused) {
  BOOST_TEST(read("4.505") == "too precise");
  BOOST_TEST(read("4.500") == "too precise");
  BOOST_TEST(read("1.0", jpy) == "too precise");
  BOOST_TEST(read("1.00001", clf) == "too precise");
}

BOOST_AUTO_TEST_CASE(numbers_may_have_sign_and_exponent) {
  BOOST_TEST(read_number("1.5e1") == "1500");
  BOOST_TEST(read_number("1.50E+1") == "1500");
  BOOST_TEST(read_number("450e-2") == "450");
  BOOST_TEST(read_number("4500e-3") == "too precise");
  BOOST_TEST(read_number("0.45e1") == "450");
  BOOST_TEST(read_number("1e2", jpy) == "100");
  BOOST_TEST(read_number("-0") == "0");
  BOOST_TEST(read_number("-0.00") == "0");
  BOOST_TEST(read_number("-0.01") == "out of range");
  BOOST_TEST(read_number("1e") == "syntax");
  BOOST_TEST(read_number("1e+") == "syntax");
}

// What a binary float would make of these differs by a cent or more.
BOOST_AUTO_TEST_CASE(no_digit_is_lost_to_a_float) {
  BOOST_TEST(read_number("0.29") == "29");
  BOOST_TEST(read_number("1.15") == "115");
  BOOST_TEST(read_number("90071992547409.93") == "9007199254740993");
  BOOST_TEST(read_number("0.1e1") == "100");
}

BOOST_AUTO_TEST_CASE(hostile_exponents_cost_nothing) {
  BOOST_TEST(read_number("0e999999999999999999999") == "0");
  BOOST_TEST(read_number("1e999999999999999999999") == "out of range");
  BOOST_TEST(read_number("1e-999999999999999999999") == "too precise");
  BOOST_TEST(read_number("1e" + std::string(60'000, '9')) == "out of range");
  BOOST_TEST(read(std::string(60'000, '9')) == "out of range");
  BOOST_TEST(read(std::string(60'000, '0') + "1") == "100");
}

BOOST_AUTO_TEST_CASE(the_largest_amount_is_inclusive) {
  auto max = minor_units{100'000'000} * 100;
  BOOST_TEST(read("100000000.00", usd, false, max) == "10000000000");
  BOOST_TEST(read("100000000", usd, false, max) == "10000000000");
  BOOST_TEST(read("100000000.01", usd, false, max) == "out of range");
  BOOST_TEST(read("100000001", usd, false, max) == "out of range");
  BOOST_TEST(read("92233720368547758.08") == "out of range");
  BOOST_TEST(read("0", usd, false, 0) == "0");
  BOOST_TEST(read("0.01", usd, false, 0) == "out of range");
}

BOOST_AUTO_TEST_CASE(amounts_show_all_fraction_digits) {
  BOOST_TEST(format_money(450, usd) == "4.50");
  BOOST_TEST(format_money(0, usd) == "0.00");
  BOOST_TEST(format_money(5, usd) == "0.05");
  BOOST_TEST(format_money(-5, usd) == "-0.05");
  BOOST_TEST(format_money(-12345, usd) == "-123.45");
  BOOST_TEST(format_money(100, jpy) == "100");
  BOOST_TEST(format_money(0, jpy) == "0");
  BOOST_TEST(format_money(-7, jpy) == "-7");
  BOOST_TEST(format_money(1, clf) == "0.0001");
  BOOST_TEST(format_money(no_max, usd) == "92233720368547758.07");
  BOOST_TEST(format_money(std::numeric_limits<minor_units>::min(), usd)
             == "-92233720368547758.08");
}

BOOST_AUTO_TEST_CASE(what_is_shown_is_read_back) {
  for (const auto& unit : {usd, jpy, clf})
    for (minor_units x = 1; x < no_max / 7; x = x * 7 + 3) {
      minor_units y = 0;
      BOOST_TEST((parse_money(format_money(x, unit), unit, no_max, false, y)
                  == money_error::none));
      BOOST_TEST(x == y);
    }
}

BOOST_AUTO_TEST_CASE(currencies_know_their_fraction_digits) {
  BOOST_TEST(find_currency("USD")->exponent == 2);
  BOOST_TEST(find_currency("EUR")->exponent == 2);
  BOOST_TEST(find_currency("JPY")->exponent == 0);
  BOOST_TEST(find_currency("KWD")->exponent == 3);
  BOOST_TEST(find_currency("CLF")->exponent == 4);
  BOOST_TEST(find_currency("USD")->code == "USD");
  for (auto code : {"", "US", "usd", "USDX", "U D", "U1D", "\xc3\x84Z"})
    BOOST_TEST(!find_currency(code).has_value(), code);
}

BOOST_AUTO_TEST_CASE(averages_round_half_away_from_zero) {
  BOOST_TEST(average(10, 4) == 3);
  BOOST_TEST(average(9, 4) == 2);
  BOOST_TEST(average(11, 4) == 3);
  BOOST_TEST(average(-10, 4) == -3);
  BOOST_TEST(average(-9, 4) == -2);
  BOOST_TEST(average(0, 3) == 0);
  BOOST_TEST(average(no_max, 1) == no_max);
  BOOST_TEST(average(no_max, no_max) == 1);
  BOOST_TEST(average(1, no_max) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

#include "messages/core/hex.hpp"

#include <boost/test/unit_test.hpp>

#include <array>

using namespace tillstream;

BOOST_AUTO_TEST_SUITE(hex_suite)

BOOST_AUTO_TEST_CASE(bytes_become_two_digits_each) {
  BOOST_TEST(to_hex(std::array<uint8_t, 4>{0x00, 0x0f, 0xa0, 0xff})
             == "000fa0ff");
  BOOST_TEST(to_hex({}) == "");
}

BOOST_AUTO_TEST_CASE(digits_have_their_values_and_nothing_else_has_one) {
  int digits = 0;
  for (int i = 0; i < 256; ++i)
    digits += hex_value(static_cast<char>(i)) >= 0 ? 1 : 0;
  BOOST_TEST(digits == 22);
  for (size_t i = 0; i < 16; ++i) {
    BOOST_TEST(hex_value("0123456789abcdef"[i]) == static_cast<int>(i));
    BOOST_TEST(hex_value("0123456789ABCDEF"[i]) == static_cast<int>(i));
  }
}

BOOST_AUTO_TEST_SUITE_END()

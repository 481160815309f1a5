#include "messages/core/text.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;

BOOST_AUTO_TEST_SUITE(text_suite)

BOOST_AUTO_TEST_CASE(code_points_are_counted_not_bytes) {
  BOOST_TEST(count_code_points("") == 0u);
  BOOST_TEST(count_code_points("Käse €") == 6u);
  BOOST_TEST(has_null_character(std::string_view{"a\0b", 3}));
  BOOST_TEST(!has_null_character("ab"));
}

BOOST_AUTO_TEST_CASE(blanks_around_a_text_go_and_those_inside_stay) {
  BOOST_TEST(trim(" \t a b\t") == "a b");
  BOOST_TEST(trim("") == "");
  BOOST_TEST(trim(" \t ") == "");
}

BOOST_AUTO_TEST_CASE(parts_are_cut_off_the_front) {
  std::string_view rest = "a,,b";
  BOOST_TEST(next_part(rest, ',') == "a");
  BOOST_TEST(next_part(rest, ',') == "");
  BOOST_TEST(rest == "b");
  BOOST_TEST(next_part(rest, ',') == "b");
  BOOST_TEST(rest == "");
  BOOST_TEST(next_part(rest, ',') == "");
}

BOOST_AUTO_TEST_CASE(ascii_letters_are_compared_without_case) {
  BOOST_TEST(equals_nocase("Text/CSV", "text/csv"));
  BOOST_TEST(!equals_nocase("text/csv ", "text/csv"));
  BOOST_TEST(!equals_nocase("[", "{"));
}

BOOST_AUTO_TEST_SUITE_END()

#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

/// @file messages/core/text.hpp
/// Small questions about strings.

namespace tillstream {

/// Counts code points. @pre `text` is valid UTF-8
inline size_t count_code_points(std::string_view text) {
  auto begins_one
    = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  return static_cast<size_t>(
    std::count_if(text.begin(), text.end(), begins_one));
}

/// U+0000 is valid JSON, but PostgreSQL cannot keep it.
inline bool has_null_character(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

/// Without blanks and tabs around it.
inline std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t";
  auto begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos)
    return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

/// Cuts what stands before `separator` off the front of `rest`; all of it when
/// there is no separator.
inline std::string_view next_part(std::string_view& rest, char separator) {
  auto end = rest.find(separator);
  auto result = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return result;
}

/// Compares ASCII letters without case. @param lower In lower case.
inline bool equals_nocase(std::string_view text, std::string_view lower) {
  auto same = [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + ('a' - 'A')) : a) == b;
  };
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(), same);
}

} // namespace tillstream

#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

/// @file messages/core/text.hpp
/// What the codecs ask of a string.

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

} // namespace tillstream

#include "actors/http/target.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace tillstream {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

std::optional<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size())
        return std::nullopt;
      auto high = hex_digit(text[i + 1]);
      auto low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0)
        return std::nullopt;
      result += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      result += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  if (!is_utf8(result))
    return std::nullopt;
  return result;
}

/// A name or value of the query. What a till may send as an id can be asked
/// for, line feeds included; U+0000 is an error everywhere.
std::optional<std::string> decode_word(std::string_view text) {
  auto result = decode(text, true);
  if (result && result->find('\0') != std::string::npos)
    return std::nullopt;
  return result;
}

void parse_query(std::string_view text, request_target& out) {
  while (!text.empty()) {
    auto end = std::min(text.find('&'), text.size());
    auto pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty())
      continue;
    auto equals = std::min(pair.find('='), pair.size());
    auto name = decode_word(pair.substr(0, equals));
    auto value = decode_word(pair.substr(std::min(equals + 1, pair.size())));
    if (name && value)
      out.query.emplace_back(std::move(*name), std::move(*value));
    else if (!out.garbled_parameter)
      out.garbled_parameter
        = name.value_or(std::string{pair.substr(0, equals)});
  }
}

/// How many bytes follow a lead byte and what its bits are; -1: no lead byte.
int continuation_bytes(uint8_t lead, uint32_t& bits) {
  if (lead < 0x80) {
    bits = lead;
    return 0;
  }
  if ((lead & 0xe0) == 0xc0) {
    bits = lead & 0x1f;
    return 1;
  }
  if ((lead & 0xf0) == 0xe0) {
    bits = lead & 0x0f;
    return 2;
  }
  if ((lead & 0xf8) == 0xf0) {
    bits = lead & 0x07;
    return 3;
  }
  return -1;
}

} // namespace

std::optional<request_target> parse_target(std::string_view target) {
  if (target.empty() || target.front() != '/')
    return std::nullopt;
  auto forbidden = [](char c) { return c <= 0x20 || c >= 0x7f || c == '#'; };
  if (std::any_of(target.begin(), target.end(), forbidden))
    return std::nullopt;
  auto mark = std::min(target.find('?'), target.size());
  auto path = decode(target.substr(0, mark), false);
  if (!path || has_control(*path))
    return std::nullopt;
  request_target result{std::move(*path), {}, {}};
  if (mark < target.size())
    parse_query(target.substr(mark + 1), result);
  return result;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view unreserved_marks = "-._~";
  constexpr char digits[] = "0123456789ABCDEF";
  std::string result;
  for (char c : text) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
        || (c >= '0' && c <= '9')
        || unreserved_marks.find(c) != std::string_view::npos) {
      result += c;
      continue;
    }
    auto byte = static_cast<uint8_t>(c);
    result += '%';
    result += digits[byte >> 4];
    result += digits[byte & 15];
  }
  return result;
}

bool is_utf8(std::string_view text) {
  // Smallest code point of each length: anything below is overlong.
  constexpr uint32_t floors[] = {0, 0x80, 0x800, 0x10000};
  for (size_t i = 0; i < text.size(); ++i) {
    uint32_t point = 0;
    auto n = continuation_bytes(static_cast<uint8_t>(text[i]), point);
    if (n < 0 || i + static_cast<size_t>(n) >= text.size())
      return false;
    for (int k = 0; k < n; ++k) {
      auto next = static_cast<uint8_t>(text[++i]);
      if ((next & 0xc0) != 0x80)
        return false;
      point = (point << 6) | (next & 0x3f);
    }
    if (point < floors[n] || point > 0x10ffff
        || (point >= 0xd800 && point <= 0xdfff))
      return false;
  }
  return true;
}

} // namespace tillstream

#include "messages/core/log.hpp"

#include "messages/core/time.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace tillstream::log {

namespace {

std::atomic<level> threshold{level::info};

constexpr std::string_view names[] = {"debug", "info", "warning", "error"};

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

bool needs_quotes(char c) {
  return c == ' ' || c == '"' || c == '=' || c == '\\' || is_control(c);
}

void append_value(std::string& out, std::string_view value) {
  if (!value.empty()
      && std::none_of(value.begin(), value.end(), needs_quotes)) {
    out += value;
    return;
  }
  out += '"';
  for (char c : value) {
    if (c == '"' || c == '\\')
      out += '\\';
    // A value from outside must neither start a line of its own nor speak to
    // the terminal.
    if (is_control(c))
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  out += '"';
}

} // namespace

void set_level(level min) {
  threshold = min;
}

void write(level at, std::string_view event,
           std::initializer_list<field> fields) {
  if (at < threshold.load())
    return;
  std::string line = to_rfc3339(wall_clock_now());
  line += ' ';
  line += names[static_cast<int>(at)];
  line += ' ';
  line += event;
  for (const auto& [key, value] : fields) {
    line += ' ';
    line += key;
    line += '=';
    append_value(line, value);
  }
  line += '\n';
  // One write a line: lines of different threads do not mix.
  [[maybe_unused]] auto n = ::write(STDERR_FILENO, line.data(), line.size());
}

} // namespace tillstream::log

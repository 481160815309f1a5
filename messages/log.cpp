#include "messages/log.hpp"

#include "messages/time.hpp"

#include <unistd.h>

#include <atomic>

namespace tillstream::log {

namespace {

std::atomic<level> threshold{level::info};

constexpr std::string_view names[] = {"debug", "info", "warning", "error"};

void append_value(std::string& out, std::string_view value) {
  if (!value.empty()
      && value.find_first_of(" \"=\n\r\t\\") == std::string_view::npos) {
    out += value;
    return;
  }
  out += '"';
  for (char c : value) {
    if (c == '"' || c == '\\')
      out += '\\';
    // A value from outside must not start a line of its own.
    if (static_cast<unsigned char>(c) < 0x20)
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

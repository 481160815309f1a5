#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

/// @file messages/core/log.hpp
/// One line an event on standard error, logfmt: `time level event key=value`.
/// Events have names; values never hold a key's secret.

namespace tillstream::log {

enum class level { debug, info, warning, error };

/// A key and its rendered value.
struct field {
  std::string_view key;
  std::string value;

  template <class T>
  field(std::string_view k, const T& v) : key(k),
                                          value(fmt::format("{}", v)) {
    // nop
  }
};

/// Lines below `min` are dropped. Default: `info`.
void set_level(level min);

void write(level at, std::string_view event,
           std::initializer_list<field> fields = {});

inline void
debug(std::string_view event, std::initializer_list<field> fields = {}) {
  write(level::debug, event, fields);
}
inline void
info(std::string_view event, std::initializer_list<field> fields = {}) {
  write(level::info, event, fields);
}
inline void
warning(std::string_view event, std::initializer_list<field> fields = {}) {
  write(level::warning, event, fields);
}
inline void
error(std::string_view event, std::initializer_list<field> fields = {}) {
  write(level::error, event, fields);
}

} // namespace tillstream::log

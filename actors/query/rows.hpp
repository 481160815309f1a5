#pragma once

#include "messages/codec/csv.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/money.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

/// @file actors/query/rows.hpp
/// A row names its columns once, in a function `describe(f, row)` that calls
/// `f(name, value)` for each of them. The three visitors of this file make of
/// that the members of a JSON object, the fields of a CSV record, and the
/// header of the CSV.
///
/// A value is a text, an integer, a boolean, a time, a day, an id, one of the
/// types below, or one of those that may be missing (`std::optional`). Columns
/// that belong together are a row of their own: `f.group(name, row)`.

namespace tillstream {

/// Rendered as a decimal string.
struct money {
  minor_units amount = 0;
};

/// A JSON number, as rendered.
struct digits {
  std::string text;
};

/// A value that moves while nothing is sold: the version of an answer does not
/// depend on it.
template <class T>
struct moving {
  T value;
};

/// Rows that have nothing to say.
struct no_columns {};

template <class F>
void describe(F&, const no_columns&) {
  // nop
}

/// Nothing where there is no text.
inline std::optional<std::string_view> if_any(std::string_view x) {
  return x.empty() ? std::nullopt : std::optional{x};
}

inline std::string_view render_text(std::string_view x) {
  return x;
}

inline std::string render_text(timestamp x) {
  return to_rfc3339(x);
}

inline std::string render_text(calendar_day x) {
  return to_string(x);
}

inline std::string render_text(const uuid& x) {
  return to_string(x);
}

/// Writes rows as members of the JSON object that is open.
class json_row {
public:
  static constexpr bool is_csv = false;

  /// @param with_moving Whether `moving` values are written, too.
  json_row(json_writer& out, const currency& unit, bool with_moving)
    : out_(out),
      unit_(unit),
      with_moving_(with_moving) {
    // nop
  }

  template <class T>
  void operator()(std::string_view name, const T& value) {
    out_.key(name);
    put(value);
  }

  template <class T>
  void operator()(std::string_view name, const moving<T>& x) {
    if (with_moving_)
      (*this)(name, x.value);
  }

  template <class Row>
  void group(std::string_view name, const Row& row) {
    out_.key(name).begin_object();
    describe(*this, row);
    out_.end_object();
  }

private:
  template <class T>
  void put(const T& x) {
    if constexpr (std::is_same_v<T, bool>)
      out_.boolean(x);
    else if constexpr (std::is_same_v<T, int64_t>)
      out_.integer(x);
    else if constexpr (std::is_same_v<T, money>)
      out_.string(format_money(x.amount, unit_));
    else if constexpr (std::is_same_v<T, digits>)
      out_.raw(x.text);
    else
      out_.string(render_text(x));
  }

  template <class T>
  void put(const std::optional<T>& x) {
    if (x)
      put(*x);
    else
      out_.null();
  }

  json_writer& out_;
  const currency& unit_;
  bool with_moving_;
};

/// Writes rows as fields of the CSV record that is open.
class csv_row {
public:
  static constexpr bool is_csv = true;

  csv_row(csv_writer& out, const currency& unit) : out_(out), unit_(unit) {
    // nop
  }

  template <class T>
  void operator()(std::string_view, const T& value) {
    put(value);
  }

  template <class Row>
  void group(std::string_view, const Row& row) {
    describe(*this, row);
  }

private:
  template <class T>
  void put(const T& x) {
    if constexpr (std::is_same_v<T, bool>)
      out_.field(x ? "true" : "false");
    else if constexpr (std::is_same_v<T, int64_t>)
      out_.field(x);
    else if constexpr (std::is_same_v<T, money>)
      out_.field(format_money(x.amount, unit_));
    else if constexpr (std::is_same_v<T, digits>)
      out_.field(x.text);
    else
      out_.field(render_text(x));
  }

  template <class T>
  void put(const std::optional<T>& x) {
    if (x)
      put(*x);
    else
      out_.field(std::string_view{});
  }

  template <class T>
  void put(const moving<T>& x) {
    put(x.value);
  }

  csv_writer& out_;
  const currency& unit_;
};

/// Writes the names of a row's columns; those of a group with its name before
/// them.
class csv_header {
public:
  static constexpr bool is_csv = true;

  explicit csv_header(csv_writer& out) : out_(out) {
    // nop
  }

  template <class T>
  void operator()(std::string_view name, const T&) {
    out_.field(prefix_ + std::string{name});
  }

  template <class Row>
  void group(std::string_view name, const Row& row) {
    prefix_ = std::string{name} + "_";
    describe(*this, row);
    prefix_.clear();
  }

private:
  csv_writer& out_;
  std::string prefix_;
};

} // namespace tillstream

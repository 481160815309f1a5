#pragma once

#include "messages/codec/json.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

/// @file messages/codec/peer_fields.hpp
/// One description, two directions. A message is described once, by a function
/// template that visits its fields and their bounds: `members` for an object,
/// `columns` for a row. Called with a `value_writer` it renders the message,
/// with a `value_reader` it reads it. Values follow each other in a row; in an
/// object `at(name)` comes before each.

namespace tillstream::peer {

template <class Enum, size_t N>
using name_table = std::array<std::pair<Enum, std::string_view>, N>;

/// 1900-01-01 and 2999-12-31, as `parse_day` has them.
constexpr int64_t day_min = -25'567;
constexpr int64_t day_max = 376'199;
constexpr int64_t ms_of_day = 86'400'000;
/// Sums: a thousandth of int64, so that adding branches cannot overflow.
constexpr int64_t sum_max = INT64_MAX / 1000;

/// Bytes of the name of an enumerator.
constexpr size_t name_bytes_max = 64;

constexpr size_t uuid_bytes_max = 36;

/// Renders what is visited; does not look at the bounds.
class value_writer {
public:
  explicit value_writer(json_writer& out) : out_(out) {
    // nop
  }

  value_writer& at(std::string_view name) {
    out_.key(name);
    return *this;
  }

  template <class T>
  void integer(const T& x, int64_t, int64_t, std::string_view) {
    out_.integer(static_cast<int64_t>(x));
  }

  void boolean(bool x, std::string_view) {
    out_.boolean(x);
  }

  void text(const std::string& x, size_t, std::string_view) {
    out_.string(x);
  }

  template <class Enum, size_t N>
  void name(Enum x, const name_table<Enum, N>& names, std::string_view) {
    auto i = std::find_if(names.begin(), names.end(),
                          [&](const auto& y) { return y.first == x; });
    out_.string(i->second);
  }

  void id(const uuid& x, std::string_view) {
    out_.string(to_string(x));
  }

  void day(calendar_day x) {
    out_.integer(x.time_since_epoch().count());
  }

  void time(timestamp x) {
    out_.integer(to_ms(x));
  }

  void sum(int64_t x) {
    out_.integer(x);
  }

  template <class T>
  void row(const T& x, std::string_view = {}) {
    out_.begin_array();
    columns(*this, x);
    out_.end_array();
  }

  template <class Rows>
  void rows(const Rows& xs, size_t, std::string_view) {
    out_.begin_array();
    for (const auto& x : xs)
      row(x);
    out_.end_array();
  }

  template <class T>
  void objects(const std::vector<T>& xs, size_t, std::string_view) {
    out_.begin_array();
    for (const auto& x : xs) {
      out_.begin_object();
      members(*this, x);
      out_.end_object();
    }
    out_.end_array();
  }

  void
  texts(const std::vector<std::string>& xs, size_t, size_t, std::string_view) {
    out_.begin_array();
    for (const auto& x : xs)
      out_.string(x);
    out_.end_array();
  }

  /// A number that may be absent.
  void optional_integer(std::string_view name, const std::optional<int64_t>& x,
                        int64_t, int64_t, std::string_view) {
    if (x)
      out_.field(name, *x);
  }

  /// Absent: false.
  void flag(std::string_view name, bool x) {
    if (x)
      out_.field(name, true);
  }

private:
  json_writer& out_;
};

/// Reads what is visited and checks the bounds. What is wrong first stays.
class value_reader {
public:
  /// Reads an object's members.
  value_reader(std::string& wrong, const json_value& object)
    : wrong_(wrong),
      object_(&object) {
    // nop
  }

  /// Reads a row's values; what it has too many is skipped.
  value_reader(std::string& wrong, std::span<const json_value> row)
    : wrong_(wrong),
      row_(row) {
    // nop
  }

  void fail(std::string_view what) {
    if (wrong_.empty())
      wrong_ = what;
  }

  value_reader& at(std::string_view name) {
    member_ = object_->find(name);
    return *this;
  }

  template <class T>
  void integer(T& x, int64_t min, int64_t max, std::string_view what) {
    int64_t result = 0;
    const auto* value = take(json_value::kind::number, what);
    x = static_cast<T>(min);
    if (value == nullptr)
      return;
    auto end = value->text.data() + value->text.size();
    auto [position, error] = std::from_chars(value->text.data(), end, result);
    if (error != std::errc{} || position != end || result < min || result > max)
      fail(what);
    else
      x = static_cast<T>(result);
  }

  void boolean(bool& x, std::string_view what) {
    const auto* value = take(json_value::kind::boolean, what);
    x = value != nullptr && value->boolean;
  }

  void text(std::string& x, size_t bytes_max, std::string_view what) {
    x.clear();
    const auto* value = take(json_value::kind::string, what);
    if (value == nullptr)
      return;
    if (value->text.size() > bytes_max)
      fail(what);
    else
      x = value->text;
  }

  template <class Enum, size_t N>
  void name(Enum& x, const name_table<Enum, N>& names, std::string_view what) {
    std::string name;
    text(name, name_bytes_max, what);
    auto i = std::find_if(names.begin(), names.end(),
                          [&](const auto& y) { return y.second == name; });
    if (i == names.end())
      fail(what);
    else
      x = i->first;
  }

  void id(uuid& x, std::string_view what) {
    std::string digits;
    text(digits, uuid_bytes_max, what);
    auto result = parse_uuid(digits);
    if (!result)
      fail(what);
    x = result.value_or(uuid{});
  }

  void day(calendar_day& x) {
    int64_t days = 0;
    integer(days, day_min, day_max, "a day");
    x = calendar_day{calendar_day::duration{days}};
  }

  void time(timestamp& x) {
    int64_t ms = 0;
    integer(ms, day_min * ms_of_day, day_max * ms_of_day, "a time");
    x = from_ms(ms);
  }

  void sum(int64_t& x) {
    integer(x, -sum_max, sum_max, "a sum");
  }

  template <class T>
  void row(T& x, std::string_view what) {
    if (const auto* value = take(json_value::kind::array, what))
      read_row(*value, x);
  }

  template <class T>
  void rows(std::vector<T>& xs, size_t max, std::string_view what) {
    for (const auto& x : list(max, what))
      read_row(x, xs.emplace_back());
  }

  template <class T>
  void objects(std::vector<T>& xs, size_t max, std::string_view what) {
    for (const auto& x : list(max, what)) {
      value_reader in{wrong_, x};
      members(in, xs.emplace_back());
    }
  }

  void texts(std::vector<std::string>& xs, size_t max, size_t bytes_max,
             std::string_view what) {
    auto values = list(max, what);
    value_reader in{wrong_, values};
    for (size_t i = 0; i < values.size(); ++i)
      in.text(xs.emplace_back(), bytes_max, what);
  }

  void optional_integer(std::string_view name, std::optional<int64_t>& x,
                        int64_t min, int64_t max, std::string_view what) {
    if (has(name))
      at(name).integer(x.emplace(), min, max, what);
  }

  void flag(std::string_view name, bool& x) {
    if (has(name))
      at(name).boolean(x, name);
  }

  bool has(std::string_view name) const {
    return object_->find(name) != nullptr;
  }

  /// The elements of an array with at most `max` of them.
  std::span<const json_value> list(size_t max, std::string_view what) {
    const auto* value = take(json_value::kind::array, what);
    if (value == nullptr)
      return {};
    if (value->elements.size() > max) {
      fail(what);
      return {};
    }
    return value->elements;
  }

private:
  /// The next value of the row, or the chosen member.
  const json_value* take(json_value::kind kind, std::string_view what) {
    const auto* value = member_;
    if (object_ == nullptr && !row_.empty()) {
      value = &row_.front();
      row_ = row_.subspan(1);
    }
    if (value != nullptr && value->is(kind))
      return value;
    fail(what);
    return nullptr;
  }

  template <class T>
  void read_row(const json_value& from, T& x) {
    if (!from.is(json_value::kind::array))
      fail("a row");
    value_reader in{wrong_, std::span{from.elements}};
    columns(in, x);
  }

  std::string& wrong_;
  const json_value* object_ = nullptr;
  const json_value* member_ = nullptr;
  std::span<const json_value> row_;
};

} // namespace tillstream::peer

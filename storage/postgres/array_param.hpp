#pragma once

#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

/// @file storage/postgres/array_param.hpp
/// Array parameters in PostgreSQL's binary form, one column of many rows. The
/// server copies it instead of reading text: no dates to parse, no quotes to
/// undo in an event that is full of them. Layouts: `array_recv` and the
/// `_recv` function of each type in PostgreSQL's sources.

namespace tillstream::storage::postgres {

/// INTERNAL: appends `x` in network order.
template <class T>
void put_big_endian(std::string& out, T x) {
  for (int shift = 8 * (static_cast<int>(sizeof(T)) - 1); shift >= 0; shift
                                                                      -= 8)
    out += static_cast<char>(static_cast<uint64_t>(x) >> shift & 255);
}

/// INTERNAL: an element type: its `oid` and how it puts a value.
template <class T>
struct array_element;

/// Bytes of a `bytea[]`.
using bytes_view = std::span<const uint8_t>;

template <>
struct array_element<std::string_view> {
  static constexpr uint32_t oid = 25;
  static void put(std::string& out, std::string_view x) {
    out.append(x);
  }
};

template <>
struct array_element<bytes_view> {
  static constexpr uint32_t oid = 17;
  static void put(std::string& out, bytes_view x) {
    out.append(reinterpret_cast<const char*>(x.data()), x.size());
  }
};

template <>
struct array_element<uuid> {
  static constexpr uint32_t oid = 2950;
  static void put(std::string& out, const uuid& x) {
    out.append(reinterpret_cast<const char*>(x.bytes.data()), x.bytes.size());
  }
};

template <>
struct array_element<bool> {
  static constexpr uint32_t oid = 16;
  static void put(std::string& out, bool x) {
    out += x ? '\1' : '\0';
  }
};

template <>
struct array_element<int16_t> {
  static constexpr uint32_t oid = 21;
  static void put(std::string& out, int16_t x) {
    put_big_endian(out, x);
  }
};

template <>
struct array_element<int32_t> {
  static constexpr uint32_t oid = 23;
  static void put(std::string& out, int32_t x) {
    put_big_endian(out, x);
  }
};

template <>
struct array_element<int64_t> {
  static constexpr uint32_t oid = 20;
  static void put(std::string& out, int64_t x) {
    put_big_endian(out, x);
  }
};

/// `timestamptz`: microseconds since 2000-01-01.
template <>
struct array_element<timestamp> {
  static constexpr uint32_t oid = 1184;
  static void put(std::string& out, timestamp x) {
    put_big_endian(out, (to_ms(x) - 946'684'800'000) * 1000);
  }
};

/// `date`: days since 2000-01-01.
template <>
struct array_element<calendar_day> {
  static constexpr uint32_t oid = 1082;
  static void put(std::string& out, calendar_day x) {
    put_big_endian(out,
                   static_cast<int32_t>(x.time_since_epoch().count() - 10'957));
  }
};

/// INTERNAL: what `connection::exec` takes.
class array_param {
public:
  /// The binary form; valid at any time, also when empty.
  const std::string& data() const {
    return data_;
  }

protected:
  array_param(uint32_t oid, size_t bytes) {
    data_.reserve(header_bytes + bytes);
    put_big_endian<uint32_t>(data_, 1); // Dimensions.
    put_big_endian<uint32_t>(data_, 0); // Whether there are NULLs.
    put_big_endian(data_, oid);
    put_big_endian<uint32_t>(data_, 0); // Elements.
    put_big_endian<uint32_t>(data_, 1); // The first one's index.
  }

  /// Opens an element. @returns where its length stands.
  size_t open() {
    set(count_at, ++count_);
    data_.append(4, '\xff'); // -1: NULL.
    return data_.size() - 4;
  }

  void close(size_t length_at) {
    auto length = data_.size() - length_at - 4;
    assert(length <= std::numeric_limits<int32_t>::max());
    set(length_at, static_cast<uint32_t>(length));
  }

  void notice_null() {
    set(nulls_at, 1);
  }

  std::string data_;

private:
  static constexpr size_t nulls_at = 4;
  static constexpr size_t count_at = 12;
  static constexpr size_t header_bytes = 20;

  void set(size_t at, uint32_t x) {
    for (int i = 3; i >= 0; --i, x >>= 8)
      data_[at + static_cast<size_t>(i)] = static_cast<char>(x & 255);
  }

  uint32_t count_ = 0;
};

/// A parameter such as `$1::uuid[]`: `array_of<uuid>`. The C++ type says which
/// array: string_view text, int64_t bigint, int32_t integer, int16_t smallint,
/// timestamp timestamptz, calendar_day date, bytes_view bytea.
template <class T>
class array_of : public array_param {
public:
  array_of() : array_of(0) {
    // nop
  }

  /// @param bytes About how long it will become.
  explicit array_of(size_t bytes) : array_param(array_element<T>::oid, bytes) {
    // nop
  }

  void add(const T& x) {
    auto at = open();
    array_element<T>::put(data_, x);
    close(at);
  }

  /// Empty: NULL.
  template <class Optional>
  void add_or_null(const Optional& x) {
    if (x)
      return add(*x);
    open();
    notice_null();
  }
};

using text_array = array_of<std::string_view>;

/// INTERNAL: which array holds a `T`.
template <class T>
struct array_element_for {
  using type = T;
};
template <>
struct array_element_for<std::string> {
  using type = std::string_view;
};

/// All of `xs`, e.g. of a vector of ids.
template <class Container>
auto to_array(const Container& xs) {
  array_of<typename array_element_for<typename Container::value_type>::type>
    result;
  for (const auto& x : xs)
    result.add(x);
  return result;
}

} // namespace tillstream::storage::postgres

#pragma once

#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"
#include "storage/postgres/array_param.hpp"
#include "storage/postgres/pqxx_compat.hpp"

#include <pqxx/field>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

/// @file storage/postgres/values.hpp
/// Our types as parameters of statements, and columns as our types.

namespace tillstream::storage::postgres {

// -- parameters ---------------------------------------------------------------

inline const std::string& to_param(const std::string& x) {
  return x;
}
inline std::string to_param(std::string_view x) {
  return std::string{x};
}
inline std::string to_param(const char* x) {
  return x;
}
inline std::string to_param(bool x) {
  return x ? "t" : "f";
}
inline std::string to_param(const uuid& x) {
  return tillstream::to_string(x);
}
inline std::string to_param(timestamp x) {
  return to_rfc3339(x);
}
inline std::string to_param(calendar_day x) {
  return tillstream::to_string(x);
}
inline auto to_param(const array_param& x) {
  return binary_param(x.data());
}
template <class T>
requires std::is_integral_v<T> std::string to_param(T x) {
  return std::to_string(x);
}
/// Empty: NULL.
template <class T>
auto to_param(const std::optional<T>& x) {
  return nullable_param(x ? std::make_optional(std::string{to_param(*x)})
                          : std::nullopt);
}

// -- columns ------------------------------------------------------------------

/// A column's value in a row, in text form. Lives as long as its row.
struct value_view {
  value_view(const char* x, size_t bytes, bool null, const char* name)
    : data(x),
      size(bytes),
      is_null(null),
      column(name) {
    // nop
  }

  // NOLINTNEXTLINE: either kind of row may be read.
  value_view(const pqxx::field& x)
    : value_view(x.c_str(), x.size(), x.is_null(), x.name()) {
    // nop
  }

  std::string_view text() const {
    return {data, size};
  }

  const char* data;
  size_t size;
  bool is_null;
  const char* column;
};

/// Reads a `uuid` column. @throws std::runtime_error
uuid as_uuid(const value_view& x);

/// Reads a `bigint` of milliseconds since 1970. In SQL:
/// `(extract(epoch FROM t) * 1000)::bigint`, which is exact.
timestamp as_timestamp(const value_view& x);

/// Reads a `date` column (ISO style, which every connection sets).
calendar_day as_day(const value_view& x);

int64_t as_int(const value_view& x);
bool as_bool(const value_view& x);
std::string as_text(const value_view& x);

} // namespace tillstream::storage::postgres

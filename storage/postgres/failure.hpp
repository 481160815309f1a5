#pragma once

#include "messages/core/error.hpp"

#include <caf/error.hpp>
#include <caf/expected.hpp>

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

/// @file storage/postgres/failure.hpp
/// The way from an exception of libpqxx to an `errc`.

namespace tillstream::storage::postgres {

/// What an exception means for whoever has to decide what to do next.
enum class failure : uint8_t {
  /// COMMIT was sent and never answered.
  in_doubt,
  /// The connection is lost, or the server goes away.
  broken,
  /// A lock time-out, a deadlock, a serialization failure, or no room left in
  /// the lock table: a smaller transaction, or a later one, may succeed.
  contention,
  /// A unique index refused a row.
  duplicate,
  /// The server refused a value: class 22, and 23 without `duplicate`.
  bad_data,
  /// The server lacks something for now: disk, memory, time, a table, a
  /// partition or our rights on them, or it is a standby.
  exhausted,
  /// Ours.
  bug,
};

/// By its SQLSTATE alone.
failure classify_sqlstate(std::string_view sqlstate);

/// @param lost Whether the connection is lost.
failure classify(bool lost, const std::exception& what);

/// SQLSTATE of an exception, or an empty string.
std::string sqlstate_of(const std::exception& what);

/// `errc::in_doubt`, `errc::unavailable` or `errc::internal`.
caf::error to_error(failure why, const std::exception& what);

} // namespace tillstream::storage::postgres

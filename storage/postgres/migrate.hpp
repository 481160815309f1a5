#pragma once

#include <caf/expected.hpp>

#include <string>
#include <string_view>

namespace tillstream::storage {

/// Brings a database to this version: each migration in its own transaction,
/// under an advisory lock, so that two nodes may do it at once; then attaches
/// partitions. Refuses a schema that is newer than this program.
/// @param schema `oltp` or `analytics`
/// @returns the schema's version now.
caf::expected<int> migrate(const std::string& dsn, std::string_view schema);

} // namespace tillstream::storage

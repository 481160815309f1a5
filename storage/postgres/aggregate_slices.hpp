#pragma once

#include "messages/model/apply.hpp"
#include "storage/postgres/connection.hpp"

#include <string>

namespace tillstream::storage::postgres {

/// Reads a branch's state. The caller's transaction is one snapshot; all
/// functions of this file throw libpqxx's exceptions.
branch_state read_state(connection& from, const std::string& branch_id);

/// Reads a slice of the tables, with the cursor's `apply_no`.
/// @pre `until_minutes` is empty or as long as `branch_ids`
slice read_slice(connection& from, const slice_request& request);

} // namespace tillstream::storage::postgres

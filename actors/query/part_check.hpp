#pragma once

#include "messages/model/queries.hpp"

#include <caf/error.hpp>

#include <string_view>

/// @file actors/query/part_check.hpp
/// Whether a branch's part of an answer fits what was asked. Parts come from
/// other nodes too, and those may be of another version: what renders relies on
/// this check alone.

namespace tillstream {

/// @returns `errc::internal` when the part is missing, is of another branch,
///          lacks what the query asks for, or has days that it did not ask for
///          or that are out of order.
caf::error check_part(const shard_query& query, std::string_view branch_id,
                      const shard_answer_ptr& part);

} // namespace tillstream

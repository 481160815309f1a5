#pragma once

#include "messages/model/aggregates.hpp"
#include "messages/model/stream.hpp"

#include <string>

/// @file actors/aggregation/stream_incarnation.hpp
/// Which life of the stream a cursor belongs to.

namespace tillstream {

/// The life that a branch with this cursor must follow: its own, as long as
/// the stream still is what it was. A stream that was made anew has another
/// creation time. One that came back shorter has the same and counts up from
/// an earlier number: its next life is told apart by a number behind a `#`.
/// Source: ARCHITECTURE, 14.
std::string next_life(const branch_cursor& cursor, const stream_state& stream);

} // namespace tillstream

#pragma once

#include "messages/model/aggregates.hpp"
#include "messages/model/stream.hpp"

#include <string>

/// @file actors/aggregation/stream_incarnation.hpp
/// Which incarnation of the stream a cursor belongs to.

namespace tillstream {

/// The incarnation that a branch with this cursor must follow: its own, as long
/// as the stream still is what it was. A stream that was made anew has another
/// creation time. One that came back shorter has the same and counts up from
/// an earlier number: its next incarnation is distinguished by a number behind
/// a `#`. Source: ARCHITECTURE, 14.
std::string
next_incarnation(const branch_cursor& cursor, const stream_state& stream);

} // namespace tillstream

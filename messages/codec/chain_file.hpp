#pragma once

#include "messages/model/chain.hpp"

#include <caf/expected.hpp>

#include <string_view>

namespace tillstream {

/// Reads a chain file (`name`, `currency`, `branches` with `id`, `name`,
/// `time_zone`, `day_start` as `HH:MM`). @returns `errc::invalid` with a
/// sentence that names the field.
caf::expected<chain> parse_chain(std::string_view json);

} // namespace tillstream

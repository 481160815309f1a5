#pragma once

#include <caf/expected.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace tillstream::storage {

/// What is wrong with a server for our purpose: `fsync`, `full_page_writes`,
/// `synchronous_commit` off, a version below 15, a schema of another version.
/// Each sentence says how to mend it. Empty: all is well.
caf::expected<std::vector<std::string>>
check_server(const std::string& dsn, std::string_view schema);

} // namespace tillstream::storage

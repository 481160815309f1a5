#pragma once

#include <string>

namespace tillstream::test {

/// What `zstdcat` prints of a file: another reader than our writer's library.
/// @throws std::runtime_error when it fails, say on a file that is not whole.
std::string zstdcat(const std::string& path);

} // namespace tillstream::test

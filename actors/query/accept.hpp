#pragma once

#include <string_view>

namespace tillstream {

/// Whether `accept` prefers CSV to JSON (RFC 9110, 12.5.1).
bool prefers_csv(std::string_view accept);

} // namespace tillstream

#pragma once

#include <cstdint>

/// @file messages/model/shard_load.hpp
/// What SHARD MANAGER publishes of its shards, every second.

namespace tillstream {

struct shard_load {
  /// How far the slowest branch is behind, milliseconds.
  int64_t lag_ms = 0;
};

} // namespace tillstream

#pragma once

#include "messages/core/time.hpp"

#include <caf/expected.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tillstream::storage {

/// The append-only archive of raw events: zstd-compressed NDJSON,
/// `DIR/branch=<branch>/day=<YYYY-MM-DD>/<from>-<to>.ndjson.zst` with the
/// branch's apply numbers, 12 digits each.
class event_lake {
public:
  /// @param directory Created when missing.
  explicit event_lake(std::string directory);

  /// Creates the directory. @returns `errc::unavailable` with the system's
  /// reason when it cannot be created or written to.
  caf::expected<void> prepare();

  /// Writes one file: to a temporary name, flushed to disk, then renamed and
  /// the directory flushed. The same arguments give the same bytes, so writing
  /// again replaces a file by itself.
  /// @param events One JSON document each, without line breaks.
  /// @returns the path, or `errc::unavailable` with the system's reason.
  caf::expected<std::string>
  write(std::string_view branch_id, calendar_day day, int64_t from_no,
        int64_t to_no, const std::vector<std::string>& events);

private:
  std::string directory_;
};

} // namespace tillstream::storage

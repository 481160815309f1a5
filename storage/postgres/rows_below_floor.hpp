#pragma once

#include "messages/core/limits.hpp"
#include "storage/postgres/pqxx_compat.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <set>

namespace tillstream::storage::postgres {

class connection;

struct sweep_options {
  std::chrono::milliseconds interval = limits::outbox_sweep_interval;
  /// Rows read by one statement; a sweep has two.
  size_t rows_max = limits::outbox_sweep_rows_max;
};

/// Looks for NEW rows below the outbox's floor, which no poll reads. There
/// should be none; older versions left some, and a server that was set back
/// may take numbers below it.
///
/// ```
///   oldest row ... | <-- from where the last sweep ended | ... | <-- | floor
/// ```
///
/// Each sweep reads the status of the rows just below the floor, where a late
/// COMMIT would be, and of as many further down, from where the last one ended
/// to the oldest; then it starts again. What it finds is given with each
/// `find` until it is SENT.
class rows_below_floor {
public:
  explicit rows_below_floor(sweep_options options = {}) : options_(options) {
    // nop
  }

  /// Sweeps if it is time. Throws as `connection` does.
  /// @param generation That `floor` belongs to.
  /// @returns up to `limit` rows of notices, in order of `seq`.
  pqxx::result
  find(connection& db, int64_t floor, int64_t generation, size_t limit);

  /// Rows known to be NEW.
  size_t size() const {
    return found_.size();
  }

private:
  void sweep(connection& db, int64_t floor);

  /// @returns the smallest number it read, 0 if none.
  int64_t look(connection& db, int64_t below);

  sweep_options options_;
  std::set<int64_t> found_;
  int64_t generation_ = 0;
  /// Where the next sweep goes on; 0: at the floor.
  int64_t next_ = 0;
  std::chrono::steady_clock::time_point sweep_at_;
};

} // namespace tillstream::storage::postgres

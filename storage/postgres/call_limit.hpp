#pragma once

#include <chrono>

/// @file storage/postgres/call_limit.hpp
/// For a process that ends: its grace period is shorter than a server may take
/// to answer.

namespace tillstream::storage {

/// While it lives, every call to a PostgreSQL server returns within `timeout`:
/// those that are open from now on, others from their beginning. One without
/// an answer by then loses its connection (`errc::unavailable`, in COMMIT
/// `in_doubt`).
///
/// - Thread: any.
class call_limit {
public:
  explicit call_limit(std::chrono::milliseconds timeout);

  call_limit(const call_limit&) = delete;
  call_limit& operator=(const call_limit&) = delete;
  ~call_limit();

private:
  std::chrono::milliseconds timeout_;
};

} // namespace tillstream::storage

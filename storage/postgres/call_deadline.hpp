#pragma once

#include <chrono>

/// @file storage/postgres/call_deadline.hpp
/// A bound of our own on calls of libpq, which waits for ever for a server that
/// acknowledges packets and says nothing: a frozen host, a stuck proxy. No
/// time-out of the server or of TCP ends that.

namespace tillstream::storage::postgres {

/// A second descriptor of a connection's socket: whatever becomes of libpq's,
/// and whoever is given its number next, this one means the same socket.
class watched_socket {
public:
  watched_socket() = default;

  /// @param fd libpq's.
  explicit watched_socket(int fd);

  watched_socket(const watched_socket&) = delete;
  watched_socket& operator=(const watched_socket&) = delete;
  ~watched_socket();

  int fd() const {
    return fd_;
  }

private:
  int fd_ = -1;
};

/// Bounds the calls that are made while it lives: when `timeout` passes, the
/// socket is shut down, and libpq returns with a lost connection.
///
/// - Thread: any. One thread a process, started with the first deadline, shuts
///   sockets down.
class call_deadline {
public:
  /// @param on Outlives this.
  /// @param timeout Zero: none.
  call_deadline(const watched_socket& on, std::chrono::milliseconds timeout);

  call_deadline(const call_deadline&) = delete;
  call_deadline& operator=(const call_deadline&) = delete;
  ~call_deadline();

  /// Whether it has passed, and the connection is lost for that.
  bool passed() const;

private:
  friend class call_watch;

  /// -1: no deadline.
  int fd_;
  std::chrono::steady_clock::time_point at_;
  bool armed_ = false;
  bool passed_ = false;
};

} // namespace tillstream::storage::postgres

#pragma once

#include "storage/servers/child_process.hpp"

#include <caf/expected.hpp>

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

/// @file storage/servers/server_directory.hpp
/// Where private servers keep their files, and whose they are.

namespace tillstream::storage {

/// The directory `servers` in a data directory, held by one living process.
///
/// We own it; each server owns only its own data below. So a server that went
/// astray cannot make us, who may be root, write or read elsewhere.
///
/// When the server user cannot get to the data directory (say, it lies below
/// a home of mode 0700), `servers` is a link into
/// `/var/lib/tillstream/instances`.
class server_directory {
public:
  /// Takes the lock, chooses the account and prepares the directory.
  /// @returns `errc::invalid` when another living process owns `data_dir`, or
  ///          a setting is wrong; `errc::unavailable` for the system's reasons.
  static caf::expected<server_directory> open(const std::string& data_dir);

  server_directory(server_directory&& other) noexcept;
  server_directory& operator=(server_directory&&) = delete;
  ~server_directory();

  /// The real path, without links.
  const std::string& path() const {
    return path_;
  }

  std::string file(const std::string& name) const {
    return path_ + "/" + name;
  }

  /// Set when we are root: whom servers run as.
  const std::optional<server_user>& user() const {
    return user_;
  }

  /// Creates a directory that belongs to the server user.
  caf::expected<void> make_server_dir(const std::string& name) const;

  /// Replaces a small file as a whole, mode 0600, flushed to disk.
  /// @param for_server Whether the server user shall own it.
  caf::expected<void> write(const std::string& name, const std::string& content,
                            bool for_server) const;

  std::optional<std::string> read(const std::string& name) const;

  /// Opens a log for appending; one that grew large is put aside first.
  /// @returns a descriptor that the caller closes.
  caf::expected<int> open_log(const std::string& name) const;

  /// The last lines of a log, for an error message.
  std::string log_tail(const std::string& name) const;

  /// Random hex digits that stay the same, in a file; made at the first call.
  caf::expected<std::string>
  keep_random(const std::string& name, size_t bytes) const;

  /// A free loopback port: the one in the file `name`, if it is free.
  caf::expected<uint16_t> choose_port(const std::string& name) const;

private:
  server_directory() = default;

  std::string path_;
  std::optional<server_user> user_;
  int lock_ = -1;
};

/// Whether nobody listens on this loopback port.
bool port_is_free(uint16_t port);

/// Random bytes as hex digits, from the kernel.
std::string random_hex(size_t bytes);

} // namespace tillstream::storage

#pragma once

#include "actors/commands/command_line.hpp"

#include <caf/expected.hpp>

#include <map>
#include <string>

namespace tillstream::commands {

/// `DIR/endpoints.json`: what `up` lets other programs know (CONTRACT,
/// 'Operating'). Mode 0600, as it holds keys and passwords.
struct endpoints {
  std::string http;
  std::string oltp_dsn;
  std::string analytics_dsn;
  std::string nats_url;
  std::string owner_key;
  std::string operator_key;
  /// By branch id.
  std::map<std::string, std::string> till_keys;
};

/// @returns `errc::not_found` when there is no such file, `errc::invalid` when
///          it is not ours.
caf::expected<endpoints> read_endpoints(const std::string& dir);

/// Replaces the file as a whole.
caf::expected<void> write_endpoints(const std::string& dir, const endpoints& x);

/// Fills the addresses of `node` that nothing else set from the `up` under
/// `--data-dir`, or under the default directory when no address is set at all.
/// @returns the endpoints when they were used.
/// @throws usage_error when the servers stay unknown
endpoints locate_servers(const parsed_command& command, settings& node);

} // namespace tillstream::commands

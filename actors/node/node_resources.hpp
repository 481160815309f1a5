#pragma once

#include "actors/directory/view.hpp"
#include "actors/gateway/web_files.hpp"
#include "actors/http/server.hpp"
#include "actors/node/settings.hpp"
#include "storage/lake/event_lake.hpp"
#include "storage/ports/event_stream.hpp"

#include <caf/expected.hpp>

#include <memory>
#include <string>

namespace tillstream {

/// What a node has at hand before its first actor is spawned.
struct node_resources {
  settings how;
  /// Unique among the nodes of a chain.
  std::string name;
  storage::nats_settings broker;
  directory_view_ptr directory;
  /// The dashboard's files; null: none are installed.
  web_files_ptr page;
  /// Null: no archive.
  std::shared_ptr<storage::event_lake> lake;
  /// Holds its port; `serve` makes it accept.
  std::unique_ptr<http_server> server;
};

/// Does everything in a node's start that can fail: reads the files, checks
/// the servers, reads the chain directory, binds the port. Nothing needs to be
/// undone when it fails.
/// @returns `errc::invalid` when a setting or a server is not safe to use, with
///          what is wrong and how to mend it; `errc::unavailable` when a
///          database is away or the port is taken.
caf::expected<node_resources> load_node_resources(const settings& how);

} // namespace tillstream

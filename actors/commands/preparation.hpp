#pragma once

#include "actors/node/settings.hpp"
#include "storage/ports/directory_store.hpp"

#include <caf/expected.hpp>

#include <functional>
#include <string>

/// @file actors/commands/preparation.hpp
/// What must be there before a node starts: schemas, chain, keys.

namespace tillstream::commands {

/// Migrates both databases, attaches partitions, and writes the chain: from
/// `chain_file` when given, else the default one where none is stored yet.
/// Safe to repeat and from two nodes at once.
/// @param progress Called with each step.
caf::expected<void>
prepare_databases(const settings& node, const std::string& chain_file,
                  const std::function<void(const std::string&)>& progress);

/// Makes a key and stores its digest. @returns the secret, to be shown once.
caf::expected<std::string>
create_key(storage::directory_store& store, storage::key_role role,
           const std::string& branch_id, const std::string& label);

/// Makes a one-time link that signs the holder of a key in to the page.
/// @param http The node, `http://HOST:PORT`.
caf::expected<std::string>
create_sign_in_link(storage::directory_store& store, const uuid& key_id,
                    const std::string& http);

} // namespace tillstream::commands

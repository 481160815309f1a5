#pragma once

#include "messages/model/chain.hpp"
#include "storage/ports/aggregate_store.hpp"
#include "storage/ports/backlog_store.hpp"
#include "storage/ports/directory_store.hpp"
#include "storage/ports/outbox_store.hpp"
#include "storage/ports/ownership_store.hpp"
#include "storage/ports/purchase_lookup_store.hpp"
#include "storage/ports/purchase_store.hpp"

#include <caf/expected.hpp>

#include <functional>
#include <string>

/// @file storage/postgres/stores.hpp
/// Opens the stores on PostgreSQL. Each opens one connection, on the calling
/// thread, with the time-outs of `limits.hpp`. `errc::unavailable` when the
/// server cannot be reached.

namespace tillstream::storage {

/// What a purchase store needs besides its connection: read for every batch.
struct reference_data {
  chain_ptr chain;
  catalog_ptr products;
};

using reference_source = std::function<reference_data()>;

caf::expected<purchase_store_ptr>
open_purchase_store(const std::string& dsn, reference_source reference);

caf::expected<purchase_lookup_store_ptr>
open_purchase_lookup_store(const std::string& dsn);

caf::expected<backlog_store_ptr> open_backlog_store(const std::string& dsn);

caf::expected<outbox_store_ptr> open_outbox_store(const std::string& dsn);

caf::expected<directory_store_ptr> open_directory_store(const std::string& dsn);

caf::expected<aggregate_store_ptr> open_aggregate_store(const std::string& dsn);

caf::expected<ownership_store_ptr> open_ownership_store(const std::string& dsn);

caf::expected<lake_plan_store_ptr> open_lake_plan_store(const std::string& dsn);

} // namespace tillstream::storage

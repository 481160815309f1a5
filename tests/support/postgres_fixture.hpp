#pragma once

#include "storage/servers/private_servers.hpp"

#include <string>
#include <string_view>

/// @file tests/support/postgres_fixture.hpp
/// Real servers for tests: one private PostgreSQL and one private nats-server
/// a test executable, started when first asked for, stopped and removed when
/// the executable ends. Ask from the main thread, where Boost.Test runs cases.

namespace tillstream::test {

/// The executable's PostgreSQL (and no broker).
storage::private_servers& postgres();

/// The executable's nats-server (and no database). Streams survive from case
/// to case: give each case its own stream name and subjects.
storage::private_servers& nats();

/// A new, empty, migrated database that nobody else uses.
/// @param schema `oltp` or `analytics`; empty: no tables.
/// @returns its DSN.
std::string fresh_database(std::string_view schema);

} // namespace tillstream::test

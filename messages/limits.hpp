#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

/// @file messages/limits.hpp
/// Every bound of the system, each with its reason. Settings may lower most of
/// them; nothing raises one at run time without a new build or a setting that
/// is named here.

namespace tillstream::limits {

using namespace std::chrono_literals;

// -- a purchase (CONTRACT, 'Intake') -----------------------------------------

/// Code points of a cashier, till, receipt or product id.
constexpr size_t id_code_points_max = 64;
/// Code points of a product's name.
constexpr size_t name_code_points_max = 200;
/// Lines of one purchase.
constexpr size_t items_max = 200;
/// Major units of one price.
constexpr int64_t unit_price_major_max = 100'000'000;
/// How far a till's clock may be ahead of the database's.
constexpr auto occurred_ahead_max = 5min;
/// Bytes of a purchase's body. 200 items with long names fit twice.
constexpr size_t body_bytes_max = 64 * 1024;
/// Depth of a JSON document. A purchase needs 3.
constexpr size_t json_depth_max = 32;

// -- the HTTP edge ------------------------------------------------------------

/// Bytes of a request's header section: nginx's default for one buffer.
constexpr size_t header_bytes_max = 8 * 1024;
/// Open connections a node. A till holds one or two.
constexpr size_t connections_max = 4096;
/// From a request's first byte to its last: a slow sender holds a connection,
/// never a purchase's place.
constexpr auto request_deadline = 15s;
/// A connection that says nothing is closed.
constexpr auto keep_alive_max = 75s;

// -- writing purchases --------------------------------------------------------

/// Purchases accepted and not yet answered, a node. At 3,000 a second and 5 s
/// of patience twice what could ever be answered in time.
constexpr size_t purchases_in_flight_max = 4096;
/// Purchases of one transaction. Beyond 500 the curve is flat (measured), and
/// a failed batch costs more.
constexpr size_t write_batch_max = 500;
/// How long a purchase waits for a key or a receipt that is held elsewhere,
/// or for the database to come back, before it is answered.
constexpr auto write_wait_max = 3s;
/// How long the gateway waits for any answer; above all of the waits below it.
constexpr auto write_answer_max = 10s;

// -- database sessions --------------------------------------------------------

/// A batch waits at most this long for a lock: a neighbour's stuck
/// transaction must not stall the others. A commit of another writer is done
/// in a few milliseconds.
constexpr auto lock_timeout = 100ms;
constexpr auto statement_timeout = 10s;
/// Frees what a frozen node holds.
constexpr auto idle_in_transaction_timeout = 2s;
constexpr auto connect_timeout = 2s;

// -- publishing ---------------------------------------------------------------

/// Messages published and not yet acknowledged.
constexpr size_t publish_in_flight_max = 2000;
/// Committed events that the relay keeps in memory; beyond it they wait in
/// the table only. At 1 KiB an event this is 64 MiB.
constexpr size_t relay_queue_max = 65'536;
/// Rows of one poll.
constexpr size_t relay_poll_max = 2000;
/// The safety net below the wake-ups.
constexpr auto relay_poll_interval = 1s;
/// A publish without an answer is 'unknown' and is published again.
constexpr auto publish_timeout = 5s;
constexpr auto backoff_min = 50ms;
constexpr auto backoff_max = 5s;

// -- applying -----------------------------------------------------------------

/// Messages fetched ahead for one branch.
constexpr size_t branch_fetch_max = 1000;
/// Fetched and not yet applied, a node.
constexpr size_t pending_events_max = 50'000;
/// Events of one analytics transaction.
constexpr size_t apply_batch_max = 2000;
/// Events of one branch in one apply.
constexpr size_t shard_batch_max = 1000;
/// Committed but not yet applied events whose ids a shard remembers; beyond it
/// only their number.
constexpr size_t backlog_ids_max = 20'000;
/// Recently applied event ids a shard remembers for `?after=`.
constexpr size_t recent_ids_max = 4096;
/// Days of minute buckets and first visits kept: last week's same day, and a
/// zone's width on both sides.
constexpr int minute_days = 10;

// -- analytics ----------------------------------------------------------------

/// Buckets of one series in an answer.
constexpr size_t buckets_max = 10'000;
/// Rows of one answer, all series together: 200,000 rows are about 20 MB.
constexpr size_t answer_rows_max = 200'000;
/// Longest ranking.
constexpr size_t rank_max = 1000;
/// How long `?after=` waits.
constexpr auto after_wait_max = 2s;
/// How long a question may take at all.
constexpr auto query_answer_max = 10s;

// -- retention ----------------------------------------------------------------

/// Days that outbox and event log are kept.
constexpr int retention_days = 7;
/// Days of partitions attached ahead.
constexpr int partitions_ahead_days = 7;

// -- keys ---------------------------------------------------------------------

/// A revoked key stops working within 5 s: reading twice in that time.
constexpr auto key_refresh_interval = 2s;

static_assert(publish_in_flight_max <= relay_queue_max);
static_assert(branch_fetch_max <= pending_events_max);
static_assert(shard_batch_max <= apply_batch_max);
static_assert(write_wait_max < write_answer_max);
static_assert(write_batch_max <= purchases_in_flight_max);

} // namespace tillstream::limits

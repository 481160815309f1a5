#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

/// @file messages/core/limits.hpp
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
/// Major units of a purchase's total, unless set otherwise: a branch would have
/// to sell 92 billion of these before a sum of 64 bits overflows.
constexpr int64_t total_major_max = 1'000'000;
/// How far a till's clock may be ahead of the database's.
constexpr auto occurred_ahead_max = 5min;
/// Bytes of a purchase's body. 200 items with long names fit twice.
constexpr size_t body_bytes_max = 64 * 1024;
/// Depth of a JSON document. A purchase needs 3.
constexpr size_t json_depth_max = 32;

/// Broken rules that one answer lists. 200 lines with all of their four fields
/// wrong fit; a flood of made-up fields is cut.
constexpr size_t field_errors_max = 1000;
/// Branches of a chain file: three times the largest chain we design for.
constexpr size_t branches_max = 10'000;
/// Bytes of an event: the largest payload that nats-server takes by default.
constexpr size_t event_bytes_max = 1024 * 1024;

// -- the HTTP edge ------------------------------------------------------------

/// Bytes of a request's header section: nginx's default for one buffer.
constexpr size_t header_bytes_max = 8 * 1024;
/// Open connections a node. A till holds one or two.
constexpr size_t connections_max = 4096;
/// From a request's first byte to its last: a slow sender holds a connection,
/// never a purchase's place.
constexpr auto request_deadline = 15s;
/// A connection without a request for this long is closed.
constexpr auto keep_alive_max = 75s;
/// Connections above `connections_max` that are being answered 503; more than
/// that are closed without an answer.
constexpr size_t refusals_max = 64;
/// The gateway answers within `query_answer_max` and a little: an exchange
/// that is open for longer is a bug, and is closed.
constexpr auto exchange_answer_max = 30s;
/// From an answer's first byte to its last: the largest answer at 1 MB/s.
constexpr auto reply_write_max = 30s;
/// After an early answer we read on for a while, so that the peer gets to see
/// it instead of a reset connection (RFC 9112, 9.6).
constexpr auto linger_max = 1s;
constexpr size_t linger_bytes_max = 1024 * 1024;
/// How long `/readyz` waits for the readiness of a component.
constexpr auto ready_wait_max = 1s;
/// Bytes of an API key as sent; ours have about 60.
constexpr size_t api_key_bytes_max = 128;
/// The dashboard's files are held in memory.
constexpr size_t web_file_bytes_max = 4 * 1024 * 1024;
constexpr size_t web_files_max = 256;
/// Live replies (server-sent events) of a node. A page that is open in many
/// tabs holds one.
constexpr size_t streams_max = 256;
/// Data of the dashboard from here to there are compressed: below it nothing
/// is won, above it packing holds up others.
constexpr size_t gzip_bytes_min = 1024;
constexpr size_t gzip_bytes_max = 512 * 1024;
/// How long a sign-in to the page holds, whatever happens.
constexpr auto page_session_age_max = 14 * 24h;
/// How long a one-time sign-in link waits to be used.
constexpr auto sign_in_link_age_max = 1h;
/// Between two events of a live reply. 'At most one a second' is promised.
constexpr auto live_interval = 1s;
/// Between two heartbeats of a live reply; a page that got nothing for longer
/// than three of these reconnects.
constexpr auto live_heartbeat = 5s;
/// Bytes a second of a live reply: the state of a large chain is sent less
/// often.
constexpr size_t live_bytes_per_second = 64 * 1024;
/// Known customers of one page.
constexpr size_t customers_page_max = 1000;

// -- writing purchases --------------------------------------------------------

/// Purchases accepted and not yet answered, a node. At 3,000 a second and 5 s
/// of timeout twice what could ever be answered in time.
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
/// The same for the parts of a batch that met a held lock, and for keys that
/// were held a moment ago: enough to know that somebody still holds them.
constexpr auto contended_lock_timeout = 5ms;
/// How long a key that was held is kept apart from its neighbours.
constexpr auto held_key_age_max = 5s;
/// Held keys that a store remembers; each has a till behind it.
constexpr size_t held_keys_max = 1024;
/// Held keys that one batch tries again, each for `contended_lock_timeout`.
constexpr size_t held_keys_tried_max = 8;
/// Transactions that one batch may lose to held locks while it searches for
/// the held keys: 5 held keys of 500 purchases, or 320 ms.
constexpr size_t contended_attempts_max = 64;
/// How long a writer goes on trying while nothing at all can be written, before
/// it gives its session up. A new one is opened when the tables can be written
/// again; till then the node is not ready.
constexpr auto write_trouble_max = 1500ms;
constexpr auto statement_timeout = 10s;
/// Frees what a frozen node holds.
constexpr auto idle_in_transaction_timeout = 2s;
constexpr auto connect_timeout = 2s;
/// A server that has said nothing for this long after a statement's own
/// time-out is taken for frozen, and the connection is given up: time for the
/// server to cancel and to say so. With `statement_timeout` and
/// `connect_timeout` it makes the 15 s after which all is back.
constexpr auto answer_grace = 3s;

// -- publishing ---------------------------------------------------------------

/// Messages published and not yet acknowledged.
constexpr size_t publish_in_flight_max = 2000;
/// Committed events that the relay keeps in memory; beyond it they wait in
/// the table only. At 1 KiB an event this is 64 MiB.
constexpr size_t publish_queue_max = 65'536;
/// Rows of one poll.
constexpr size_t relay_poll_max = 2000;
/// The table is polled this often even without a commit notice.
constexpr auto relay_poll_interval = 1s;
/// NEW rows below the floor of the polls are looked for this often, in so many
/// rows by one statement, two a sweep: 27 MB each, mostly of the server's
/// cache, in the order of the disk. Of 10 million rows (24 GB) each is looked
/// at every 17 hours, well before it is old enough to go.
constexpr auto outbox_sweep_interval = 1min;
constexpr size_t outbox_sweep_rows_max = 10'000;
/// A publish without an answer is 'unknown' and is published again.
constexpr auto publish_timeout = 5s;
constexpr auto backoff_min = 50ms;
constexpr auto backoff_max = 5s;

// -- applying -----------------------------------------------------------------

/// Messages fetched ahead for one branch.
constexpr size_t branch_fetch_max = 4000;
/// Fetched and not yet applied, a node.
constexpr size_t pending_events_max = 50'000;
/// Events of one analytics transaction.
constexpr size_t apply_batch_max = 2000;
/// Events of one branch in one apply.
constexpr size_t shard_batch_max = 2000;
/// Committed but not yet applied events whose ids a shard remembers; beyond it
/// only their number.
constexpr size_t backlog_ids_max = 20'000;
/// Recently applied event ids a shard remembers for `?after=`.
constexpr size_t recent_ids_max = 4096;
/// Rows of the slices that a shard holds for the dashboard: hours of a year,
/// two periods of 10,000 products and the rankings fit, in about 6 MB.
constexpr size_t shard_slice_rows_max = 40'000;
/// A slice that no query used for this long is dropped.
constexpr auto shard_slice_idle_max = 10min;
/// Queries that wait in a shard until it has loaded what they need.
constexpr size_t shard_queries_max = 256;
/// Waiters of `?after=` in a shard. Each costs a promise for 2 s.
constexpr size_t after_waiters_max = 1024;
/// Shards of a node that load their state at the same time.
constexpr size_t shard_starts_max = 16;
/// How long a shard waits for the database before it tries again: above
/// `statement_timeout` and the queue of the readers.
constexpr auto shard_load_max = 30s;
/// How long a shard waits for a commit before it loads its state again.
constexpr auto apply_answer_max = 30s;
/// A branch that has pending events and gets no deliveries opens them again
/// after this time, then after twice as long, up to `stall_max`.
constexpr auto stall_min = 10s;
constexpr auto stall_max = 2min;
/// How often a shard compares the stream's incarnation with its own. The
/// readings of all shards of a second are one.
constexpr auto incarnation_check_interval = 10s;
constexpr auto stream_state_age_max = 1s;
/// A commit notice may take as long as a commit; a shard that syncs its backlog
/// begins twice that before the last event that it knows of.
constexpr auto backlog_margin = 1min;
/// Event ids of one lookup in the event log.
constexpr size_t known_events_max = 1000;
/// A lookup for `?after=` that failed is repeated after this time.
constexpr auto event_lookup_retry = 200ms;

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
/// Queries of the dashboard that a node works on at once; each answer may be
/// megabytes.
constexpr size_t queries_in_flight_max = 256;
/// How long the shards may take for their parts.
constexpr auto shard_answer_max = 5s;
/// How long a branch that was just acquired holds back answers until its backlog
/// is synced; then it answers without the lag.
constexpr auto shard_sync_grace = 1s;
/// Branches that one query may name.
constexpr size_t query_parameters_max = 10'000;
/// How long a query may take at all.
constexpr auto query_answer_max = 10s;

// -- between nodes ------------------------------------------------------------

/// Bytes of one message between nodes: the largest payload that nats-server
/// takes by default.
constexpr size_t peer_message_bytes_max = 1024 * 1024;
/// A longer answer is sent in parts of this size; a row is never cut, and the
/// longest row fits into the other half of a message.
constexpr size_t peer_message_part_bytes = 512 * 1024;
/// Parts of one answer: 64 MiB. A node that can't answer within that refuses,
/// and the tables are read instead.
constexpr size_t peer_message_parts_max = 128;
/// Rows of one answer between nodes; in memory some 60 MB.
constexpr size_t peer_answer_rows_max = 500'000;
/// Events in one notice to the other nodes: above a batch of a writer, and in
/// bytes a quarter of a message.
constexpr size_t peer_notices_max = 2000;
/// Queries of other nodes that a node works on, and of its own that wait for
/// other nodes: each may become an answer of megabytes.
constexpr size_t peer_queries_max = 256;
/// How long another node may take before the tables are read instead.
constexpr auto peer_answer_max = 3s;
/// A node that did not answer in time is not asked again for this long: its
/// branches are answered from the tables without a wait.
constexpr auto peer_suspect_max = 2s;
/// Branches that are read from the tables at the same time; above the number
/// of readers, so that none of them waits for us.
constexpr size_t fallback_answers_max = 8;
/// Between queries of the event log for an `?after=` waiter of a branch without
/// owner.
constexpr auto table_after_interval = 200ms;

// -- retention ----------------------------------------------------------------

/// Days that outbox and event log are kept.
constexpr int retention_days = 7;
/// Days of partitions attached ahead.
constexpr int partitions_ahead_days = 7;

// -- keys ---------------------------------------------------------------------

/// A revoked key stops working within 5 s: reading twice in that time.
constexpr auto key_refresh_interval = 2s;

// -- ownership ----------------------------------------------------------------

/// Duration of a node's lease. With five heartbeats a lease, two checks of a
/// lease that ran out and the loading of what was acquired, a dead node's
/// branches are served again within 10 s.
constexpr auto node_lease = 5s;
/// Between the two checks that declare a node dead: enough for the heartbeats
/// that a slow database had held back.
constexpr auto suspicion_min = 500ms;
/// Between reads of the ownership tables during a handover; it is most of the
/// time that a branch has no owner then.
constexpr auto hurry_interval = 100ms;
/// How long after the last change that interval holds.
constexpr auto hurry_max = 10s;
/// Branches that are released together: a node loads as many in far less than
/// the second that a branch may be without owner.
constexpr size_t handover_lot_max = 64;
/// The next handover batch does not wait longer for the last one to be
/// acquired.
constexpr auto lot_taken_max = 2s;
/// How long shards may take to finish their applies.
constexpr auto lot_stopped_max = 5s;
/// A node that did not reach the broker for this long is not eligible for
/// branches: a server that is started again is back by then.
constexpr auto broker_away_max = 5s;
/// It releases its branches this much later, if others can still reach the
/// broker.
constexpr auto broker_doubt_max = 3s;

// -- CSV files ----------------------------------------------------------------

/// Bytes of one field: a quote that is never closed must not swallow the file.
constexpr size_t csv_field_bytes_max = 64 * 1024;
/// Bytes of one record, quotes and separators included.
constexpr size_t csv_record_bytes_max = 1024 * 1024;

static_assert(publish_in_flight_max <= publish_queue_max);
static_assert(branch_fetch_max <= pending_events_max);
static_assert(shard_batch_max <= apply_batch_max);
static_assert(write_wait_max < write_answer_max);
static_assert(write_answer_max < exchange_answer_max);
static_assert(query_answer_max + after_wait_max < exchange_answer_max);
static_assert(write_batch_max <= purchases_in_flight_max);
static_assert(contended_lock_timeout < lock_timeout);
static_assert(held_key_age_max > write_wait_max);
static_assert(write_trouble_max < write_wait_max);
static_assert(shard_answer_max + after_wait_max < query_answer_max);
static_assert(peer_answer_max < shard_answer_max);
static_assert(shard_sync_grace < peer_answer_max);
static_assert(2 * peer_message_part_bytes <= peer_message_bytes_max);
static_assert(write_batch_max <= peer_notices_max);
static_assert(answer_rows_max <= peer_answer_rows_max);
static_assert(csv_field_bytes_max < csv_record_bytes_max);

} // namespace tillstream::limits

#pragma once

#include "storage/postgres/connection.hpp"

/// @file storage/postgres/apply_statements.hpp
/// The SQL of `apply_transaction`, in the order of its trips.

namespace tillstream::storage::postgres {

constexpr statement lock_owners_sql{"apply_lock_owners", R"(
  SELECT branch_id, epoch
    FROM shard_ownership
   WHERE branch_id = ANY ($1::text[])
   ORDER BY branch_id
     FOR SHARE)"};

constexpr statement lock_cursors_sql{"apply_lock_cursors", R"(
  SELECT branch_id, stream_incarnation, stream_seq, outbox_seq, apply_no,
         (extract(epoch FROM recorded_at) * 1000)::bigint AS recorded_ms,
         (clock_timestamp() AT TIME ZONE 'UTC')::date - $2::int
           AS minutes_from,
         (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
    FROM branch_cursors
   WHERE branch_id = ANY ($1::text[])
   ORDER BY branch_id
     FOR UPDATE)"};

// What `event_log_range` says, written out: a function's plan does not outlive
// its call, and planning this takes longer than all the rest of a small batch.
constexpr statement read_range_sql{"apply_read_range", R"(
  SELECT min(substring(bound FROM 'FROM \(''([0-9a-f-]{36})''\)')
             COLLATE "C")::uuid,
         max(substring(bound FROM 'TO \(''([0-9a-f-]{36})''\)')
             COLLATE "C")::uuid
    FROM (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound
            FROM pg_inherits i
            JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'analytics_event_log'::regclass
             AND NOT i.inhdetachpending) AS bounds)"};

constexpr statement known_events_sql{"apply_known_events", R"(
  SELECT event_id
    FROM analytics_event_log
   WHERE event_id = ANY ($1::uuid[]))"};

constexpr statement log_events_sql{"apply_log_events", R"(
  INSERT INTO analytics_event_log
    (branch_id, event_id, apply_no, stream_seq, outbox_seq, purchase_id,
     business_day, recorded_at)
  SELECT *
    FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[],
                $5::bigint[], $6::uuid[], $7::date[], $8::timestamptz[])
  ON CONFLICT (event_id) DO NOTHING)"};

constexpr statement write_hours_sql{"apply_write_hours", R"(
  INSERT INTO hourly_sales_by_branch AS t
    (branch_id, day, hour, revenue_sum, items_sum, purchases_count)
  SELECT *
    FROM unnest($1::text[], $2::date[], $3::timestamptz[], $4::bigint[],
                $5::bigint[], $6::bigint[])
  ON CONFLICT (branch_id, day, hour) DO UPDATE
    SET revenue_sum = t.revenue_sum + EXCLUDED.revenue_sum,
        items_sum = t.items_sum + EXCLUDED.items_sum,
        purchases_count = t.purchases_count + EXCLUDED.purchases_count)"};

constexpr statement write_products_sql{"apply_write_products", R"(
  INSERT INTO product_sales_daily AS t
    (branch_id, day, product_id, qty_sum, revenue_sum)
  SELECT *
    FROM unnest($1::text[], $2::date[], $3::text[], $4::bigint[], $5::bigint[])
  ON CONFLICT (branch_id, day, product_id) DO UPDATE
    SET qty_sum = t.qty_sum + EXCLUDED.qty_sum,
        revenue_sum = t.revenue_sum + EXCLUDED.revenue_sum)"};

// Also when name and category stay: else a late event between the stored
// number and the latest one would win, and the order of events would matter.
constexpr statement write_labels_sql{"apply_write_labels", R"(
  INSERT INTO product_labels AS t
    (branch_id, product_id, name, category, outbox_seq)
  SELECT *
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
  ON CONFLICT (branch_id, product_id) DO UPDATE
    SET name = EXCLUDED.name,
        category = EXCLUDED.category,
        outbox_seq = EXCLUDED.outbox_seq
    WHERE t.outbox_seq < EXCLUDED.outbox_seq)"};

constexpr statement write_loyalty_sql{"apply_write_loyalty", R"(
  INSERT INTO customer_loyalty AS t
    (branch_id, customer_id, purchases_count, revenue_sum, last_purchase_at)
  SELECT *
    FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[],
                $5::timestamptz[])
  ON CONFLICT (branch_id, customer_id) DO UPDATE
    SET purchases_count = t.purchases_count + EXCLUDED.purchases_count,
        revenue_sum = t.revenue_sum + EXCLUDED.revenue_sum,
        last_purchase_at
          = greatest(t.last_purchase_at, EXCLUDED.last_purchase_at)
  RETURNING branch_id, customer_id, purchases_count, revenue_sum,
            (extract(epoch FROM last_purchase_at) * 1000)::bigint AS last_ms)"};

// A row that comes back without previous_minute is new; one that comes back
// with it moved to an earlier minute; what does not come back did not change.
constexpr statement write_customers_sql{"apply_write_customers", R"(
  INSERT INTO daily_customers AS t
    (branch_id, day, customer_id, first_minute)
  SELECT *
    FROM unnest($1::text[], $2::date[], $3::uuid[], $4::smallint[])
  ON CONFLICT (branch_id, day, customer_id) DO UPDATE
    SET previous_minute = t.first_minute,
        first_minute = EXCLUDED.first_minute
    WHERE t.first_minute > EXCLUDED.first_minute
  RETURNING branch_id, day, first_minute, previous_minute)"};

constexpr statement write_chain_customers_sql{"apply_write_chain_customers", R"(
  INSERT INTO daily_chain_customers AS t
    (day, customer_id, first_minute)
  SELECT *
    FROM unnest($1::date[], $2::uuid[], $3::smallint[])
  ON CONFLICT (day, customer_id) DO UPDATE
    SET previous_minute = t.first_minute,
        first_minute = EXCLUDED.first_minute
    WHERE t.first_minute > EXCLUDED.first_minute
  RETURNING customer_id, day, first_minute, previous_minute)"};

constexpr statement write_days_sql{"apply_write_days", R"(
  INSERT INTO daily_sales_by_branch AS t
    (branch_id, day, revenue_sum, items_sum, purchases_count,
     customers, new_customers, chain_customers)
  SELECT *
    FROM unnest($1::text[], $2::date[], $3::bigint[], $4::bigint[],
                $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
  ON CONFLICT (branch_id, day) DO UPDATE
    SET revenue_sum = t.revenue_sum + EXCLUDED.revenue_sum,
        items_sum = t.items_sum + EXCLUDED.items_sum,
        purchases_count = t.purchases_count + EXCLUDED.purchases_count,
        customers = t.customers + EXCLUDED.customers,
        new_customers = t.new_customers + EXCLUDED.new_customers,
        chain_customers = t.chain_customers + EXCLUDED.chain_customers)"};

constexpr statement write_minutes_sql{"apply_write_minutes", R"(
  INSERT INTO minute_sales_by_branch AS t
    (branch_id, day, minute, revenue_sum, items_sum, purchases_count,
     customers, chain_customers)
  SELECT *
    FROM unnest($1::text[], $2::date[], $3::smallint[], $4::bigint[],
                $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
  ON CONFLICT (branch_id, day, minute) DO UPDATE
    SET revenue_sum = t.revenue_sum + EXCLUDED.revenue_sum,
        items_sum = t.items_sum + EXCLUDED.items_sum,
        purchases_count = t.purchases_count + EXCLUDED.purchases_count,
        customers = t.customers + EXCLUDED.customers,
        chain_customers = t.chain_customers + EXCLUDED.chain_customers)"};

constexpr statement write_quarantine_sql{"apply_write_quarantine", R"(
  INSERT INTO quarantined_events
    (stream_incarnation, stream_seq, branch_id, subject, reason, raw)
  SELECT *
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[],
                $6::bytea[])
  ON CONFLICT (stream_incarnation, stream_seq) DO NOTHING)"};

constexpr statement write_cursors_sql{"apply_write_cursors", R"(
  UPDATE branch_cursors AS t
     SET stream_incarnation = s.stream_incarnation,
         stream_seq = s.stream_seq,
         outbox_seq = s.outbox_seq,
         apply_no = s.apply_no,
         recorded_at = s.recorded_at
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[],
                $5::bigint[], $6::timestamptz[])
      AS s (branch_id, stream_incarnation, stream_seq, outbox_seq, apply_no,
            recorded_at)
   WHERE t.branch_id = s.branch_id)"};

} // namespace tillstream::storage::postgres

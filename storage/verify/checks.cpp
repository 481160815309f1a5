#include "storage/verify/checks.hpp"

namespace tillstream::storage::postgres {

namespace {

// -- events -------------------------------------------------------------------

constexpr comparison event_log{"analytics_event_log",
                               R"(
  SELECT event_id::text AS event_id, branch_id, purchase_id, outbox_seq,
         business_day, recorded_at
    FROM purchases
   WHERE event_id >= :log_floor
   ORDER BY purchases.event_id)",
                               R"(
  SELECT event_id::text AS event_id, branch_id, purchase_id, outbox_seq,
         business_day, recorded_at
    FROM analytics_event_log
   ORDER BY analytics_event_log.event_id)"};

// -- labels -------------------------------------------------------------------

// A line gives a label if the till sent a name, or the catalogue of that time
// had a name or a category. What the catalogue had is only in the events, which
// go with the outbox's partitions.
constexpr comparison labels{"product_labels",
                            R"(
  SELECT branch_id || ' ' || product_id AS key,
         max(outbox_seq) FILTER (WHERE i.name <> '') AS least,
         max(outbox_seq) AS most
    FROM verify_sold
    JOIN purchase_items i USING (branch_id, purchase_id)
   GROUP BY branch_id, product_id
   ORDER BY branch_id, product_id)",
                            R"(
  SELECT branch_id || ' ' || product_id AS key, outbox_seq
    FROM product_labels
   ORDER BY branch_id, product_id)"};

// -- aggregates ---------------------------------------------------------------

// A blank sorts before all that a branch id may hold, so the joined key sorts
// like its parts.
constexpr comparison aggregates[] = {
  {"daily_sales_by_branch",
   R"(
  SELECT branch_id || ' ' || business_day AS key,
         sum(total_minor) AS revenue_sum,
         sum(items_count) AS items_sum,
         count(*) AS purchases_count,
         count(DISTINCT customer_id) AS customers,
         count(*) FILTER (WHERE new_customer) AS new_customers
    FROM verify_sold
   GROUP BY branch_id, business_day
   ORDER BY branch_id, business_day)",
   R"(
  SELECT branch_id || ' ' || day AS key,
         revenue_sum, items_sum, purchases_count, customers, new_customers
    FROM daily_sales_by_branch
   ORDER BY branch_id, day)"},

  {"daily_unique_customers",
   R"(
  SELECT business_day || ' *' AS key,
         count(DISTINCT customer_id) AS customers,
         count(*) FILTER (WHERE new_customer) AS new_customers
    FROM verify_sold
   GROUP BY business_day
   ORDER BY business_day)",
   R"(
  SELECT day || ' *' AS key, customers, new_customers
    FROM daily_unique_customers
   WHERE scope = '*'
   ORDER BY day)"},

  {"hourly_sales_by_branch",
   R"(
  SELECT branch_id || ' ' || business_day || ' ' || business_hour AS key,
         sum(total_minor) AS revenue_sum,
         sum(items_count) AS items_sum,
         count(*) AS purchases_count
    FROM verify_sold
   GROUP BY branch_id, business_day, business_hour
   ORDER BY branch_id, business_day, business_hour)",
   R"(
  SELECT branch_id || ' ' || day || ' ' || hour AS key,
         revenue_sum, items_sum, purchases_count
    FROM hourly_sales_by_branch
   ORDER BY branch_id, day, hour)"},

  // Rows may be left with nothing but the chain's share.
  {"minute_sales_by_branch",
   R"(
  WITH visits AS (
    SELECT branch_id, business_day, minute, count(*) AS customers
      FROM (SELECT branch_id, business_day, customer_id,
                   min(business_minute) AS minute
              FROM verify_sold
             WHERE business_day >= :minutes_from
             GROUP BY branch_id, business_day, customer_id) first
     GROUP BY branch_id, business_day, minute
  ), sales AS (
    SELECT branch_id, business_day, business_minute AS minute,
           sum(total_minor) AS revenue_sum,
           sum(items_count) AS items_sum,
           count(*) AS purchases_count
      FROM verify_sold
     WHERE business_day >= :minutes_from
     GROUP BY branch_id, business_day, business_minute
  )
  SELECT branch_id || ' ' || business_day || ' '
           || lpad(minute::text, 4, '0') AS key,
         revenue_sum, items_sum, purchases_count,
         coalesce(customers, 0) AS customers
    FROM sales
    LEFT JOIN visits USING (branch_id, business_day, minute)
   ORDER BY branch_id, business_day, minute)",
   R"(
  SELECT branch_id || ' ' || day || ' ' || lpad(minute::text, 4, '0') AS key,
         revenue_sum, items_sum, purchases_count, customers
    FROM minute_sales_by_branch
   WHERE day >= :minutes_from
     AND (revenue_sum, items_sum, purchases_count, customers) <> (0, 0, 0, 0)
   ORDER BY branch_id, day, minute)"},

  {"minute_sales_by_branch (chain)",
   R"(
  SELECT business_day || ' ' || lpad(minute::text, 4, '0') AS key,
         count(*) AS chain_customers
    FROM (SELECT business_day, customer_id, min(business_minute) AS minute
            FROM verify_sold
           WHERE business_day >= :minutes_from
           GROUP BY business_day, customer_id) first
   GROUP BY business_day, minute
   ORDER BY business_day, minute)",
   R"(
  SELECT day || ' ' || lpad(minute::text, 4, '0') AS key,
         sum(chain_customers) AS chain_customers
    FROM minute_sales_by_branch
   WHERE day >= :minutes_from
   GROUP BY day, minute
  HAVING sum(chain_customers) <> 0
   ORDER BY day, minute)"},

  {"product_sales_daily",
   R"(
  SELECT branch_id || ' ' || business_day || ' ' || product_id AS key,
         count(*) AS qty_sum,
         sum(unit_price_minor) AS revenue_sum
    FROM verify_sold
    JOIN purchase_items USING (branch_id, purchase_id)
   GROUP BY branch_id, business_day, product_id
   ORDER BY branch_id, business_day, product_id)",
   R"(
  SELECT branch_id || ' ' || day || ' ' || product_id AS key,
         qty_sum, revenue_sum
    FROM product_sales_daily
   ORDER BY branch_id, day, product_id)"},

  {"customer_loyalty",
   R"(
  SELECT branch_id || ' ' || customer_id AS key,
         count(*) AS purchases_count,
         sum(total_minor) AS revenue_sum,
         max(occurred_at) AS last_purchase_at
    FROM verify_sold
   GROUP BY branch_id, customer_id
   ORDER BY branch_id, customer_id)",
   R"(
  SELECT branch_id || ' ' || customer_id AS key,
         purchases_count, revenue_sum, last_purchase_at
    FROM customer_loyalty
   ORDER BY branch_id, customer_id)"},

  {"daily_customers",
   R"(
  SELECT branch_id || ' ' || business_day || ' ' || customer_id AS key,
         min(business_minute) AS first_minute
    FROM verify_sold
   GROUP BY branch_id, business_day, customer_id
   ORDER BY branch_id, business_day, customer_id)",
   R"(
  SELECT branch_id || ' ' || day || ' ' || customer_id AS key, first_minute
    FROM daily_customers
   ORDER BY branch_id, day, customer_id)"},

  {"daily_chain_customers",
   R"(
  SELECT business_day || ' ' || customer_id AS key,
         min(business_minute) AS first_minute
    FROM verify_sold
   GROUP BY business_day, customer_id
   ORDER BY business_day, customer_id)",
   R"(
  SELECT day || ' ' || customer_id AS key, first_minute
    FROM daily_chain_customers
   ORDER BY day, customer_id)"},

  {"branch_cursors",
   R"(
  SELECT branch_id AS key,
         count(*) AS apply_no,
         max(outbox_seq) AS outbox_seq,
         max(recorded_at) AS recorded_at
    FROM verify_sold
   GROUP BY branch_id
   ORDER BY branch_id)",
   R"(
  SELECT branch_id AS key, apply_no, outbox_seq, recorded_at
    FROM branch_cursors
   WHERE apply_no > 0
   ORDER BY branch_id)"},
};

// -- rules of the purchases ---------------------------------------------------

constexpr rule of_purchases[] = {
  {"items of purchases",
   R"(
  SELECT CASE
           WHEN p.purchase_id IS NULL THEN
             format('purchase_items: %s %s has lines and no purchase',
                    i.branch_id, i.purchase_id)
           ELSE
             format('purchase_items: %s %s has %s lines of %s in all, should '
                    'be %s of %s', p.branch_id, p.purchase_id,
                    coalesce(i.lines, 0), coalesce(i.total, 0), p.items_count,
                    p.total_minor)
         END
    FROM (SELECT branch_id, purchase_id, items_count, total_minor
            FROM purchases) p
    FULL JOIN (SELECT branch_id, purchase_id, count(*) AS lines,
                      sum(unit_price_minor) AS total
                 FROM purchase_items
                GROUP BY branch_id, purchase_id) i USING (branch_id, purchase_id)
   WHERE (p.items_count, p.total_minor) IS DISTINCT FROM (i.lines, i.total))"},

  {"the outbox",
   R"(
  SELECT CASE
           WHEN p.event_id IS NULL THEN
             format('outbox_events: %s %s is of no purchase', o.branch_id,
                    o.event_id)
           WHEN o.event_id IS NULL THEN
             format('outbox_events: %s %s of purchase %s is missing',
                    p.branch_id, p.event_id, p.purchase_id)
           ELSE
             format('outbox_events: %s %s has purchase %s and seq %s, should '
                    'be %s and %s', o.branch_id, o.event_id, o.purchase_id,
                    o.seq, p.purchase_id, p.outbox_seq)
         END
    FROM (SELECT branch_id, event_id, purchase_id, outbox_seq
            FROM purchases
            JOIN verify_outbox_days ON event_id >= low AND event_id < high) p
    FULL JOIN (SELECT branch_id, event_id, purchase_id, seq
                 FROM outbox_events) o USING (branch_id, event_id)
   WHERE (p.purchase_id, p.outbox_seq)
         IS DISTINCT FROM (o.purchase_id, o.seq))"},

  // Names are left out: the catalogue may have changed since.
  {"contents of the outbox",
   R"(
  SELECT format('outbox_events: %s %s tells something else than purchase %s',
                branch_id, event_id, p.purchase_id)
    FROM outbox_events o
    JOIN purchases p USING (branch_id, event_id)
   CROSS JOIN LATERAL (
     SELECT pg_temp.verify_json(o.payload) AS event) e
   CROSS JOIN LATERAL (
     SELECT length(split_part(event #>> '{data,total}', '.', 2)) AS digits) d
   CROSS JOIN LATERAL (
     SELECT jsonb_agg(jsonb_build_object(
              'product_id', product_id,
              'unit_price', pg_temp.verify_money(unit_price_minor, digits),
              'qty', 1)) AS items
       FROM purchase_items i
      WHERE (i.branch_id, i.purchase_id) = (p.branch_id, p.purchase_id)) i
   WHERE jsonb_array_length(CASE jsonb_typeof(event #> '{data,items}')
                              WHEN 'array' THEN event #> '{data,items}'
                              ELSE '[]' END) <> p.items_count
      OR (event @> jsonb_build_object(
            'id', p.event_id,
            'source', '/tillstream/branches/' || p.branch_id,
            'type', 'purchases.created',
            'subject', p.purchase_id,
            'time', pg_temp.verify_time(p.occurred_at),
            'recordedtime', pg_temp.verify_time(p.recorded_at),
            'partitionkey', p.branch_id,
            'outboxseq', p.outbox_seq,
            'data', jsonb_build_object(
              'purchase_id', p.purchase_id,
              'branch_id', p.branch_id,
              'receipt_id', p.receipt_id,
              'cashier_id', p.cashier_id,
              'pos_id', p.pos_id,
              'idempotency_key', p.idempotency_key,
              'user_id', p.customer_id,
              'new_customer', p.new_customer,
              'occurred_at', pg_temp.verify_time(p.occurred_at),
              'recorded_at', pg_temp.verify_time(p.recorded_at),
              'business_day', p.business_day,
              'business_hour', pg_temp.verify_time(p.business_hour),
              'business_minute', p.business_minute,
              'currency', p.currency,
              'total', pg_temp.verify_money(p.total_minor, digits),
              'items_count', p.items_count,
              'items', items))) IS NOT TRUE)"},

  {"doubled events",
   R"(
  SELECT format('purchases: event %s stands in %s purchases', event_id,
                count(*))
    FROM purchases
   GROUP BY event_id
  HAVING count(*) > 1)"},

  {"customers",
   R"(
  SELECT format('customers: %s of purchase %s %s is missing', p.customer_id,
                p.branch_id, p.purchase_id)
    FROM purchases p
   WHERE NOT EXISTS (SELECT
                       FROM customers c
                      WHERE c.customer_id = p.customer_id))"},

  {"new customers",
   R"(
  SELECT format('purchases: customer %s is new in %s purchases', customer_id,
                count(*))
    FROM purchases
   WHERE new_customer
   GROUP BY customer_id
  HAVING count(*) > 1)"},

  // The minute tells at which time of day the sale's day began. That must be
  // the branch's start of the day, or, before the first sale that has that
  // one, another of then: it was corrected since, which every node learns
  // within a minute.
  //
  // A clock that is set by less than an hour shows an hour that begins when it
  // is set: then the first minute since which the offset is the sale's.
  {"business days",
   R"(
  SELECT CASE
           WHEN b.branch_id IS NULL THEN
             format('branches: %s of purchase %s is missing', p.branch_id,
                    p.purchase_id)
           ELSE
             format('purchases: %s %s of %s has business time %s %s minute %s,'
                    ' should be %s %s minute %s', p.branch_id, p.purchase_id,
                    p.occurred_at, p.business_day, p.business_hour,
                    p.business_minute, t.day, t.hour, t.minute)
         END
    FROM purchases p
    LEFT JOIN branches b USING (branch_id)
    LEFT JOIN (
      SELECT branch_id, min(recorded_at) AS since
        FROM (SELECT b.branch_id, p.recorded_at, b.day_start_minutes,
                     pg_temp.verify_day_start(p.occurred_at, b.time_zone,
                                              p.business_minute) AS day_start
                FROM purchases p
                JOIN branches b USING (branch_id)) starts
       WHERE day_start = day_start_minutes
       GROUP BY branch_id) latest USING (branch_id)
    LEFT JOIN LATERAL (
      SELECT CASE WHEN p.recorded_at < latest.since + interval '1 minute'
                       IS NOT FALSE
                  THEN pg_temp.verify_day_start(p.occurred_at, b.time_zone,
                                                p.business_minute)
                  ELSE b.day_start_minutes END AS day_start) d ON true
    LEFT JOIN LATERAL (
      SELECT shifted::date AS day,
             CASE WHEN (full_hour AT TIME ZONE b.time_zone)
                       - (full_hour AT TIME ZONE 'UTC') = utc_offset
                  THEN full_hour
                  ELSE (SELECT min(m)
                          FROM generate_series(full_hour, p.occurred_at,
                                               '1 minute') m
                         WHERE (m AT TIME ZONE b.time_zone)
                               - (m AT TIME ZONE 'UTC') = utc_offset)
             END AS hour,
             (extract(hour FROM shifted) * 60
              + extract(minute FROM shifted))::smallint AS minute
        FROM (SELECT local_time
                     - make_interval(mins => day_start) AS shifted,
                     p.occurred_at
                     - (local_time - date_trunc('hour', local_time))
                       AS full_hour,
                     local_time - (p.occurred_at AT TIME ZONE 'UTC')
                       AS utc_offset
                FROM (SELECT p.occurred_at AT TIME ZONE b.time_zone
                               AS local_time) l) local) t ON true
   WHERE (p.business_day, p.business_hour, p.business_minute)
         IS DISTINCT FROM (t.day, t.hour, t.minute))"},
};

// -- rules of the analytics database ------------------------------------------

// Gaps are no fault: numbers leave with the day of their event. What was never
// applied is missing among the purchases of the cursor.
constexpr rule of_analytics[] = {
  {"apply numbers",
   R"(
  SELECT format('analytics_event_log: %s has apply number %s %s', branch_id,
                apply_no,
                CASE WHEN n > 1 THEN n || ' times'
                     ELSE 'beyond the cursor''s' END)
    FROM (SELECT branch_id, apply_no, count(*) AS n
            FROM analytics_event_log
           GROUP BY branch_id, apply_no) l
    LEFT JOIN (SELECT branch_id, apply_no AS last_no
                 FROM branch_cursors) c USING (branch_id)
   WHERE n > 1
      OR apply_no > coalesce(last_no, 0))"},

  {"minutes of days",
   R"(
  SELECT format('minute_sales_by_branch: %s %s sums up to %s customers, '
                'chain %s; the day has %s, chain %s', branch_id, day,
                m.customers, m.chain_customers, d.customers,
                d.chain_customers)
    FROM (SELECT branch_id, day, sum(customers) AS customers,
                 sum(chain_customers) AS chain_customers
            FROM minute_sales_by_branch
           WHERE day >= :minutes_from
           GROUP BY branch_id, day) m
    FULL JOIN (SELECT branch_id, day, customers, chain_customers
                 FROM daily_sales_by_branch
                WHERE day >= :minutes_from) d USING (branch_id, day)
   WHERE (m.customers, m.chain_customers)
         IS DISTINCT FROM (d.customers, d.chain_customers))"},
};

// Another message with the event's id is no fault if the event is there, too:
// it is dropped, or set aside.
constexpr rule sent_is_in_stream{"the stream", R"(
  SELECT format('stream: %s %s %s, though SENT at %s', branch_id, event_id,
                CASE WHEN EXISTS (SELECT
                                    FROM verify_stream s
                                   WHERE s.event_id = o.event_id)
                     THEN 'has other bytes than the outbox'
                     ELSE 'is missing' END,
                sent_at)
    FROM outbox_events o
   WHERE status = 'SENT'
     AND sent_at >= :stream_since
     AND NOT EXISTS (SELECT
                       FROM verify_stream s
                      WHERE s.event_id = o.event_id
                        AND s.digest = encode(
                              sha256(convert_to(o.payload, 'UTF8')), 'hex')))"};

} // namespace

const comparison& event_log_check() {
  return event_log;
}

const comparison& label_check() {
  return labels;
}

std::span<const comparison> aggregate_checks() {
  return aggregates;
}

std::span<const rule> purchase_rules() {
  return of_purchases;
}

std::span<const rule> analytics_rules() {
  return of_analytics;
}

const rule& stream_rule() {
  return sent_is_in_stream;
}

} // namespace tillstream::storage::postgres

"""Long histories, made in bulk by SQL: the same sales in both databases.

Sale n of N: on its share of the days, in branch n modulo 3, three of 2,000
products; every other one with one of 200,000 cards, the rest by new customers.
"""

SALES = """
  SELECT n, 'branch-0' || (1 + n % 3) AS branch_id,
         current_date - {days} + 1 + (n * {days} / ({purchases} + 1))::int
           AS day,
         (480 + n * 7919 % 780)::smallint AS minute,
         ('00000000-0000-4000-8000-' || lpad(to_hex(
           CASE n % 2 WHEN 0 THEN n / 2 * 31 % 200000 ELSE 1000000 + n END),
           12, '0'))::uuid AS customer_id,
         n * 13 % 2000 AS product
    FROM generate_series(1::bigint, {purchases}) AS n
"""

FILL_AGGREGATES = """
SET work_mem = '256MB';
CREATE UNLOGGED TABLE bench_sales AS {sales};

INSERT INTO daily_customers (branch_id, day, customer_id, first_minute)
SELECT branch_id, day, customer_id, min(minute)
  FROM bench_sales GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
INSERT INTO daily_chain_customers (day, customer_id, first_minute)
SELECT day, customer_id, min(minute)
  FROM bench_sales GROUP BY 1, 2 ORDER BY 1, 2;
INSERT INTO daily_sales_by_branch (
  branch_id, day, revenue_sum, items_sum, purchases_count, customers,
  new_customers, chain_customers)
SELECT branch_id, day, 750 * count(*), 3 * count(*), count(*),
       count(DISTINCT customer_id), count(*) FILTER (WHERE n % 2 = 1),
       count(DISTINCT customer_id)
  FROM bench_sales GROUP BY 1, 2;
INSERT INTO hourly_sales_by_branch (
  branch_id, day, hour, revenue_sum, items_sum, purchases_count)
SELECT branch_id, day, day + minute / 60 * interval '1 hour', 750 * count(*),
       3 * count(*), count(*)
  FROM bench_sales GROUP BY 1, 2, 3;
INSERT INTO minute_sales_by_branch (
  branch_id, day, minute, revenue_sum, items_sum, purchases_count, customers,
  chain_customers)
SELECT branch_id, day, minute, 750 * count(*), 3 * count(*), count(*),
       count(*), count(*)
  FROM bench_sales WHERE day > current_date - 10 GROUP BY 1, 2, 3;
INSERT INTO product_sales_daily (
  branch_id, day, product_id, qty_sum, revenue_sum)
SELECT branch_id, day,
       'product-' || lpad(((product + 7 * k) % 2000)::text, 6, '0'),
       count(*), 250 * count(*)
  FROM bench_sales, generate_series(0, 2) AS k GROUP BY 1, 2, 3;
INSERT INTO product_labels (branch_id, product_id, name, category, outbox_seq)
SELECT DISTINCT branch_id, product_id, product_id, 'all', 1
  FROM product_sales_daily;
INSERT INTO customer_loyalty (
  branch_id, customer_id, purchases_count, revenue_sum, last_purchase_at)
SELECT branch_id, customer_id, count(*), 750 * count(*), max(day)
  FROM bench_sales GROUP BY 1, 2;
INSERT INTO branch_cursors (branch_id, apply_no, recorded_at)
SELECT branch_id, count(*), clock_timestamp() FROM bench_sales GROUP BY 1
    ON CONFLICT (branch_id) DO UPDATE SET apply_no = EXCLUDED.apply_no;
DROP TABLE bench_sales;
"""

FILL_PURCHASES = """
INSERT INTO purchases (
  branch_id, purchase_id, event_id, outbox_seq, idempotency_key, fingerprint,
  receipt_id, cashier_id, pos_id, customer_id, new_customer, total_minor,
  currency, items_count, occurred_at, recorded_at, business_day,
  business_hour, business_minute)
SELECT branch_id, id, id, n, key, uuid_send(key) || uuid_send(key), 'h-' || n,
       'cashier-1', 'pos-1', customer_id, n % 2 = 1, 750, 'EUR', 3, day, day,
       day, day, minute
  FROM ({sales}) AS s,
       LATERAL (SELECT ('00000000-0000-7000-8000-'
                        || lpad(to_hex(n), 12, '0'))::uuid AS id,
                       md5(n::text)::uuid AS key) AS u;
INSERT INTO purchase_items (
  branch_id, purchase_id, line_no, product_id, name, unit_price_minor)
SELECT branch_id, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       k, 'product-' || lpad(((product + 7 * k) % 2000)::text, 6, '0'), NULL,
       250
  FROM ({sales}) AS s, generate_series(1, 3) AS k;
INSERT INTO customers (customer_id, created_at)
SELECT customer_id, clock_timestamp()
  FROM (SELECT DISTINCT customer_id FROM ({sales}) AS s) AS u;
"""

# Enough to be rows of the same width on disk as far as the indexes go.
FILL_OUTBOX = """
INSERT INTO outbox_events (
  branch_id, event_id, purchase_id, seq, created_at, payload, status, sent_at)
SELECT 'branch-0' || (1 + n % 3), id, id, nextval('outbox_seq'),
       clock_timestamp(), repeat('x', 200), 'SENT', clock_timestamp()
  FROM generate_series(1, {rows}) AS n,
       LATERAL (SELECT encode(set_byte(substring(int8send(
         (extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
         || substring(uuid_send(md5(n::text)::uuid) FROM 7), 6, 112),
         'hex')::uuid AS id) AS u;
"""


def sales(purchases, days):
    return SALES.format(purchases=purchases, days=days)


def aggregate(on, purchases, days):
    """The aggregates of a history, as if it had been applied."""
    on.sql(FILL_AGGREGATES.format(sales=sales(purchases, days)), on.analytics)
    on.sql("VACUUM ANALYZE", on.analytics)
    on.sql("CHECKPOINT")


def sell(on, purchases, days):
    """The purchases of a history, without events."""
    on.sql(FILL_PURCHASES.format(sales=sales(purchases, days)))
    on.sql("VACUUM ANALYZE; CHECKPOINT")


def sent_rows(on, rows):
    on.sql(FILL_OUTBOX.format(rows=rows))
    on.sql("UPDATE outbox_floor SET seq = (SELECT last_value FROM outbox_seq)")
    on.sql("VACUUM ANALYZE outbox_events; CHECKPOINT")


def dates(on):
    row = on.sql("SELECT max(day), max(day) - 6, max(day) - 29, min(day) "
                 "FROM daily_sales_by_branch", on.analytics)[0]
    return dict(zip(("to", "week", "month", "all"), row))

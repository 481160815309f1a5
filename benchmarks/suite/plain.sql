-- B0: a purchase of three items, its new customer and its outbox row, as the
-- program writes them, in one statement and one transaction. Ids are made by
-- the server: a version 7 UUID begins with its milliseconds.
\set branch random(1, 3)
\set product random(1, 200)
WITH ids AS MATERIALIZED (
  SELECT 'branch-0' || :branch AS branch_id,
         encode(set_byte(substring(stamp FROM 3) || substring(uuid_send(gen_random_uuid()) FROM 7), 6, 112), 'hex')::uuid AS purchase_id,
         encode(set_byte(substring(stamp FROM 3) || substring(uuid_send(gen_random_uuid()) FROM 7), 6, 112), 'hex')::uuid AS event_id,
         gen_random_uuid() AS customer_id, gen_random_uuid() AS key,
         nextval('outbox_seq') AS seq, now() AS at
  FROM int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS stamp
), made AS (
  INSERT INTO customers (customer_id, created_at)
  SELECT customer_id, at FROM ids
), sold AS (
  INSERT INTO purchases (
    branch_id, purchase_id, event_id, outbox_seq, idempotency_key, fingerprint,
    receipt_id, cashier_id, pos_id, customer_id, new_customer, total_minor,
    currency, items_count, occurred_at, recorded_at, business_day,
    business_hour, business_minute)
  SELECT branch_id, purchase_id, event_id, seq, key,
         uuid_send(key) || uuid_send(customer_id), 'r-' || left(key::text, 16),
         'cashier-1', 'pos-1', customer_id, true, 750, 'EUR', 3, at, at,
         at::date, date_trunc('hour', at), 600
  FROM ids
  ON CONFLICT DO NOTHING
  RETURNING branch_id, purchase_id, event_id, outbox_seq, recorded_at
), lines AS (
  INSERT INTO purchase_items (
    branch_id, purchase_id, line_no, product_id, name, unit_price_minor)
  SELECT branch_id, purchase_id, n, 'product-' || lpad((:product + n)::text, 6, '0'),
         'product-' || lpad((:product + n)::text, 6, '0'), 250
  FROM sold, generate_series(1, 3) AS n
)
INSERT INTO outbox_events (
  branch_id, event_id, purchase_id, seq, created_at, payload)
SELECT branch_id, event_id, purchase_id, outbox_seq, recorded_at,
       event_id || repeat('0123456789abcdef', PAYLOAD_REPEATS)
FROM sold;

-- Everything here can be made again from the purchases. Ids are compared byte
-- by byte (COLLATE "C"), as the program orders them: all rows are locked and
-- written in key order, and ties are broken alike on every node.

-- Which events are applied. Range-partitioned by event id, a UUIDv7, so by
-- time: the partitions are attached ahead and dropped when they are old.
CREATE TABLE analytics_event_log (
  event_id     uuid           NOT NULL,
  branch_id    text COLLATE "C" NOT NULL,
  -- Counts the branch's applied events up, without gaps.
  apply_no     bigint         NOT NULL,
  stream_seq   bigint         NOT NULL,
  outbox_seq   bigint         NOT NULL,
  purchase_id  uuid           NOT NULL,
  business_day date           NOT NULL,
  recorded_at  timestamptz(3) NOT NULL,
  applied_at   timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (event_id)
) PARTITION BY RANGE (event_id);

-- Not unique: PostgreSQL wants the partition key in every unique index. The
-- cursor's row lock makes it so, and `verify` looks.
CREATE INDEX analytics_event_log_apply_no
  ON analytics_event_log (branch_id, apply_no);

-- What the attached partitions reach: `floor` inclusive, `ceiling` exclusive.
-- NULL without partitions.
CREATE FUNCTION event_log_range(OUT floor uuid, OUT ceiling uuid)
LANGUAGE sql STABLE AS $$
  WITH bounds AS (
    SELECT pg_get_expr(c.relpartbound, c.oid) AS bound
      FROM pg_inherits i
      JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'analytics_event_log'::regclass
       AND NOT i.inhdetachpending
  )
  SELECT min(substring(bound FROM 'FROM \(''([0-9a-f-]{36})''\)')
             COLLATE "C")::uuid,
         max(substring(bound FROM 'TO \(''([0-9a-f-]{36})''\)')
             COLLATE "C")::uuid
    FROM bounds
$$;

-- Rows that are updated again and again leave room in their pages, so that an
-- update stays in its page and touches no index.
CREATE TABLE daily_sales_by_branch (
  day             date   NOT NULL,
  branch_id       text COLLATE "C" NOT NULL,
  revenue_sum     bigint NOT NULL,
  items_sum       bigint NOT NULL,
  purchases_count bigint NOT NULL,
  -- Distinct customers of the branch, rows of daily_customers.
  customers       bigint NOT NULL,
  -- Customers first recorded with a sale of here.
  new_customers   bigint NOT NULL,
  -- Rows of daily_chain_customers that this branch brought: the chain's
  -- number is the sum over its branches.
  chain_customers bigint NOT NULL,
  PRIMARY KEY (branch_id, day)
) WITH (fillfactor = 50);

CREATE TABLE hourly_sales_by_branch (
  hour            timestamptz(3) NOT NULL,
  branch_id       text COLLATE "C" NOT NULL,
  -- The business day: an hour in which the day changes has a row for each.
  day             date   NOT NULL,
  revenue_sum     bigint NOT NULL,
  items_sum       bigint NOT NULL,
  purchases_count bigint NOT NULL,
  PRIMARY KEY (branch_id, day, hour)
) WITH (fillfactor = 70);

-- For 'up to the same minute a week ago'; only the latest days are kept.
CREATE TABLE minute_sales_by_branch (
  branch_id       text COLLATE "C" NOT NULL,
  day             date     NOT NULL,
  -- Minutes of the local clock since the day's start.
  minute          smallint NOT NULL,
  revenue_sum     bigint   NOT NULL,
  items_sum       bigint   NOT NULL,
  purchases_count bigint   NOT NULL,
  -- First visits at this minute. The chain's may be below zero in one branch:
  -- who moves a first visit of another branch to an earlier minute takes it
  -- away at the later. Sums over the branches are right.
  customers       bigint   NOT NULL,
  chain_customers bigint   NOT NULL,
  PRIMARY KEY (branch_id, day, minute)
) WITH (fillfactor = 70);

CREATE TABLE product_sales_daily (
  day         date   NOT NULL,
  branch_id   text COLLATE "C" NOT NULL,
  product_id  text COLLATE "C" NOT NULL,
  qty_sum     bigint NOT NULL,
  revenue_sum bigint NOT NULL,
  PRIMARY KEY (branch_id, day, product_id)
) WITH (fillfactor = 70);

-- One product over many days.
CREATE INDEX product_sales_daily_product
  ON product_sales_daily (branch_id, product_id, day);

-- What a product was called at its latest sale; latest by outbox_seq.
CREATE TABLE product_labels (
  branch_id  text COLLATE "C" NOT NULL,
  product_id text COLLATE "C" NOT NULL,
  name       text   NOT NULL,
  category   text   NOT NULL,
  outbox_seq bigint NOT NULL,
  PRIMARY KEY (branch_id, product_id)
);

CREATE TABLE customer_loyalty (
  customer_id      uuid           NOT NULL,
  branch_id        text COLLATE "C" NOT NULL,
  purchases_count  bigint         NOT NULL,
  revenue_sum      bigint         NOT NULL,
  last_purchase_at timestamptz(3) NOT NULL,
  PRIMARY KEY (branch_id, customer_id)
) WITH (fillfactor = 80);

CREATE INDEX customer_loyalty_by_purchases ON customer_loyalty
  (branch_id, purchases_count DESC, revenue_sum DESC, customer_id);
CREATE INDEX customer_loyalty_by_revenue ON customer_loyalty
  (branch_id, revenue_sum DESC, purchases_count DESC, customer_id);

-- Who bought in a branch on a day, and from which minute on. previous_minute
-- is the first minute before the latest update: what RETURNING shows of a
-- first visit that moved. NULL: the row was never updated.
CREATE TABLE daily_customers (
  branch_id       text COLLATE "C" NOT NULL,
  day             date     NOT NULL,
  customer_id     uuid     NOT NULL,
  first_minute    smallint NOT NULL,
  previous_minute smallint,
  PRIMARY KEY (branch_id, day, customer_id)
) WITH (fillfactor = 90);

-- The same for the whole chain. All branches write here, in key order.
CREATE TABLE daily_chain_customers (
  day             date     NOT NULL,
  customer_id     uuid     NOT NULL,
  first_minute    smallint NOT NULL,
  previous_minute smallint,
  PRIMARY KEY (day, customer_id)
) WITH (fillfactor = 90);

-- `scope`: a branch, or '*' for the whole chain.
CREATE VIEW daily_unique_customers (day, scope, customers, new_customers) AS
  SELECT day, branch_id, customers, new_customers
    FROM daily_sales_by_branch
  UNION ALL
  SELECT day, '*', sum(chain_customers)::bigint, sum(new_customers)::bigint
    FROM daily_sales_by_branch
   GROUP BY day;

-- Where each branch stands, written in the transaction of its aggregates.
CREATE TABLE branch_cursors (
  branch_id          text COLLATE "C" PRIMARY KEY,
  -- The stream's creation time. Empty: nothing applied yet.
  stream_incarnation text           NOT NULL DEFAULT '',
  stream_seq         bigint         NOT NULL DEFAULT 0,
  outbox_seq         bigint         NOT NULL DEFAULT 0,
  apply_no           bigint         NOT NULL DEFAULT 0,
  recorded_at        timestamptz(3) NOT NULL DEFAULT 'epoch'
) WITH (fillfactor = 50);

-- Who may write a branch's aggregates. Each change of hands raises the epoch.
CREATE TABLE shard_ownership (
  branch_id text COLLATE "C" PRIMARY KEY,
  -- NULL: nobody.
  node      text,
  epoch     bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Messages that could not be applied, with the reason.
CREATE TABLE quarantined_events (
  stream_incarnation text           NOT NULL,
  stream_seq         bigint         NOT NULL,
  branch_id          text COLLATE "C" NOT NULL,
  subject            text           NOT NULL,
  reason             text           NOT NULL,
  raw                bytea          NOT NULL,
  quarantined_at     timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (stream_incarnation, stream_seq)
);

-- Which apply numbers belong to which file of the lake. Planned before it is
-- written, so that a file that was cut short is written again the same. Of a
-- branch's finished segments only the latest is kept.
CREATE TABLE lake_segments (
  branch_id  text COLLATE "C" NOT NULL,
  from_no    bigint         NOT NULL,
  to_no      bigint         NOT NULL CHECK (to_no >= from_no),
  state      text           NOT NULL DEFAULT 'PLANNED'
             CHECK (state IN ('PLANNED', 'DONE')),
  planned_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (branch_id, from_no)
);

CREATE INDEX lake_segments_planned ON lake_segments (planned_at)
  WHERE state = 'PLANNED';

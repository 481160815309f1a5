-- What the chain sold. Identifiers compare bytewise (COLLATE "C"): fast, and
-- in the order in which the program sorts them.
--
-- There are no foreign keys among purchases, purchase_items and outbox_events:
-- one statement writes all three, so they cannot differ, and a key would lock
-- rows of branches and customers that every writer shares. `tillstream verify`
-- checks what a key would.

-- -- reference data ---------------------------------------------------------

CREATE TABLE chain (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  name text NOT NULL,
  currency text NOT NULL
);

CREATE TABLE branches (
  branch_id text COLLATE "C" PRIMARY KEY,
  name text NOT NULL,
  time_zone text NOT NULL,
  day_start_minutes integer NOT NULL
    CHECK (day_start_minutes BETWEEN 0 AND 1439)
);

CREATE TABLE products (
  product_id text COLLATE "C" PRIMARY KEY,
  name text NOT NULL,
  category text NOT NULL
);

CREATE TABLE api_keys (
  key_id uuid PRIMARY KEY,
  -- SHA-256 of the secret.
  digest bytea NOT NULL UNIQUE,
  role text NOT NULL CHECK (role IN ('till', 'owner', 'operator')),
  branch_id text COLLATE "C" REFERENCES branches,
  label text NOT NULL,
  created_at timestamptz NOT NULL,
  revoked_at timestamptz,
  CHECK ((role = 'till') = (branch_id IS NOT NULL))
);

-- Grows with every change of the four tables above, so that nodes need to read
-- one row to know that their copies are still true.
CREATE TABLE directory_version (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  version bigint NOT NULL
);

INSERT INTO directory_version (version) VALUES (1);

CREATE FUNCTION bump_directory_version() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE directory_version SET version = version + 1;
  RETURN NULL;
END
$$;

CREATE TRIGGER chain_changed
  AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON chain
  FOR EACH STATEMENT EXECUTE FUNCTION bump_directory_version();
CREATE TRIGGER branches_changed
  AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON branches
  FOR EACH STATEMENT EXECUTE FUNCTION bump_directory_version();
CREATE TRIGGER products_changed
  AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON products
  FOR EACH STATEMENT EXECUTE FUNCTION bump_directory_version();
CREATE TRIGGER api_keys_changed
  AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_keys
  FOR EACH STATEMENT EXECUTE FUNCTION bump_directory_version();

-- -- sales ------------------------------------------------------------------

CREATE TABLE customers (
  customer_id uuid PRIMARY KEY,
  created_at timestamptz NOT NULL
);

CREATE TABLE purchases (
  branch_id text COLLATE "C" NOT NULL,
  purchase_id uuid NOT NULL,
  event_id uuid NOT NULL,
  outbox_seq bigint NOT NULL,
  idempotency_key uuid NOT NULL,
  -- SHA-256 of the normalised purchase: tells 'the same' under one key.
  fingerprint bytea NOT NULL,
  receipt_id text COLLATE "C" NOT NULL,
  cashier_id text COLLATE "C" NOT NULL,
  pos_id text COLLATE "C" NOT NULL,
  customer_id uuid NOT NULL,
  new_customer boolean NOT NULL,
  total_minor bigint NOT NULL,
  currency text NOT NULL,
  items_count integer NOT NULL,
  -- Times have the resolution of milliseconds.
  occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL,
  -- Stamped once: a rebuild gives the same days, whatever becomes of zones.
  business_day date NOT NULL,
  business_hour timestamptz NOT NULL,
  business_minute smallint NOT NULL,
  PRIMARY KEY (branch_id, purchase_id),
  UNIQUE (branch_id, idempotency_key),
  UNIQUE (branch_id, receipt_id)
);

CREATE TABLE purchase_items (
  branch_id text COLLATE "C" NOT NULL,
  purchase_id uuid NOT NULL,
  line_no smallint NOT NULL,
  product_id text COLLATE "C" NOT NULL,
  -- As the till sent it.
  name text,
  unit_price_minor bigint NOT NULL,
  PRIMARY KEY (branch_id, purchase_id, line_no)
);

-- -- outbox -----------------------------------------------------------------

-- The order of publication within a branch. CACHE 1: a session that kept
-- numbers back would give a later sale a smaller one.
CREATE SEQUENCE outbox_seq AS bigint CACHE 1;

-- One event a purchase, its bytes as they are published. Partitioned by day:
-- event ids are UUIDs of version 7, so they begin with their time.
--
-- The columns that change come last and no index has them: marking a row SENT
-- is a heap-only update that logs a few bytes, given that the page has room
-- (the partitions' fillfactor).
CREATE TABLE outbox_events (
  branch_id text COLLATE "C" NOT NULL,
  event_id uuid NOT NULL,
  purchase_id uuid NOT NULL,
  seq bigint NOT NULL,
  created_at timestamptz NOT NULL,
  payload text NOT NULL,
  -- Above 1: the broker forgot the event and gets it again.
  publish_round smallint NOT NULL DEFAULT 1,
  status text NOT NULL DEFAULT 'NEW' CHECK (status IN ('NEW', 'SENT')),
  sent_at timestamptz,
  -- Also finds a branch's events since some time.
  PRIMARY KEY (branch_id, event_id)
) PARTITION BY RANGE (event_id);

-- Polling in the order of publication.
CREATE INDEX ON outbox_events (seq);
-- Marking and reading by event id alone.
CREATE INDEX ON outbox_events (event_id);

-- Every event below `seq` is SENT: where a relay that starts begins to look.
-- `generation` grows whenever the mark goes back, so that a relay that knows a
-- higher one notices.
CREATE TABLE outbox_floor (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  seq bigint NOT NULL,
  generation bigint NOT NULL
);

INSERT INTO outbox_floor (seq, generation) VALUES (0, 1);

-- Who is there, and what it says of itself. Here and not beside the purchases,
-- because ownership is locked and compared in the applies' transactions.

-- Never given twice: an incarnation that was declared dead stays dead.
CREATE SEQUENCE node_incarnations CACHE 1;

-- One row a node, renewed by one statement a beat. `alive` is the truth:
-- a lease that ran out means nothing until somebody has set it to false, and
-- whoever did may take what that incarnation owned.
CREATE TABLE nodes (
  name         text COLLATE "C" PRIMARY KEY,
  incarnation  bigint      NOT NULL,
  -- One start of the program. Two under one name take turns in killing each
  -- other's leases, so the older one ends itself.
  process      uuid        NOT NULL,
  -- As in the setting: 'intake,shards,query', a part of it.
  roles        text        NOT NULL,
  version      text        NOT NULL,
  -- Where its HTTP edge listens.
  http         text        NOT NULL,
  alive        boolean     NOT NULL DEFAULT true,
  -- Whether it wants branches: false while it ends or can't reach the broker.
  willing      boolean     NOT NULL DEFAULT true,
  -- An operator asked that it gives its branches away.
  draining     boolean     NOT NULL DEFAULT false,
  -- How far its slowest branch is behind.
  lag_ms       bigint      NOT NULL DEFAULT 0,
  started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  renewed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at   timestamptz NOT NULL
) WITH (fillfactor = 50);

-- A branch is owned when its (node, incarnation) is an alive row of `nodes`;
-- else it is free.
ALTER TABLE shard_ownership
  ADD COLUMN incarnation bigint NOT NULL DEFAULT 0,
  -- Whom the last owner let go of it for.
  ADD COLUMN next_node   text,
  ADD COLUMN released_at timestamptz,
  ADD COLUMN taken_at    timestamptz;

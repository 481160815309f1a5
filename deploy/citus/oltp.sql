-- Distributes the purchases' database by branch with Citus, an existing engine;
-- see docs/scaling.md for when, and for what must be looked at first. Run once,
-- on the coordinator, after `tillstream migrate` and before the first sale.
-- A test checks that every table is named here and that every unique key of a
-- distributed table has the distribution column, as Citus demands.

CREATE EXTENSION IF NOT EXISTS citus;

-- Small, read everywhere, seldom written: a copy on every server.
SELECT create_reference_table('chain');
SELECT create_reference_table('branches');
SELECT create_reference_table('products');
SELECT create_reference_table('api_keys');
SELECT create_reference_table('directory_version');
SELECT create_reference_table('page_session_secret');
SELECT create_reference_table('ended_page_sessions');
SELECT create_reference_table('sign_in_links');
SELECT create_reference_table('outbox_floor');

-- A branch's sales lie together: a purchase, its items and its event are
-- written on one server.
SELECT create_distributed_table('purchases', 'branch_id');
SELECT create_distributed_table('purchase_items', 'branch_id',
                                colocate_with => 'purchases');
SELECT create_distributed_table('outbox_events', 'branch_id',
                                colocate_with => 'purchases');

-- Customers belong to the chain and come with many sales: spread, not copied.
SELECT create_distributed_table('customers', 'customer_id',
                                colocate_with => 'none');

-- Distributes the aggregates' database with Citus; see oltp.sql beside it.

CREATE EXTENSION IF NOT EXISTS citus;

SELECT create_distributed_table('branch_cursors', 'branch_id');
SELECT create_distributed_table('shard_ownership', 'branch_id',
                                colocate_with => 'branch_cursors');
SELECT create_distributed_table('daily_sales_by_branch', 'branch_id',
                                colocate_with => 'branch_cursors');
SELECT create_distributed_table('hourly_sales_by_branch', 'branch_id',
                                colocate_with => 'branch_cursors');
SELECT create_distributed_table('minute_sales_by_branch', 'branch_id',
                                colocate_with => 'branch_cursors');
SELECT create_distributed_table('product_sales_daily', 'branch_id',
                                colocate_with => 'branch_cursors');
SELECT create_distributed_table('product_labels', 'branch_id',
                                colocate_with => 'branch_cursors');
SELECT create_distributed_table('customer_loyalty', 'branch_id',
                                colocate_with => 'branch_cursors');
SELECT create_distributed_table('daily_customers', 'branch_id',
                                colocate_with => 'branch_cursors');
SELECT create_distributed_table('lake_segments', 'branch_id',
                                colocate_with => 'branch_cursors');

-- Unique over all branches, so spread by what is unique.
SELECT create_distributed_table('analytics_event_log', 'event_id',
                                colocate_with => 'none');
SELECT create_distributed_table('daily_chain_customers', 'customer_id',
                                colocate_with => 'none');

-- Small.
SELECT create_reference_table('quarantined_events');
SELECT create_reference_table('nodes');

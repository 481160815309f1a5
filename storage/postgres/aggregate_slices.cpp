#include "storage/postgres/aggregate_slices.hpp"

#include "messages/core/limits.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace tillstream::storage::postgres {

namespace {

// -- statements ---------------------------------------------------------------

constexpr statement read_cursor_sql{"chunk_read_cursor", R"(
  SELECT c.stream_incarnation, c.stream_seq, c.outbox_seq, c.apply_no,
         (extract(epoch FROM c.recorded_at) * 1000)::bigint,
         coalesce(o.epoch, 0)
    FROM branch_cursors c
    LEFT JOIN shard_ownership o USING (branch_id)
   WHERE c.branch_id = $1)"};

constexpr statement read_days_sql{"chunk_read_days", R"(
  SELECT day, revenue_sum, purchases_count, items_sum,
         customers, new_customers, chain_customers
    FROM daily_sales_by_branch
   WHERE branch_id = $1)"};

constexpr statement read_hours_sql{"chunk_read_hours", R"(
  SELECT day, (extract(epoch FROM hour) * 1000)::bigint,
         revenue_sum, purchases_count, items_sum
    FROM hourly_sales_by_branch
   WHERE branch_id = $1
     AND day BETWEEN $2::date AND $3::date)"};

constexpr statement read_products_sql{"chunk_read_products", R"(
  SELECT s.product_id, s.quantity, s.revenue,
         l.name, l.category, l.outbox_seq
    FROM (SELECT product_id, sum(qty_sum)::bigint AS quantity,
                 sum(revenue_sum)::bigint AS revenue
            FROM product_sales_daily
           WHERE branch_id = $1
             AND day BETWEEN $2::date AND $3::date
           GROUP BY product_id) s
    LEFT JOIN product_labels l
      ON l.branch_id = $1 AND l.product_id = s.product_id)"};

constexpr statement read_product_days_sql{"chunk_read_product_days", R"(
  SELECT day, qty_sum, revenue_sum
    FROM product_sales_daily
   WHERE branch_id = $1
     AND product_id = $2
     AND day BETWEEN $3::date AND $4::date)"};

constexpr statement read_label_sql{"chunk_read_label", R"(
  SELECT name, category, outbox_seq
    FROM product_labels
   WHERE branch_id = $1
     AND product_id = $2)"};

constexpr statement read_minutes_sql{"chunk_read_minutes", R"(
  SELECT minute, revenue_sum, purchases_count, items_sum,
         customers, chain_customers
    FROM minute_sales_by_branch
   WHERE branch_id = $1
     AND day = $2::date)"};

constexpr statement by_purchases_sql{"chunk_by_purchases", R"(
  SELECT customer_id, purchases_count, revenue_sum,
         (extract(epoch FROM last_purchase_at) * 1000)::bigint
    FROM customer_loyalty
   WHERE branch_id = $1
   ORDER BY purchases_count DESC, revenue_sum DESC, customer_id
   LIMIT $2)"};

constexpr statement by_revenue_sql{"chunk_by_revenue", R"(
  SELECT customer_id, purchases_count, revenue_sum,
         (extract(epoch FROM last_purchase_at) * 1000)::bigint
    FROM customer_loyalty
   WHERE branch_id = $1
   ORDER BY revenue_sum DESC, purchases_count DESC, customer_id
   LIMIT $2)"};

// A join, as the planner looks at each id of `= ANY`, for 20,000 of them longer
// than it takes to find them. The bounds let it skip partitions.
constexpr statement known_events_sql{"chunk_known_events", R"(
  SELECT log.event_id, log.branch_id
    FROM unnest($1::uuid[]) AS asked (event_id)
    JOIN analytics_event_log log
      ON log.event_id = asked.event_id
     AND log.event_id BETWEEN $3 AND $4
   WHERE $2 = '' OR log.branch_id = $2)"};

constexpr statement subset_customers_sql{"chunk_subset_customers", R"(
  SELECT c.day, count(DISTINCT c.customer_id)
    FROM unnest($1::text[], $2::int[]) AS b (branch_id, until_minute)
    JOIN daily_customers c
      ON c.branch_id = b.branch_id
     AND c.day BETWEEN $3::date AND $4::date
     AND c.first_minute <= b.until_minute
   GROUP BY c.day)"};

/// Last minute of a business day.
constexpr int last_minute = 1439;

// -- rows ---------------------------------------------------------------------

/// Three columns: revenue, purchases, items.
sales_totals read_sales(const pqxx::row& row, int first) {
  return {as_int(row[first]), as_int(row[first + 1]), as_int(row[first + 2])};
}

product_label read_label(const pqxx::row& row, int first) {
  return {as_text(row[first]), as_text(row[first + 1]), as_int(row[first + 2])};
}

std::vector<loyal_customer> read_loyal(const pqxx::result& rows) {
  std::vector<loyal_customer> result;
  result.reserve(static_cast<size_t>(rows.size()));
  for (const auto& row : rows)
    result.push_back({as_uuid(row[0]),
                      {as_int(row[1]), as_int(row[2]), as_timestamp(row[3])}});
  return result;
}

branch_state read_head(connection& from, const std::string& branch_id) {
  branch_state result;
  auto rows = from.exec(read_cursor_sql, branch_id);
  if (rows.empty())
    return result;
  auto row = rows[0];
  result.cursor.stream_incarnation = as_text(row[0]);
  result.cursor.stream_seq = static_cast<uint64_t>(as_int(row[1]));
  result.cursor.outbox_seq = as_int(row[2]);
  result.cursor.apply_no = as_int(row[3]);
  result.cursor.recorded_at = as_timestamp(row[4]);
  result.epoch = as_int(row[5]);
  return result;
}

// -- slices -------------------------------------------------------------------

void read_hours(connection& from, const slice_request& request, slice& to) {
  auto rows
    = from.exec(read_hours_sql, request.branch_id, request.from, request.to);
  for (const auto& row : rows)
    to.hours.emplace(std::pair{as_day(row[0]), as_timestamp(row[1])},
                     read_sales(row, 2));
}

void read_products(connection& from, const slice_request& request, slice& to) {
  auto rows
    = from.exec(read_products_sql, request.branch_id, request.from, request.to);
  for (const auto& row : rows) {
    auto id = as_text(row[0]);
    to.products.emplace(id, product_totals{as_int(row[1]), as_int(row[2])});
    if (!row[5].is_null())
      to.labels.emplace(std::move(id), read_label(row, 3));
  }
}

void read_product_days(connection& from, const slice_request& request,
                       slice& to) {
  auto rows = from.exec(read_product_days_sql, request.branch_id,
                        request.product_id, request.from, request.to);
  for (const auto& row : rows)
    to.product_days.emplace(as_day(row[0]),
                            product_totals{as_int(row[1]), as_int(row[2])});
  auto labels
    = from.exec(read_label_sql, request.branch_id, request.product_id);
  if (!labels.empty())
    to.labels.emplace(request.product_id, read_label(labels[0], 0));
}

void read_minutes(connection& from, const slice_request& request, slice& to) {
  auto rows = from.exec(read_minutes_sql, request.branch_id, request.from);
  for (const auto& row : rows)
    to.minutes.emplace(
      static_cast<int>(as_int(row[0])),
      minute_totals{read_sales(row, 1), as_int(row[4]), as_int(row[5])});
}

void read_loyal(connection& from, const slice_request& request, slice& to) {
  to.by_purchases = read_loyal(
    from.exec(by_purchases_sql, request.branch_id, limits::rank_max));
  to.by_revenue = read_loyal(
    from.exec(by_revenue_sql, request.branch_id, limits::rank_max));
}

void read_known_events(connection& from, const slice_request& request,
                       slice& to) {
  if (request.event_ids.empty())
    return;
  auto [low, high] = std::ranges::minmax_element(request.event_ids);
  auto rows = from.exec(known_events_sql, to_array(request.event_ids),
                        request.branch_id, *low, *high);
  for (const auto& row : rows) {
    to.known_events.push_back(as_uuid(row[0]));
    to.known_branches.push_back(as_text(row[1]));
  }
}

void read_subset(connection& from, const slice_request& request, slice& to) {
  auto until = request.until_minutes;
  if (until.empty())
    until.assign(request.branch_ids.size(), last_minute);
  assert(until.size() == request.branch_ids.size());
  auto rows = from.exec(subset_customers_sql, to_array(request.branch_ids),
                        to_array(until), request.from, request.to);
  for (const auto& row : rows)
    to.subset_customers.emplace(as_day(row[0]), as_int(row[1]));
}

} // namespace

branch_state read_state(connection& from, const std::string& branch_id) {
  auto result = read_head(from, branch_id);
  for (const auto& row : from.exec(read_days_sql, branch_id))
    result.days.emplace(
      as_day(row[0]),
      day_totals{read_sales(row, 1),
                 {as_int(row[4]), as_int(row[5]), as_int(row[6])}});
  return result;
}

slice read_slice(connection& from, const slice_request& request) {
  using kind = slice_request::kind;
  slice result;
  if (request.what != kind::subset_customers)
    result.apply_no = read_head(from, request.branch_id).cursor.apply_no;
  switch (request.what) {
    case kind::hours:
      read_hours(from, request, result);
      break;
    case kind::products:
      read_products(from, request, result);
      break;
    case kind::product_days:
      read_product_days(from, request, result);
      break;
    case kind::minutes:
      read_minutes(from, request, result);
      break;
    case kind::loyal:
      read_loyal(from, request, result);
      break;
    case kind::known_events:
      read_known_events(from, request, result);
      break;
    case kind::subset_customers:
      read_subset(from, request, result);
      break;
  }
  return result;
}

} // namespace tillstream::storage::postgres

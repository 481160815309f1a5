#include "storage/ports/purchase_lookup_store.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/purchase_batch.hpp"
#include "storage/postgres/stores.hpp"

#include <utility>

namespace tillstream::storage {

namespace {

using namespace postgres;

// -- statements ---------------------------------------------------------------

constexpr statement find_by_id{"find_purchase_by_id", R"(
  SELECT branch_id, purchase_id, event_id, idempotency_key, receipt_id,
         cashier_id, pos_id, customer_id, new_customer, total_minor, currency,
         items_count, business_day,
         (extract(epoch FROM occurred_at) * 1000)::bigint AS occurred_at,
         (extract(epoch FROM recorded_at) * 1000)::bigint AS recorded_at
  FROM purchases
  WHERE branch_id = ANY ($1::text[]) AND purchase_id = $2)"};

constexpr statement find_by_idempotency_key{"find_purchase_by_key", R"(
  SELECT branch_id, purchase_id, event_id, idempotency_key, receipt_id,
         cashier_id, pos_id, customer_id, new_customer, total_minor, currency,
         items_count, business_day,
         (extract(epoch FROM occurred_at) * 1000)::bigint AS occurred_at,
         (extract(epoch FROM recorded_at) * 1000)::bigint AS recorded_at
  FROM purchases
  WHERE branch_id = $1 AND idempotency_key = $2)"};

// Shared, so that nobody who asks stands in another's way; it is let go at
// once.
constexpr statement try_key{"try_purchase_key", R"(
  SELECT pg_try_advisory_xact_lock_shared($1))"};

constexpr statement select_items{"select_purchase_items", R"(
  SELECT product_id, name, unit_price_minor
  FROM purchase_items
  WHERE branch_id = $1 AND purchase_id = $2
  ORDER BY line_no)"};

constexpr statement select_customers{"select_customers", R"(
  SELECT customer_id, (extract(epoch FROM created_at) * 1000)::bigint
  FROM customers
  WHERE customer_id > $1
  ORDER BY customer_id
  LIMIT $2)"};

constexpr statement select_first_customers{"select_first_customers", R"(
  SELECT customer_id, (extract(epoch FROM created_at) * 1000)::bigint
  FROM customers
  ORDER BY customer_id
  LIMIT $1)"};

// -- rows ---------------------------------------------------------------------

purchase_details read_details(const pqxx::row& row) {
  purchase_details result;
  auto& head = result.head;
  head.purchase_id = as_uuid(row["purchase_id"]);
  head.event_id = as_uuid(row["event_id"]);
  head.branch_id = as_text(row["branch_id"]);
  head.receipt_id = as_text(row["receipt_id"]);
  head.user_id = as_uuid(row["customer_id"]);
  head.new_customer = as_bool(row["new_customer"]);
  head.total = as_int(row["total_minor"]);
  head.currency = as_text(row["currency"]);
  head.items_count = static_cast<int>(as_int(row["items_count"]));
  head.occurred_at = as_timestamp(row["occurred_at"]);
  head.recorded_at = as_timestamp(row["recorded_at"]);
  result.cashier_id = as_text(row["cashier_id"]);
  result.pos_id = as_text(row["pos_id"]);
  result.idempotency_key = as_uuid(row["idempotency_key"]);
  result.business_day = as_day(row["business_day"]);
  return result;
}

purchase_item read_item(const pqxx::row& row) {
  purchase_item result;
  result.product_id = as_text(row[0]);
  if (!row[1].is_null())
    result.name = as_text(row[1]);
  result.unit_price = as_int(row[2]);
  return result;
}

// -- the store ----------------------------------------------------------------

class postgres_purchase_lookup_store : public purchase_lookup_store {
public:
  explicit postgres_purchase_lookup_store(connection_ptr db)
    : db_(std::move(db)) {
    // nop
  }

  caf::expected<std::optional<purchase_details>>
  find(const std::vector<std::string>& branches,
       const uuid& purchase_id) override {
    return guarded(*db_, [&] {
      return complete(db_->exec(find_by_id, to_array(branches), purchase_id));
    });
  }

  caf::expected<std::optional<purchase_details>>
  find_by_key(const std::string& branch_id,
              const uuid& idempotency_key) override {
    return guarded(
      *db_, [&]() -> caf::expected<std::optional<purchase_details>> {
        auto rows
          = db_->exec(find_by_idempotency_key, branch_id, idempotency_key);
        if (rows.empty()) {
          auto key = key_lock(branch_id, idempotency_key);
          if (!as_bool(db_->exec(try_key, key)[0][0]))
            return caf::make_error(errc::in_progress, "the key is held");
          // Who had the key when it was looked for has committed since, or
          // never will.
          rows = db_->exec(find_by_idempotency_key, branch_id, idempotency_key);
        }
        return complete(rows);
      });
  }

  caf::expected<std::vector<customer>>
  customers(const std::optional<uuid>& after, size_t limit) override {
    return guarded(*db_, [&]() -> caf::expected<std::vector<customer>> {
      auto rows = after ? db_->exec(select_customers, *after, limit)
                        : db_->exec(select_first_customers, limit);
      std::vector<customer> result;
      for (auto row : rows)
        result.push_back({as_uuid(row[0]), as_timestamp(row[1])});
      return result;
    });
  }

private:
  /// Adds the items. A purchase never changes, so two statements see the same.
  caf::expected<std::optional<purchase_details>>
  complete(const pqxx::result& rows) {
    if (rows.empty())
      return std::optional<purchase_details>{};
    auto result = read_details(rows[0]);
    for (auto row : db_->exec(select_items, result.head.branch_id,
                              result.head.purchase_id))
      result.items.push_back(read_item(row));
    return std::make_optional(std::move(result));
  }

  connection_ptr db_;
};

} // namespace

caf::expected<purchase_lookup_store_ptr>
open_purchase_lookup_store(const std::string& dsn) {
  return open_store<purchase_lookup_store, postgres_purchase_lookup_store>(
    dsn, {.application_name = "tillstream-reader", .pinned_plans = true});
}

} // namespace tillstream::storage

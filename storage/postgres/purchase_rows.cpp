#include "storage/postgres/purchase_rows.hpp"

#include "storage/postgres/transaction.hpp"

#include <utility>

namespace tillstream::storage::postgres {

namespace {

// -- statements ---------------------------------------------------------------

// The transaction's id must be older than its sequence numbers: whoever sees a
// number and then waits until all transactions of that time have ended knows
// that no row with a smaller number can appear (`outbox_store::poll`).
constexpr const char* take_id = "SELECT pg_current_xact_id()";

// Held by nobody else: neither the key nor the receipt. Trying instead of
// waiting means that batches cannot deadlock. The locks go with the commit.
constexpr statement claim{"claim_purchases", R"(
  SELECT pg_try_advisory_xact_lock(k) AND pg_try_advisory_xact_lock(r),
         nextval('outbox_seq'),
         CASE WHEN no = 1
           THEN floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
         END
  FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS u (k, r, no))"};

// A statement of its own: its snapshot is younger than the locks, so it sees
// what their last holders committed. Of most purchases there is nothing to see.
constexpr statement look_up{"look_up_purchases", R"(
  SELECT u.no, r.purchase_id AS receipt_holder,
         c.customer_id IS NOT NULL AS customer_known,
         encode(p.fingerprint, 'hex') AS fingerprint,
         p.purchase_id, p.event_id, p.receipt_id, p.customer_id,
         p.new_customer, p.total_minor, p.currency, p.items_count, p.outbox_seq,
         (extract(epoch FROM p.occurred_at) * 1000)::bigint AS occurred_at,
         (extract(epoch FROM p.recorded_at) * 1000)::bigint AS recorded_at
  FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[]) WITH ORDINALITY
    AS u (branch_id, idempotency_key, receipt_id, customer_id, no)
  LEFT JOIN purchases p ON p.branch_id = u.branch_id
                       AND p.idempotency_key = u.idempotency_key
  LEFT JOIN purchases r ON r.branch_id = u.branch_id
                       AND r.receipt_id = u.receipt_id
  LEFT JOIN customers c ON c.customer_id = u.customer_id
  WHERE p.purchase_id IS NOT NULL OR r.purchase_id IS NOT NULL
     OR c.customer_id IS NOT NULL)"};

// Another writer may make the same customer known right now: then this waits
// for its commit, and the row does not come back. In the order of ids, so that
// two writers cannot wait for each other.
constexpr statement make_customers_known{"make_customers_known", R"(
  INSERT INTO customers (customer_id, created_at)
  SELECT id, $2::timestamptz FROM unnest($1::uuid[]) AS u (id)
  ON CONFLICT DO NOTHING
  RETURNING customer_id)"};

// All of a batch in one statement. No ON CONFLICT: after the claims only a
// client that is not a writer could have the key, and then the whole
// transaction starts again.
constexpr statement write_purchases{"write_purchases", R"(
  WITH made AS (
    INSERT INTO customers (customer_id, created_at)
    SELECT id, $1::timestamptz FROM unnest($3::uuid[]) AS u (id)
  ), sold AS (
    INSERT INTO purchases (
      branch_id, purchase_id, event_id, outbox_seq, idempotency_key,
      fingerprint, receipt_id, cashier_id, pos_id, customer_id, new_customer,
      total_minor, currency, items_count, occurred_at, recorded_at,
      business_day, business_hour, business_minute)
    SELECT branch_id, purchase_id, event_id, outbox_seq, idempotency_key,
           fingerprint, receipt_id, cashier_id, pos_id,
           customer_id, new_customer, total_minor, $2, items_count,
           occurred_at, $1::timestamptz, business_day, business_hour,
           business_minute
    FROM unnest($4::text[], $5::uuid[], $6::uuid[], $7::bigint[], $8::uuid[],
                $9::bytea[], $10::text[], $11::text[], $12::text[],
                $13::uuid[], $14::boolean[], $15::bigint[], $16::integer[],
                $17::timestamptz[], $18::date[], $19::timestamptz[],
                $20::smallint[])
      AS u (branch_id, purchase_id, event_id, outbox_seq, idempotency_key,
            fingerprint, receipt_id, cashier_id, pos_id, customer_id,
            new_customer, total_minor, items_count, occurred_at, business_day,
            business_hour, business_minute)
  ), lines AS (
    INSERT INTO purchase_items (
      branch_id, purchase_id, line_no, product_id, name, unit_price_minor)
    SELECT * FROM unnest($22::text[], $23::uuid[], $24::smallint[],
                         $25::text[], $26::text[], $27::bigint[])
  )
  INSERT INTO outbox_events (
    branch_id, event_id, purchase_id, seq, created_at, payload)
  SELECT branch_id, event_id, purchase_id, seq, $1::timestamptz, payload
  FROM unnest($4::text[], $6::uuid[], $5::uuid[], $7::bigint[], $21::text[])
    AS u (branch_id, event_id, purchase_id, seq, payload))"};

// Touches all that a purchase needs, for a transaction that is rolled back: the
// tables, our rights on them, the sequence, the partition of this moment.
constexpr const char* begin_rehearsal = R"(
  BEGIN;
  SELECT FROM purchases, customers WHERE false;
  INSERT INTO customers (customer_id) SELECT gen_random_uuid() WHERE false;
  INSERT INTO purchases (branch_id) SELECT '' WHERE false;
  INSERT INTO purchase_items (branch_id) SELECT '' WHERE false;
  INSERT INTO outbox_events (
    branch_id, event_id, purchase_id, seq, created_at, payload)
  SELECT '', (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0')
              || '7' || right(replace(gen_random_uuid()::text, '-', ''), 19)
             )::uuid,
         gen_random_uuid(),
         CASE WHEN has_sequence_privilege('outbox_seq', 'USAGE') THEN 0
           ELSE nextval('outbox_seq') -- Says what is missing.
         END, now(), '')";

// -- columns ------------------------------------------------------------------

/// The columns of `write_purchases`.
struct sale_columns {
  explicit sale_columns(size_t rows)
    : payload(rows * 2048),
      line_branch(rows * 64),
      line_purchase(rows * 128),
      line_name(rows * 128) {
    // nop
  }

  array_of<uuid> made_customer;
  text_array branch;
  array_of<uuid> purchase_id, event_id;
  array_of<int64_t> seq;
  array_of<uuid> key;
  array_of<bytes_view> fingerprint;
  text_array receipt, cashier, pos;
  array_of<uuid> customer;
  array_of<bool> new_customer;
  array_of<int64_t> total;
  array_of<int32_t> items_count;
  array_of<timestamp> occurred_at;
  array_of<calendar_day> day;
  array_of<timestamp> hour;
  array_of<int16_t> minute;
  text_array payload;
  text_array line_branch;
  array_of<uuid> line_purchase;
  array_of<int16_t> line_no;
  text_array line_product, line_name;
  array_of<int64_t> line_price;

  void add(const new_sale& x) {
    const auto& wanted = *x.wanted;
    if (!wanted.user_id)
      made_customer.add(x.row.user_id);
    branch.add(wanted.branch_id);
    purchase_id.add(x.row.purchase_id);
    event_id.add(x.row.event_id);
    seq.add(x.seq);
    key.add(wanted.idempotency_key);
    fingerprint.add(wanted.fingerprint);
    receipt.add(wanted.receipt_id);
    cashier.add(wanted.cashier_id);
    pos.add(wanted.pos_id);
    customer.add(x.row.user_id);
    new_customer.add(x.row.new_customer);
    total.add(wanted.total);
    items_count.add(x.row.items_count);
    occurred_at.add(x.row.occurred_at);
    day.add(x.when.day);
    hour.add(x.when.hour);
    minute.add(static_cast<int16_t>(x.when.minute));
    payload.add(*x.payload);
    add_lines(x);
  }

private:
  void add_lines(const new_sale& x) {
    int16_t number = 0;
    for (const auto& item : x.wanted->items) {
      line_branch.add(x.wanted->branch_id);
      line_purchase.add(x.row.purchase_id);
      line_no.add(++number);
      line_product.add(item.product_id);
      line_name.add_or_null(item.name);
      line_price.add(item.unit_price);
    }
  }
};

recorded_purchase read_recorded(const row_view& row, const purchase& wanted) {
  recorded_purchase result;
  result.purchase_id = as_uuid(row["purchase_id"]);
  result.event_id = as_uuid(row["event_id"]);
  result.branch_id = wanted.branch_id;
  result.receipt_id = as_text(row["receipt_id"]);
  result.user_id = as_uuid(row["customer_id"]);
  result.new_customer = as_bool(row["new_customer"]);
  result.total = as_int(row["total_minor"]);
  result.currency = as_text(row["currency"]);
  result.items_count = static_cast<int>(as_int(row["items_count"]));
  result.occurred_at = as_timestamp(row["occurred_at"]);
  result.recorded_at = as_timestamp(row["recorded_at"]);
  result.outbox_seq = as_int(row["outbox_seq"]);
  return result;
}

std::vector<lookup_row> read_look_up(const batch_part& part, const rows& from) {
  std::vector<lookup_row> result(part.positions.size());
  for (const auto& row : from) {
    auto i = static_cast<size_t>(as_int(row["no"])) - 1;
    auto& x = result.at(i);
    x.customer_known = as_bool(row["customer_known"]);
    if (auto holder = row["receipt_holder"]; !holder.is_null)
      x.receipt_holder = as_uuid(holder);
    if (!row["purchase_id"].is_null) {
      x.by_key = read_recorded(row, part[i]);
      x.fingerprint_hex = as_text(row["fingerprint"]);
    }
  }
  return result;
}

} // namespace

void check_writable(connection& db) {
  transaction never_committed{db, begin_rehearsal};
}

size_t add_claims(const batch_part& part, pipeline& to) {
  to.add_sql(take_id);
  array_of<int64_t> keys;
  array_of<int64_t> receipts;
  for (size_t i = 0; i < part.positions.size(); ++i) {
    keys.add(key_lock(part[i]));
    receipts.add(receipt_lock(part[i]));
  }
  return to.add(claim, keys, receipts);
}

size_t add_look_up(const batch_part& part, pipeline& to) {
  text_array branches;
  array_of<uuid> keys;
  text_array receipts;
  array_of<uuid> customers;
  for (size_t i = 0; i < part.positions.size(); ++i) {
    branches.add(part[i].branch_id);
    keys.add(part[i].idempotency_key);
    receipts.add(part[i].receipt_id);
    customers.add_or_null(part[i].user_id);
  }
  return to.add(look_up, branches, keys, receipts, customers);
}

claimed_batch
read_claimed(const batch_part& part, const rows& locks, const rows& known) {
  auto looked_up = read_look_up(part, known);
  claimed_batch result;
  size_t i = 0;
  for (const auto& row : locks) {
    // One time for all: the first row's, before which no lock was held.
    if (i == 0)
      result.now = as_timestamp(row[2]);
    if (as_bool(row[0])) {
      result.purchases.push_back({part.positions[i], &part[i], as_int(row[1])});
      result.known.push_back(std::move(looked_up[i]));
    } else {
      result.held.push_back(part.positions[i]);
    }
    ++i;
  }
  return result;
}

std::vector<uuid>
make_known(connection& db, const std::set<uuid>& customers, timestamp now) {
  std::vector<uuid> result;
  for (auto row : db.exec(make_customers_known, to_array(customers), now))
    result.push_back(as_uuid(row[0]));
  return result;
}

void add_sales(const std::vector<new_sale>& sales, const std::string& currency,
               timestamp now, pipeline& to) {
  sale_columns x{sales.size()};
  for (const auto& sale : sales)
    x.add(sale);
  to.add(write_purchases, now, currency, x.made_customer, x.branch,
         x.purchase_id, x.event_id, x.seq, x.key, x.fingerprint, x.receipt,
         x.cashier, x.pos, x.customer, x.new_customer, x.total, x.items_count,
         x.occurred_at, x.day, x.hour, x.minute, x.payload, x.line_branch,
         x.line_purchase, x.line_no, x.line_product, x.line_name, x.line_price);
}

} // namespace tillstream::storage::postgres

#include "storage/ports/purchase_store.hpp"

#include "messages/codec/event_codec.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/log.hpp"
#include "storage/postgres/pipeline.hpp"
#include "storage/postgres/purchase_batch.hpp"
#include "storage/postgres/session.hpp"
#include "storage/postgres/stores.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <map>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace postgres;
using std::chrono::steady_clock;

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
         p.new_customer, p.total_minor, p.currency, p.items_count,
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
// session that is not a writer could have the key, and then the whole
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

// -- one transaction ----------------------------------------------------------

/// A purchase that got its locks.
struct claimed_purchase {
  /// Position in the batch.
  size_t at = 0;
  const purchase* wanted = nullptr;
  int64_t seq = 0;
};

struct claimed_batch {
  std::vector<claimed_purchase> purchases;
  /// `known[i]` is what the database knows about `purchases[i]`.
  std::vector<lookup_row> known;
  /// The database's clock.
  timestamp now;
};

/// An accepted purchase, complete.
struct new_sale {
  size_t at = 0;
  const purchase* wanted = nullptr;
  int64_t seq = 0;
  recorded_purchase row;
  business_time when;
  std::shared_ptr<const std::string> payload;
};

/// What a transaction did for its part of the batch.
struct part_result {
  /// Whether the locks it waited for were free.
  bool contended = false;
  /// Positions in the batch. Whoever is missing is in progress elsewhere.
  std::vector<std::pair<size_t, record_result>> results;
  std::vector<commit_notice> committed;
  int64_t commit_us = 0;
};

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
  return result;
}

/// A part of a batch, on its way to the database.
struct batch_part {
  const std::vector<purchase_ptr>& batch;
  /// Positions in the batch.
  std::span<const size_t> positions;

  const purchase& operator[](size_t i) const {
    return *batch[positions[i]];
  }
};

size_t add_claims(const batch_part& part, pipeline& to) {
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

/// Of those that got no lock, what is known may be old: it is dropped.
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
    }
    ++i;
  }
  return result;
}

commit_notice make_notice(const new_sale& x) {
  commit_notice result;
  result.branch_id = x.row.branch_id;
  result.seq = x.seq;
  result.event_id = x.row.event_id;
  result.recorded_at = x.row.recorded_at;
  result.payload = x.payload;
  return result;
}

/// Looks names and categories up.
std::vector<event_item>
enrich(const std::vector<purchase_item>& items, const catalog* products) {
  std::vector<event_item> result;
  result.reserve(items.size());
  for (const auto& x : items) {
    event_item item;
    item.product_id = x.product_id;
    item.unit_price = x.unit_price;
    if (x.name)
      item.name = *x.name;
    if (products != nullptr) {
      if (auto known = products->find(x.product_id); known != products->end()) {
        if (!known->second.name.empty())
          item.name = known->second.name;
        item.category = known->second.category;
      }
    }
    result.push_back(std::move(item));
  }
  return result;
}

purchase_event make_event(const new_sale& x, const reference_data& reference) {
  const auto& wanted = *x.wanted;
  purchase_event result;
  result.event_id = x.row.event_id;
  result.purchase_id = x.row.purchase_id;
  result.outbox_seq = x.seq;
  result.branch_id = wanted.branch_id;
  result.cashier_id = wanted.cashier_id;
  result.pos_id = wanted.pos_id;
  result.receipt_id = wanted.receipt_id;
  result.idempotency_key = wanted.idempotency_key;
  result.user_id = x.row.user_id;
  result.new_customer = x.row.new_customer;
  result.total = wanted.total;
  result.currency = reference.chain->currency;
  result.occurred_at = x.row.occurred_at;
  result.recorded_at = x.row.recorded_at;
  result.when = x.when;
  result.items = enrich(wanted.items, reference.products.get());
  result.traceparent = wanted.traceparent;
  return result;
}

/// The clocks of the branches, made anew when a branch changes.
class branch_clocks {
public:
  /// @returns null when the chain lacks the branch, or this machine its zone.
  const branch_clock*
  find(const tillstream::chain& chain, const std::string& branch_id) {
    const auto* where = chain.find(branch_id);
    if (where == nullptr)
      return nullptr;
    auto known = clocks_.find(branch_id);
    if (known == clocks_.end() || known->second.first != *where) {
      auto clock = branch_clock::make(*where);
      if (!clock)
        return nullptr;
      known
        = clocks_.insert_or_assign(branch_id, std::pair{*where, *clock}).first;
    }
    return &known->second.second;
  }

private:
  std::map<std::string, std::pair<branch, branch_clock>> clocks_;
};

/// Keys that somebody held a moment ago: they go alone, after the others.
class held_keys {
public:
  bool contains(int64_t key) const {
    auto i = until_.find(key);
    return i != until_.end() && steady_clock::now() < i->second;
  }

  void add(int64_t key) {
    auto now = steady_clock::now();
    std::erase_if(until_, [&](const auto& x) { return x.second <= now; });
    if (until_.size() < limits::held_keys_max)
      until_[key] = now + limits::held_key_age_max;
  }

  void remove(int64_t key) {
    until_.erase(key);
  }

private:
  std::unordered_map<int64_t, steady_clock::time_point> until_;
};

// -- the store ----------------------------------------------------------------

/// One transaction for a batch, as long as nobody stands in the way:
///
/// ```
///   plan ──> claim, look up ──> resolve ──> make known ──> write, COMMIT
///              │                                   │            │
///              │ not free: in progress             │ lock time-out, deadlock:
///              v                                   v            v
///         a later batch                       halves, each in a transaction;
///                                             one that fails alone is held
/// ```
class postgres_purchase_store : public purchase_store {
public:
  postgres_purchase_store(session_ptr db, reference_source reference)
    : db_(std::move(db)),
      read_reference_(std::move(reference)) {
    // nop
  }

  caf::expected<record_batch_result>
  record(const std::vector<purchase_ptr>& batch) override;

private:
  /// State of one call of `record`.
  struct call {
    const std::vector<purchase_ptr>& batch;
    reference_data reference;
    record_batch_result result;
    size_t contended_attempts = 0;
    bool committed = false;
  };

  using positions = std::span<const size_t>;

  void write_leaders(call& c, const batch_plan& plan);
  void write(call& c, positions part, std::chrono::milliseconds timeout);
  void write_alone(call& c, const std::vector<size_t>& held);
  void take_over(call& c, part_result part);
  caf::error fail(const call& c, const std::exception& x) const;

  part_result
  attempt(const call& c, positions part, std::chrono::milliseconds timeout);
  part_result
  transact(const call& c, positions part, std::chrono::milliseconds timeout);
  std::vector<new_sale>
  accept(const call& c, const claimed_batch& claimed, part_result& part);
  bool stamp(const call& c, new_sale& x, timestamp now);
  void settle_customers(std::vector<new_sale>& sales,
                        const std::unordered_set<uuid>& known, timestamp now);
  static void write_sales(const call& c, std::vector<new_sale>& sales,
                          timestamp now, pipeline& to);

  session_ptr db_;
  reference_source read_reference_;
  branch_clocks clocks_;
  held_keys held_;
  uuid_source uuids_;
};

/// Outcomes of followers and of those who depend on somebody else's outcome.
void finish(const batch_plan& plan, const std::vector<purchase_ptr>& batch,
            std::vector<record_result>& results) {
  // A customer may be unknown only because the purchase that makes it known
  // was kept waiting, or was written after the look: then it is too early for
  // a refusal, which would be final.
  std::unordered_set<uuid> made;
  for (auto i : plan.leaders)
    if (batch[i]->new_customer && batch[i]->user_id
        && (results[i].outcome == verdict::in_progress
            || results[i].outcome == verdict::recorded))
      made.insert(*batch[i]->user_id);
  for (auto i : plan.leaders)
    if (results[i].outcome == verdict::customer_unknown
        && made.contains(*batch[i]->user_id))
      results[i].outcome = verdict::in_progress;
  for (size_t i = 0; i < batch.size(); ++i) {
    auto leader = plan.leader_of[i];
    if (leader == i)
      continue;
    results[i] = results[leader];
    if (results[i].outcome == verdict::recorded)
      results[i].outcome = verdict::replayed;
  }
}

caf::expected<record_batch_result>
postgres_purchase_store::record(const std::vector<purchase_ptr>& batch) {
  assert(!batch.empty() && batch.size() <= limits::write_batch_max);
  call c{batch, read_reference_(), {}};
  c.result.results.resize(batch.size());
  auto plan = plan_batch(batch);
  try {
    write_leaders(c, plan);
  } catch (const std::exception& x) {
    return fail(c, x);
  }
  finish(plan, batch, c.result.results);
  std::sort(c.result.committed.begin(), c.result.committed.end(),
            [](const auto& a, const auto& b) { return a.seq < b.seq; });
  return std::move(c.result);
}

/// 'Unavailable' promises that nothing is durable.
caf::error
postgres_purchase_store::fail(const call& c, const std::exception& x) const {
  auto why = classify(*db_, x);
  return to_error(c.committed ? failure::in_doubt : why, x);
}

void postgres_purchase_store::write_leaders(call& c, const batch_plan& plan) {
  std::vector<size_t> free;
  std::vector<size_t> held;
  for (auto i : plan.leaders)
    (held_.contains(key_lock(*c.batch[i])) ? held : free).push_back(i);
  if (!free.empty())
    write(c, free, limits::lock_timeout);
  write_alone(c, held);
}

void postgres_purchase_store::write_alone(call& c,
                                          const std::vector<size_t>& held) {
  auto count = std::min(held.size(), limits::held_keys_tried_max);
  for (size_t i = 0; i < count; ++i)
    write(c, positions{held}.subspan(i, 1), limits::contended_lock_timeout);
}

/// Writes a part of the batch; halves it while it meets held locks.
void postgres_purchase_store::write(call& c, positions part,
                                    std::chrono::milliseconds timeout) {
  if (c.contended_attempts >= limits::contended_attempts_max)
    return;
  auto done = attempt(c, part, timeout);
  if (!done.contended) {
    take_over(c, std::move(done));
    return;
  }
  ++c.contended_attempts;
  if (part.size() == 1) {
    held_.add(key_lock(*c.batch[part[0]]));
    return;
  }
  auto half = part.size() / 2;
  write(c, part.first(half), limits::contended_lock_timeout);
  write(c, part.subspan(half), limits::contended_lock_timeout);
}

void postgres_purchase_store::take_over(call& c, part_result part) {
  for (auto& [at, result] : part.results) {
    held_.remove(key_lock(*c.batch[at]));
    c.result.results[at] = std::move(result);
  }
  c.committed = c.committed || !part.committed.empty();
  std::move(part.committed.begin(), part.committed.end(),
            std::back_inserter(c.result.committed));
  c.result.commit_us += part.commit_us;
}

/// One transaction; turns what only costs this part into `contended`.
part_result
postgres_purchase_store::attempt(const call& c, positions part,
                                 std::chrono::milliseconds timeout) {
  try {
    return transact(c, part, timeout);
  } catch (const std::exception& x) {
    auto why = classify(*db_, x);
    // A duplicate is the row of a session that is not a writer: the next look
    // sees it. A value that the server refuses must not stop its neighbours.
    if (why != failure::contention && why != failure::duplicate
        && why != failure::bad_data)
      throw;
    if (why == failure::bad_data)
      log::error("purchase-refused-by-database", {{"reason", x.what()}});
  }
  part_result result;
  result.contended = true;
  return result;
}

part_result
postgres_purchase_store::transact(const call& c, positions part,
                                  std::chrono::milliseconds timeout) {
  part_result result;
  pipeline first{*db_};
  transaction tx{*db_, first};
  if (timeout != limits::lock_timeout)
    first.add_sql(fmt::format("SET LOCAL lock_timeout = {}", timeout.count()));
  first.add_sql(take_id);
  batch_part asked{c.batch, part};
  auto locks = add_claims(asked, first);
  auto known = add_look_up(asked, first);
  auto replies = first.run();
  auto claimed = read_claimed(asked, replies[locks], replies[known]);
  if (claimed.purchases.empty())
    return result;
  auto sales = accept(c, claimed, result);
  if (sales.empty())
    return result;
  pipeline last{*db_};
  write_sales(c, sales, claimed.now, last);
  auto before = steady_clock::now();
  tx.commit(last);
  result.commit_us = std::chrono::duration_cast<std::chrono::microseconds>(
                       steady_clock::now() - before)
                       .count();
  for (auto& x : sales) {
    result.committed.push_back(make_notice(x));
    result.results.emplace_back(
      x.at, record_result{verdict::recorded, std::move(x.row)});
  }
  return result;
}

/// Resolves the claimed purchases. @returns those to be written; the others'
/// results are in `part`.
std::vector<new_sale>
postgres_purchase_store::accept(const call& c, const claimed_batch& claimed,
                                part_result& part) {
  std::vector<const purchase*> wanted;
  for (const auto& x : claimed.purchases)
    wanted.push_back(x.wanted);
  auto resolutions = resolve(wanted, claimed.known);
  std::vector<new_sale> sales;
  std::unordered_set<uuid> known;
  std::vector<std::optional<uuid>> made(resolutions.size());
  for (size_t i = 0; i < resolutions.size(); ++i) {
    const auto& x = claimed.purchases[i];
    auto& [outcome, purchase, rival] = resolutions[i];
    if (outcome != verdict::recorded) {
      if (rival && !made[*rival])
        continue; // Its rival could not be stamped.
      if (rival)
        purchase.purchase_id = *made[*rival];
      part.results.emplace_back(x.at,
                                record_result{outcome, std::move(purchase)});
      continue;
    }
    new_sale sale;
    sale.at = x.at;
    sale.wanted = x.wanted;
    sale.seq = x.seq;
    if (!stamp(c, sale, claimed.now))
      continue;
    made[i] = sale.row.purchase_id;
    if (claimed.known[i].customer_known)
      known.insert(*x.wanted->user_id);
    sales.push_back(std::move(sale));
  }
  settle_customers(sales, known, claimed.now);
  return sales;
}

/// Fills in what the store decides by itself. @returns false when the branch
/// is unknown here: it waits for fresher reference data.
bool postgres_purchase_store::stamp(const call& c, new_sale& x, timestamp now) {
  const auto& wanted = *x.wanted;
  const auto* clock = clocks_.find(*c.reference.chain, wanted.branch_id);
  if (clock == nullptr) {
    log::error("branch-without-clock", {{"branch", wanted.branch_id}});
    return false;
  }
  auto& row = x.row;
  row.purchase_id = uuids_.v7(now);
  row.event_id = uuids_.v7(now);
  row.branch_id = wanted.branch_id;
  row.receipt_id = wanted.receipt_id;
  row.user_id = wanted.user_id ? *wanted.user_id : uuids_.v4();
  row.new_customer = !wanted.user_id;
  row.total = wanted.total;
  row.currency = c.reference.chain->currency.code;
  row.items_count = static_cast<int>(wanted.items.size());
  row.occurred_at = wanted.occurred_at.value_or(now);
  row.recorded_at = now;
  x.when = clock->at(row.occurred_at);
  return true;
}

/// Makes customers known whom tills made up. New is the first purchase of the
/// batch that says so, unless somebody else was faster.
void postgres_purchase_store::settle_customers(
  std::vector<new_sale>& sales, const std::unordered_set<uuid>& known,
  timestamp now) {
  std::map<uuid, new_sale*> first;
  for (auto& x : sales)
    if (x.wanted->new_customer && x.wanted->user_id
        && !known.contains(*x.wanted->user_id))
      first.emplace(*x.wanted->user_id, &x);
  if (first.empty())
    return;
  array_of<uuid> ids;
  for (const auto& [id, sale] : first)
    ids.add(id);
  for (auto row : db_->exec(make_customers_known, ids, now))
    first.at(as_uuid(row[0]))->row.new_customer = true;
}

void postgres_purchase_store::write_sales(const call& c,
                                          std::vector<new_sale>& sales,
                                          timestamp now, pipeline& to) {
  sale_columns x{sales.size()};
  for (auto& sale : sales) {
    sale.payload = std::make_shared<const std::string>(
      encode_event(make_event(sale, c.reference)));
    x.add(sale);
  }
  to.add(write_purchases, now, c.reference.chain->currency.code,
         x.made_customer, x.branch, x.purchase_id, x.event_id, x.seq, x.key,
         x.fingerprint, x.receipt, x.cashier, x.pos, x.customer, x.new_customer,
         x.total, x.items_count, x.occurred_at, x.day, x.hour, x.minute,
         x.payload, x.line_branch, x.line_purchase, x.line_no, x.line_product,
         x.line_name, x.line_price);
}

} // namespace

caf::expected<purchase_store_ptr>
open_purchase_store(const std::string& dsn, reference_source reference) {
  session_options options;
  options.application_name = "tillstream-writer";
  options.pinned_plans = true;
  auto db = open_session(dsn, options);
  if (!db)
    return db.error();
  return purchase_store_ptr{std::make_unique<postgres_purchase_store>(
    std::move(*db), std::move(reference))};
}

} // namespace tillstream::storage

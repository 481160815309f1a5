#include "storage/ports/purchase_store.hpp"

#include "messages/codec/event_codec.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/log.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/purchase_batch.hpp"
#include "storage/postgres/purchase_rows.hpp"
#include "storage/postgres/stores.hpp"
#include "storage/postgres/transaction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <map>
#include <set>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace postgres;
using std::chrono::steady_clock;

// -- one transaction ----------------------------------------------------------

/// What stood in the way of a transaction that was rolled back.
enum class obstacle : uint8_t {
  none,
  /// Another transaction's row has the key or the receipt of a purchase.
  held_key,
  /// Something else of one purchase: a customer whom another transaction makes
  /// known, a value that the server refuses.
  purchase,
  /// Nothing of the purchases: a lock on a table, a deadlock.
  server,
};

/// @returns `none` for what a part of the batch cannot mend.
obstacle obstacle_of(failure why, std::string_view text) {
  auto says = [&](std::string_view x) {
    return text.find(x) != std::string_view::npos;
  };
  switch (why) {
    case failure::duplicate:
      // The row of a client that is no writer: the next lookup sees it.
      return obstacle::held_key;
    case failure::bad_data:
      return obstacle::purchase;
    case failure::contention:
      // Only the context of a lock time-out tells a row from a table. A server
      // that speaks another language makes all of them the server's.
      if (!says("while inserting index tuple"))
        return obstacle::server;
      return says("in relation \"purchases_branch_id_") ? obstacle::held_key
                                                        : obstacle::purchase;
    case failure::in_doubt:
    case failure::broken:
    case failure::exhausted:
    case failure::bug:
      break;
  }
  return obstacle::none;
}

/// What a transaction did for its part of the batch.
struct part_result {
  /// If any: nothing was done.
  obstacle met = obstacle::none;
  caf::error reason;
  /// Positions in the batch. Whoever is missing could not be written.
  std::vector<std::pair<size_t, record_result>> results;
  std::vector<commit_notice> committed;
  int64_t commit_us = 0;
};

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

/// Knows how long nothing could be written.
class trouble_watch {
public:
  void end() {
    since_.reset();
  }

  /// @returns whether it has lasted for too long.
  bool go_on(const caf::error& reason) {
    auto now = steady_clock::now();
    if (!since_ || now - last_ > limits::write_wait_max) {
      since_ = now;
      log::warning("purchase_store.nothing_written",
                   {{"reason", describe(reason)}});
    }
    last_ = now;
    return now - *since_ >= limits::write_trouble_max;
  }

private:
  std::optional<steady_clock::time_point> since_;
  steady_clock::time_point last_;
};

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
///                                             one that fails alone is in
///                                             progress if a row has its key,
///                                             else unavailable
/// ```
class postgres_purchase_store : public purchase_store {
public:
  postgres_purchase_store(connection_ptr db, reference_source reference)
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
    /// Why the server could not write; none: it could.
    caf::error trouble = {};
  };

  using positions = std::span<const size_t>;

  void write_representatives(call& c, const batch_plan& plan);
  void write(call& c, positions part, std::chrono::milliseconds timeout);
  void write_alone(call& c, const std::vector<size_t>& held);
  void give_up(call& c, size_t at, const part_result& failed);
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

  connection_ptr db_;
  reference_source read_reference_;
  branch_clocks clocks_;
  held_keys held_;
  trouble_watch trouble_;
  uuid_source uuids_;
};

/// Outcomes of duplicates and of those who depend on somebody else's outcome.
void finish(const batch_plan& plan, const std::vector<purchase_ptr>& batch,
            std::vector<record_result>& results) {
  // A customer may be unknown only because the purchase that makes it known
  // was kept waiting, or was written after the lookup: then it is too early for
  // a refusal, which would be final.
  std::unordered_map<uuid, verdict> made;
  for (auto i : plan.representatives) {
    auto outcome = results[i].outcome;
    if (batch[i]->new_customer && batch[i]->user_id
        && (outcome == verdict::in_progress || outcome == verdict::unavailable
            || outcome == verdict::recorded))
      made[*batch[i]->user_id] = outcome;
  }
  for (auto i : plan.representatives) {
    auto& outcome = results[i].outcome;
    if (outcome != verdict::customer_unknown)
      continue;
    if (auto maker = made.find(*batch[i]->user_id); maker != made.end())
      outcome = maker->second == verdict::in_progress ? verdict::in_progress
                                                      : verdict::unavailable;
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    auto representative = plan.representative_of[i];
    if (representative == i)
      continue;
    results[i] = results[representative];
    if (results[i].outcome == verdict::recorded)
      results[i].outcome = verdict::replayed;
  }
}

caf::expected<record_batch_result>
postgres_purchase_store::record(const std::vector<purchase_ptr>& batch) {
  assert(!batch.empty() && batch.size() <= limits::write_batch_max);
  call c{batch, read_reference_(), {}};
  c.result.results.assign(batch.size(), {verdict::unavailable, {}});
  auto plan = plan_batch(batch);
  try {
    write_representatives(c, plan);
  } catch (const std::exception& x) {
    return fail(c, x);
  }
  if (c.committed)
    trouble_.end();
  else if (c.trouble && trouble_.go_on(c.trouble))
    return c.trouble;
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

void postgres_purchase_store::write_representatives(call& c,
                                                    const batch_plan& plan) {
  std::vector<size_t> free;
  std::vector<size_t> held;
  for (auto i : plan.representatives)
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
  if (done.met == obstacle::none) {
    take_over(c, std::move(done));
    return;
  }
  ++c.contended_attempts;
  if (done.met == obstacle::server)
    c.trouble = done.reason;
  if (part.size() == 1) {
    give_up(c, part[0], done);
    return;
  }
  auto half = part.size() / 2;
  write(c, part.first(half), limits::contended_lock_timeout);
  write(c, part.subspan(half), limits::contended_lock_timeout);
}

/// Deals with a purchase that cannot be written, even alone.
void postgres_purchase_store::give_up(call& c, size_t at,
                                      const part_result& failed) {
  if (failed.met == obstacle::server)
    return;
  auto key = key_lock(*c.batch[at]);
  if (failed.met == obstacle::held_key)
    c.result.results[at].outcome = verdict::in_progress;
  else if (!held_.contains(key))
    log::warning("purchase_store.purchase_not_written",
                 {{"branch", c.batch[at]->branch_id},
                  {"reason", describe(failed.reason)}});
  held_.add(key);
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

/// One transaction; turns what only costs this part into its obstacle.
part_result
postgres_purchase_store::attempt(const call& c, positions part,
                                 std::chrono::milliseconds timeout) {
  try {
    return transact(c, part, timeout);
  } catch (const std::exception& x) {
    part_result result;
    auto why = classify(*db_, x);
    result.met = obstacle_of(why, x.what());
    result.reason = to_error(why, x);
    if (result.met == obstacle::none)
      throw;
    return result;
  }
}

part_result
postgres_purchase_store::transact(const call& c, positions part,
                                  std::chrono::milliseconds timeout) {
  part_result result;
  pipeline first{*db_};
  transaction tx{*db_, first};
  if (timeout != limits::lock_timeout)
    first.add_sql(fmt::format("SET LOCAL lock_timeout = {}", timeout.count()));
  batch_part asked{c.batch, part};
  auto locks = add_claims(asked, first);
  auto known = add_look_up(asked, first);
  auto replies = first.run();
  auto claimed = read_claimed(asked, replies[locks], replies[known]);
  for (auto at : claimed.held)
    result.results.emplace_back(at, record_result{verdict::in_progress, {}});
  if (claimed.purchases.empty())
    return result;
  auto sales = accept(c, claimed, result);
  if (sales.empty())
    return result;
  pipeline last{*db_};
  for (auto& x : sales)
    x.payload = std::make_shared<const std::string>(
      encode_event(make_event(x, c.reference)));
  add_sales(sales, c.reference.chain->currency.code, claimed.now, last);
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
/// is unknown here, or its time zone: it waits for fresher reference data.
bool postgres_purchase_store::stamp(const call& c, new_sale& x, timestamp now) {
  const auto& wanted = *x.wanted;
  const auto* clock = clocks_.find(*c.reference.chain, wanted.branch_id);
  if (clock == nullptr) {
    log::error("purchase_store.branch_without_clock",
               {{"branch", wanted.branch_id}});
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
  row.outbox_seq = x.seq;
  x.when = clock->at(row.occurred_at);
  return true;
}

/// Makes customers known whom tills made up. New is the first purchase of the
/// batch that says so, unless somebody else was faster.
void postgres_purchase_store::settle_customers(
  std::vector<new_sale>& sales, const std::unordered_set<uuid>& known,
  timestamp now) {
  std::map<uuid, new_sale*> first;
  std::set<uuid> ids;
  for (auto& x : sales)
    if (x.wanted->new_customer && x.wanted->user_id
        && !known.contains(*x.wanted->user_id))
      first.emplace(*x.wanted->user_id, &x);
  if (first.empty())
    return;
  for (const auto& [id, sale] : first)
    ids.insert(id);
  for (const auto& id : make_known(*db_, ids, now))
    first.at(id)->row.new_customer = true;
}

} // namespace

caf::expected<purchase_store_ptr>
open_purchase_store(const std::string& dsn, reference_source reference) {
  auto db = open_connection(
    dsn, {.application_name = "tillstream-writer", .pinned_plans = true});
  if (!db)
    return db.error();
  return guarded(**db, [&]() -> caf::expected<purchase_store_ptr> {
    check_writable(**db);
    return purchase_store_ptr{std::make_unique<postgres_purchase_store>(
      std::move(*db), std::move(reference))};
  });
}

} // namespace tillstream::storage

#include "storage/ports/ownership_store.hpp"

#include "storage/postgres/connection.hpp"
#include "storage/postgres/stores.hpp"
#include "storage/postgres/transaction.hpp"

#include <pqxx/row>

#include <chrono>
#include <map>
#include <set>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace postgres;

// -- statements ---------------------------------------------------------------

// Whoever lives under this name, locked, so that two of one name take turns.
constexpr statement lock_node{"ownership_lock_node", R"(
  SELECT process, alive AND expires_at > clock_timestamp()
    FROM nodes
   WHERE name = $1
     FOR UPDATE)"};

constexpr statement join_sql{"ownership_join", R"(
  INSERT INTO nodes AS n
    (name, incarnation, process, roles, version, http, expires_at)
  VALUES ($1, nextval('node_incarnations'), $2::uuid, $3, $4, $5,
          clock_timestamp() + $6::bigint * interval '1 ms')
  ON CONFLICT (name) DO UPDATE
    SET incarnation = EXCLUDED.incarnation,
        process = EXCLUDED.process,
        roles = EXCLUDED.roles,
        version = EXCLUDED.version,
        http = EXCLUDED.http,
        alive = true,
        willing = true,
        draining = n.draining AND NOT $7::boolean,
        started_at = CASE WHEN $7::boolean THEN clock_timestamp()
                     ELSE n.started_at END,
        renewed_at = clock_timestamp(),
        expires_at = EXCLUDED.expires_at
  RETURNING incarnation)"};

// Nodes of the past that own nothing any more.
constexpr statement delete_old_nodes{"ownership_forget_nodes", R"(
  DELETE FROM nodes n
   WHERE NOT n.alive
     AND n.renewed_at < clock_timestamp() - interval '1 day'
     AND NOT EXISTS (SELECT FROM shard_ownership o WHERE o.node = n.name))"};

// One statement a heartbeat. What it reads is from before its own renewal, so
// the node's own row is marked by `renewed`. An UPDATE that waited for
// `declare_dead` reads the row again and finds it dead: no lease is renewed
// that somebody may have acted upon.
constexpr statement heartbeat_sql{"ownership_beat", R"(
  WITH renewed AS (
    UPDATE nodes
       SET renewed_at = clock_timestamp(),
           expires_at = clock_timestamp() + $3::bigint * interval '1 ms',
           willing = $4::boolean,
           lag_ms = $5::bigint
     WHERE name = $1 AND incarnation = $2::bigint AND alive
    RETURNING name)
  SELECT n.name, n.incarnation, n.roles, n.version, n.http, n.alive,
         n.alive AND n.expires_at > clock_timestamp() AS holds,
         n.willing, n.draining, n.lag_ms,
         (extract(epoch FROM clock_timestamp() - n.renewed_at) * 1000)::bigint
           AS silent_ms,
         r.name IS NOT NULL AS renewed,
         o.epochs, o.owned, o.branches
    FROM nodes n
    LEFT JOIN renewed r ON r.name = n.name
   CROSS JOIN (
     SELECT coalesce(sum(epoch), 0)::bigint AS epochs, count(node) AS owned,
            count(*) AS branches
       FROM shard_ownership) o
   ORDER BY n.name)"};

constexpr statement list_nodes{"ownership_list_nodes", R"(
  SELECT name, incarnation, roles, version, http, alive,
         alive AND expires_at > clock_timestamp() AS holds,
         willing, draining, lag_ms,
         (extract(epoch FROM clock_timestamp() - renewed_at) * 1000)::bigint
           AS silent_ms
    FROM nodes
   ORDER BY name)"};

constexpr statement list_owners{"ownership_list_owners", R"(
  SELECT branch_id, node, incarnation, epoch, next_node
    FROM shard_ownership
   ORDER BY branch_id)"};

constexpr statement declare_dead_sql{"ownership_declare_dead", R"(
  UPDATE nodes
     SET alive = false
   WHERE name = $1 AND incarnation = $2::bigint AND alive
     AND expires_at < clock_timestamp())"};

constexpr statement is_alive{"ownership_is_alive", R"(
  SELECT EXISTS (SELECT FROM nodes
                  WHERE name = $1 AND incarnation = $2::bigint AND alive))"};

constexpr statement add_cursors{"ownership_add_cursors", R"(
  INSERT INTO branch_cursors (branch_id)
  SELECT unnest($1::text[])
  ON CONFLICT (branch_id) DO NOTHING)"};

constexpr statement add_owners{"ownership_add_owners", R"(
  INSERT INTO shard_ownership (branch_id)
  SELECT unnest($1::text[])
  ON CONFLICT (branch_id) DO NOTHING)"};

constexpr statement lock_free{"ownership_lock_free", R"(
  SELECT o.branch_id,
         (extract(epoch FROM clock_timestamp() - o.released_at) * 1000)::bigint
           AS unowned_ms
    FROM shard_ownership o
   WHERE o.branch_id = ANY ($1::text[])
     AND NOT EXISTS (
       SELECT FROM nodes n
        WHERE n.name = o.node AND n.incarnation = o.incarnation AND n.alive)
   ORDER BY o.branch_id
     FOR UPDATE OF o SKIP LOCKED)"};

// Checks again whether they are free: with the rows locked, and seeing nodes
// that had not joined yet when the rows were read.
constexpr statement acquire_free{"ownership_take", R"(
  UPDATE shard_ownership o
     SET node = $2, incarnation = $3::bigint, epoch = epoch + 1,
         next_node = NULL, released_at = NULL, taken_at = clock_timestamp()
   WHERE o.branch_id = ANY ($1::text[])
     AND NOT EXISTS (
       SELECT FROM nodes n
        WHERE n.name = o.node AND n.incarnation = o.incarnation AND n.alive)
     AND EXISTS (
       SELECT FROM nodes n
        WHERE n.name = $2 AND n.incarnation = $3::bigint AND n.alive)
  RETURNING o.branch_id, o.epoch)"};

constexpr statement lock_own{"ownership_lock_own", R"(
  SELECT branch_id
    FROM shard_ownership
   WHERE branch_id = ANY ($1::text[])
     AND node = $2 AND incarnation = $3::bigint
   ORDER BY branch_id
     FOR UPDATE)"};

// The epoch stays: whoever acquires the branch raises it.
constexpr statement release_sql{"ownership_release", R"(
  UPDATE shard_ownership o
     SET node = NULL, next_node = nullif(s.next, ''),
         released_at = clock_timestamp()
    FROM unnest($1::text[], $2::text[]) AS s (branch_id, next)
   WHERE o.branch_id = s.branch_id
     AND o.node = $3 AND o.incarnation = $4::bigint)"};

constexpr statement lock_all_own{"ownership_lock_all_own", R"(
  SELECT branch_id
    FROM shard_ownership
   WHERE node = $1 AND incarnation = $2::bigint
   ORDER BY branch_id
     FOR UPDATE)"};

constexpr statement release_all{"ownership_release_all", R"(
  UPDATE shard_ownership
     SET node = NULL, next_node = NULL, released_at = clock_timestamp()
   WHERE node = $1 AND incarnation = $2::bigint)"};

constexpr statement end_node{"ownership_end_node", R"(
  UPDATE nodes
     SET alive = false
   WHERE name = $1 AND incarnation = $2::bigint)"};

constexpr statement set_draining_sql{"ownership_set_draining", R"(
  UPDATE nodes
     SET draining = $2::boolean
   WHERE name = $1 AND alive)"};

// -- bounds -------------------------------------------------------------------

/// How long a release waits for the apply that holds a branch: for longer
/// than a transaction of a frozen node lives.
constexpr auto release_lock_timeout = std::chrono::seconds{3};

// -- rows ---------------------------------------------------------------------

node_state read_node(const pqxx::row& row) {
  node_state result;
  result.name = as_text(row["name"]);
  result.incarnation = as_int(row["incarnation"]);
  result.roles = as_text(row["roles"]);
  result.version = as_text(row["version"]);
  result.http = as_text(row["http"]);
  result.alive = as_bool(row["alive"]);
  result.holds = as_bool(row["holds"]);
  result.eligible = as_bool(row["willing"]);
  result.draining = as_bool(row["draining"]);
  result.lag_ms = as_int(row["lag_ms"]);
  result.silent_ms = as_int(row["silent_ms"]);
  return result;
}

branch_owner read_owner(const pqxx::row& row) {
  branch_owner result;
  result.branch_id = as_text(row[0]);
  result.node = as_text(row[1]);
  result.incarnation = as_int(row[2]);
  result.epoch = as_int(row[3]);
  result.next = as_text(row[4]);
  return result;
}

// -- the store ----------------------------------------------------------------

class postgres_ownership_store final : public ownership_store {
public:
  explicit postgres_ownership_store(connection_ptr opened)
    : db_(std::move(opened)) {
    // nop
  }

  caf::expected<int64_t>
  join(const node_identity& who, std::chrono::milliseconds lease,
       bool first) override {
    return guarded(*db_, [&]() -> caf::expected<int64_t> {
      transaction tx{*db_};
      auto before = db_->exec(lock_node, who.name);
      if (!first && !before.empty() && as_uuid(before[0][0]) != who.process
          && as_bool(before[0][1]))
        return caf::make_error(
          errc::not_owner, "another process runs under the name " + who.name);
      auto rows = db_->exec(join_sql, who.name, who.process, who.roles,
                            who.version, who.http, lease.count(), first);
      auto result = as_int(rows[0][0]);
      db_->exec(delete_old_nodes);
      tx.commit();
      return result;
    });
  }

  caf::expected<heartbeat_outcome>
  heartbeat(const heartbeat_report& report,
            std::chrono::milliseconds lease) override {
    return guarded(*db_, [&]() -> caf::expected<heartbeat_outcome> {
      heartbeat_outcome result;
      for (const auto& row :
           db_->exec(heartbeat_sql, report.name, report.incarnation,
                     lease.count(), report.eligible, report.lag_ms)) {
        auto node = read_node(row);
        if (as_bool(row["renewed"])) {
          result.kept = true;
          node.holds = true;
          node.eligible = report.eligible;
          node.silent_ms = 0;
        }
        result.nodes.push_back(std::move(node));
        result.digest = {as_int(row["epochs"]), as_int(row["owned"]),
                         as_int(row["branches"])};
      }
      return result;
    });
  }

  caf::expected<std::vector<node_state>> nodes() override {
    using result_type = std::vector<node_state>;
    return guarded(*db_, [&]() -> caf::expected<result_type> {
      result_type result;
      for (const auto& row : db_->exec(list_nodes))
        result.push_back(read_node(row));
      return result;
    });
  }

  caf::expected<std::vector<branch_owner>> owners() override {
    using result_type = std::vector<branch_owner>;
    return guarded(*db_, [&]() -> caf::expected<result_type> {
      result_type result;
      for (const auto& row : db_->exec(list_owners))
        result.push_back(read_owner(row));
      return result;
    });
  }

  caf::expected<bool>
  declare_dead(const std::string& name, int64_t incarnation) override {
    return guarded(*db_, [&]() -> caf::expected<bool> {
      db_->exec(declare_dead_sql, name, incarnation);
      return !as_bool(db_->exec(is_alive, name, incarnation)[0][0]);
    });
  }

  caf::expected<std::vector<acquired_branch>>
  acquire(const std::string& name, int64_t incarnation,
          const std::vector<std::string>& branch_ids) override {
    using result_type = std::vector<acquired_branch>;
    // Rows are inserted and locked in branch order.
    std::set<std::string> sorted{branch_ids.begin(), branch_ids.end()};
    return guarded(*db_, [&]() -> caf::expected<result_type> {
      transaction tx{*db_};
      auto all = to_array(sorted);
      db_->exec(add_cursors, all);
      db_->exec(add_owners, all);
      std::map<std::string, int64_t> unowned;
      text_array free;
      for (const auto& row : db_->exec(lock_free, all)) {
        free.add(as_text(row[0]));
        unowned[as_text(row[0])] = row[1].is_null() ? -1 : as_int(row[1]);
      }
      result_type result;
      for (const auto& row : db_->exec(acquire_free, free, name, incarnation))
        result.push_back(
          {as_text(row[0]), as_int(row[1]), unowned[as_text(row[0])]});
      tx.commit();
      return result;
    });
  }

  caf::expected<void> release(
    const std::string& name, int64_t incarnation,
    const std::vector<std::pair<std::string, std::string>>& branches) override {
    return guarded(*db_, [&]() -> caf::expected<void> {
      text_array ids, nexts;
      for (const auto& [id, next] : branches) {
        ids.add(id);
        nexts.add(next);
      }
      transaction tx{*db_};
      db_->exec(lock_own, ids, name, incarnation);
      db_->exec(release_sql, ids, nexts, name, incarnation);
      tx.commit();
      return caf::unit;
    });
  }

  caf::expected<void>
  leave(const std::string& name, int64_t incarnation) override {
    return guarded(*db_, [&]() -> caf::expected<void> {
      transaction tx{*db_};
      db_->exec(lock_all_own, name, incarnation);
      db_->exec(release_all, name, incarnation);
      db_->exec(end_node, name, incarnation);
      tx.commit();
      return caf::unit;
    });
  }

  caf::expected<void>
  set_draining(const std::string& name, bool draining) override {
    return guarded(*db_, [&]() -> caf::expected<void> {
      auto result = db_->exec(set_draining_sql, name, draining);
      if (result.affected_rows() == 0)
        return caf::make_error(errc::not_found, "no node " + name);
      return caf::unit;
    });
  }

private:
  connection_ptr db_;
};

} // namespace

caf::expected<ownership_store_ptr>
open_ownership_store(const std::string& dsn) {
  return open_store<ownership_store, postgres_ownership_store>(
    dsn, {.application_name = "tillstream-ownership",
          .lock_timeout = release_lock_timeout});
}

} // namespace tillstream::storage

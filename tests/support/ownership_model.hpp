#pragma once

#include "messages/core/error.hpp"
#include "storage/ports/ownership_store.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

/// @file tests/support/ownership_model.hpp
/// The tables of nodes and owners as a model, with a clock of the test's.

namespace tillstream::test {

class ownership_tables {
public:
  using ms = std::chrono::milliseconds;

  struct node_row {
    node_state said;
    uuid process;
    ms renewed_at{0};
    ms expires_at{0};
  };

  struct owner_row {
    branch_owner said;
    ms released_at{-1};
  };

  explicit ownership_tables(std::function<ms()> now) : now_(std::move(now)) {
    // nop
  }

  caf::expected<int64_t>
  join(const storage::node_identity& who, ms lease, bool first) {
    auto& row = nodes[who.name];
    if (!first && row.said.alive && row.process != who.process
        && row.expires_at > now_())
      return caf::make_error(errc::not_owner, "another process");
    auto draining = row.said.draining && !first;
    row.said = {};
    row.said.name = who.name;
    row.said.incarnation = ++incarnations_;
    row.said.roles = who.roles;
    row.said.alive = true;
    row.said.eligible = true;
    row.said.draining = draining;
    row.process = who.process;
    row.renewed_at = now_();
    row.expires_at = now_() + lease;
    return row.said.incarnation;
  }

  storage::heartbeat_outcome
  heartbeat(const storage::heartbeat_report& report, ms lease) {
    storage::heartbeat_outcome result;
    auto& own = nodes[report.name];
    if (own.said.alive && own.said.incarnation == report.incarnation) {
      own.renewed_at = now_();
      own.expires_at = now_() + lease;
      own.said.eligible = report.eligible;
      result.kept = true;
    }
    result.nodes = list_nodes();
    result.digest = {0, 0, static_cast<int64_t>(owners.size())};
    for (const auto& [id, x] : owners) {
      result.digest.epochs += x.said.epoch;
      result.digest.owned += x.said.node.empty() ? 0 : 1;
    }
    return result;
  }

  std::vector<node_state> list_nodes() const {
    std::vector<node_state> result;
    for (const auto& [name, x] : nodes) {
      result.push_back(x.said);
      result.back().holds = x.said.alive && x.expires_at > now_();
      result.back().silent_ms = (now_() - x.renewed_at).count();
    }
    return result;
  }

  std::vector<branch_owner> list_owners() const {
    std::vector<branch_owner> result;
    for (const auto& [id, x] : owners)
      result.push_back(x.said);
    return result;
  }

  bool lives(const std::string& name, int64_t incarnation) const {
    auto i = nodes.find(name);
    return i != nodes.end() && i->second.said.alive
           && i->second.said.incarnation == incarnation;
  }

  bool declare_dead(const std::string& name, int64_t incarnation) {
    if (!lives(name, incarnation))
      return true;
    auto& x = nodes[name];
    if (x.expires_at >= now_())
      return false;
    x.said.alive = false;
    return true;
  }

  std::vector<storage::acquired_branch>
  acquire(const std::string& name, int64_t incarnation,
          const std::vector<std::string>& ids) {
    std::vector<storage::acquired_branch> result;
    for (const auto& id : ids) {
      auto& x = owners[id];
      x.said.branch_id = id;
      if (lives(x.said.node, x.said.incarnation) || !lives(name, incarnation))
        continue;
      auto unowned
        = x.released_at < ms{0} ? -1 : (now_() - x.released_at).count();
      x.said.node = name;
      x.said.incarnation = incarnation;
      x.said.next.clear();
      x.released_at = ms{-1};
      result.push_back({id, ++x.said.epoch, unowned});
      ++changes;
    }
    return result;
  }

  void release(const std::string& name, int64_t incarnation,
               const std::vector<std::pair<std::string, std::string>>& xs) {
    for (const auto& [id, next] : xs) {
      auto& x = owners[id];
      if (x.said.node != name || x.said.incarnation != incarnation)
        continue;
      x.said.node.clear();
      x.said.next = next;
      x.released_at = now_();
    }
  }

  void leave(const std::string& name, int64_t incarnation) {
    for (auto& [id, x] : owners)
      if (x.said.node == name && x.said.incarnation == incarnation) {
        x.said.node.clear();
        x.said.next.clear();
        x.released_at = now_();
      }
    if (lives(name, incarnation))
      nodes[name].said.alive = false;
  }

  std::map<std::string, node_row> nodes;
  std::map<std::string, owner_row> owners;
  /// How often a branch was acquired.
  size_t changes = 0;

private:
  std::function<ms()> now_;
  int64_t incarnations_ = 0;
};

using ownership_tables_ptr = std::shared_ptr<ownership_tables>;

/// A store on the model.
class model_ownership_store : public storage::ownership_store {
public:
  /// What the database does to one node.
  struct mood {
    bool down = false;
    /// Calls that are carried out and answered `errc::in_doubt`.
    int doubtful = 0;
    size_t heartbeats = 0;
    /// Of the last heartbeat.
    int64_t lag_ms = 0;
  };

  model_ownership_store(ownership_tables_ptr tables, std::shared_ptr<mood> how)
    : tables_(std::move(tables)),
      how_(std::move(how)) {
    // nop
  }

  caf::expected<int64_t>
  join(const storage::node_identity& who, std::chrono::milliseconds lease,
       bool first) override {
    return run<int64_t>([&] { return tables_->join(who, lease, first); });
  }

  caf::expected<storage::heartbeat_outcome>
  heartbeat(const storage::heartbeat_report& report,
            std::chrono::milliseconds lease) override {
    ++how_->heartbeats;
    how_->lag_ms = report.lag_ms;
    return run<storage::heartbeat_outcome>(
      [&] { return tables_->heartbeat(report, lease); });
  }

  caf::expected<std::vector<node_state>> nodes() override {
    return run<std::vector<node_state>>([&] { return tables_->list_nodes(); });
  }

  caf::expected<std::vector<branch_owner>> owners() override {
    return run<std::vector<branch_owner>>(
      [&] { return tables_->list_owners(); });
  }

  caf::expected<bool>
  declare_dead(const std::string& name, int64_t incarnation) override {
    return run<bool>([&] { return tables_->declare_dead(name, incarnation); });
  }

  caf::expected<std::vector<storage::acquired_branch>>
  acquire(const std::string& name, int64_t incarnation,
          const std::vector<std::string>& branch_ids) override {
    return run<std::vector<storage::acquired_branch>>(
      [&] { return tables_->acquire(name, incarnation, branch_ids); });
  }

  caf::expected<void> release(
    const std::string& name, int64_t incarnation,
    const std::vector<std::pair<std::string, std::string>>& branches) override {
    return run<void>([&]() -> caf::expected<void> {
      tables_->release(name, incarnation, branches);
      return caf::unit;
    });
  }

  caf::expected<void>
  leave(const std::string& name, int64_t incarnation) override {
    return run<void>([&]() -> caf::expected<void> {
      tables_->leave(name, incarnation);
      return caf::unit;
    });
  }

  caf::expected<void>
  set_draining(const std::string& name, bool draining) override {
    return run<void>([&]() -> caf::expected<void> {
      tables_->nodes[name].said.draining = draining;
      return caf::unit;
    });
  }

private:
  template <class T, class F>
  caf::expected<T> run(F f) {
    if (how_->down)
      return caf::make_error(errc::unavailable, "told to be down");
    caf::expected<T> result = f();
    if (how_->doubtful > 0) {
      --how_->doubtful;
      return caf::make_error(errc::in_doubt, "told to be doubtful");
    }
    return result;
  }

  ownership_tables_ptr tables_;
  std::shared_ptr<mood> how_;
};

} // namespace tillstream::test

#include "actors/cluster/handover.hpp"

#include "messages/core/limits.hpp"
#include "messages/model/apply.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>

namespace tillstream {

namespace {

/// Whether a node has read the tables since we began to release: then it
/// expects the branches, and reads often.
bool is_expecting(const ownership_facts& facts, const std::string& node,
                  handover::time_point since, handover::time_point now) {
  for (const auto& x : facts.nodes)
    if (x.name == node)
      return std::chrono::milliseconds{x.silent_ms} < now - since;
  return false;
}

size_t batch_size(bool leaving, size_t announced) {
  // A node that leaves has little time, however much it has.
  constexpr size_t batches_at_end = 8;
  return leaving
           ? std::max(limits::handover_lot_max, announced / batches_at_end)
           : limits::handover_lot_max;
}

} // namespace

bool handover::owners_changed(const ownership_digest& digest) {
  if (digest == digest_)
    return false;
  digest_ = digest;
  return true;
}

bool handover::update_plan(const ownership_facts& facts) {
  if (!dirty_)
    return false;
  plan_ = plan_ownership(facts);
  dirty_ = false;
  return !plan_.release.empty() || plan_.expecting;
}

ownerships_ptr handover::announce(const ownership_facts& facts) {
  std::map<std::string, int64_t> mine;
  if (facts.incarnation != 0)
    for (const auto& x : facts.owners)
      if (x.node == facts.node && x.incarnation == facts.incarnation)
        mine.emplace(x.branch_id, x.epoch);
  // What is being released is ours for the tables only, if at all.
  if (batch_)
    for (const auto& [id, next] : batch_->branches)
      mine.erase(id);
  if (mine == announced_ && announced_incarnation_ == facts.incarnation)
    return nullptr;
  auto result = std::make_shared<std::vector<ownership>>();
  for (const auto& [id, epoch] : mine)
    result->push_back({id, facts.node, epoch});
  announced_ = std::move(mine);
  announced_incarnation_ = facts.incarnation;
  return result;
}

void handover::settle(const ownership_facts& facts, time_point now) {
  if (!batch_ || !batch_->released_at)
    return;
  std::set<std::string> open;
  for (const auto& [id, next] : batch_->branches)
    open.insert(id);
  for (const auto& x : facts.owners)
    if (!x.node.empty())
      open.erase(x.branch_id);
  if (open.empty() || now - *batch_->released_at >= limits::lot_taken_max)
    batch_.reset();
}

bool handover::in_handover_grace(
  time_point now, std::optional<time_point> ineligible_since) const {
  return ineligible_since && now - *waiting_since_ < limits::broker_doubt_max;
}

strings_ptr
handover::begin(const ownership_facts& facts, time_point now, bool leaving,
                std::optional<time_point> ineligible_since) {
  if (plan_.release.empty()) {
    waiting_since_.reset();
    return nullptr;
  }
  if (!waiting_since_)
    waiting_since_ = now;
  if (batch_ || (!leaving && in_handover_grace(now, ineligible_since)))
    return nullptr;
  batch next;
  auto ids = std::make_shared<std::vector<std::string>>();
  auto size = batch_size(leaving, announced_.size());
  for (const auto& x : plan_.release) {
    if (ids->size() == size)
      break;
    if (!is_expecting(facts, x.second, *waiting_since_, now))
      continue;
    next.branches.push_back(x);
    ids->push_back(x.first);
  }
  if (ids->empty())
    return nullptr;
  next.number = ++last_batch_;
  batch_ = std::move(next);
  for (const auto& id : *ids)
    announced_.erase(id);
  return ids;
}

const handover::batch* handover::stopped(uint64_t number) const {
  return batch_ && batch_->number == number ? &*batch_ : nullptr;
}

void handover::release_failed() {
  batch_.reset();
  digest_ = {};
  announced_.clear();
  announced_incarnation_ = 0;
}

} // namespace tillstream

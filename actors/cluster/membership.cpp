#include "actors/cluster/membership.hpp"

#include "messages/core/limits.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <algorithm>
#include <utility>

namespace tillstream {

namespace {

constexpr std::string_view log_joined = "node.joined";
constexpr std::string_view log_lapsed = "node.lease_lapsed";
constexpr std::string_view log_declared_dead = "node.declared_dead";
constexpr std::string_view log_not_eligible = "node.not_eligible";
constexpr std::string_view log_eligible = "node.eligible";

constexpr int heartbeats_per_lease = 5;

struct membership_metrics {
  counter& lapsed = metrics().get_counter(
    "tillstream_leases_lapsed_total",
    "Times that others declared this node dead and it came back.");
  counter& declared
    = metrics().get_counter("tillstream_nodes_declared_dead_total",
                            "Leases of other nodes that this node ended.");
  histogram& heartbeats = metrics().get_histogram(
    "tillstream_heartbeat_seconds",
    "A heartbeat from its sending to its answer.", 1e6);
};

membership_metrics& stats() {
  static membership_metrics instance;
  return instance;
}

bool same_for_plan(const node_state& x, const node_state& y) {
  return x.name == y.name && x.incarnation == y.incarnation
         && x.alive == y.alive && x.eligible == y.eligible
         && x.draining == y.draining && x.roles == y.roles;
}

} // namespace

membership::membership(storage::node_identity who,
                       std::chrono::milliseconds duration, lease_ptr own_lease)
  : who_(std::move(who)),
    duration_(duration),
    own_lease_(std::move(own_lease)) {
  stats();
}

caf::timespan membership::heartbeat_interval() const {
  return duration_ / heartbeats_per_lease;
}

void membership::open(std::string http) {
  who_.http = std::move(http);
  if (at_ == phase::closed)
    at_ = phase::joining;
  broker_seen_ = now();
}

// -- the lease ----------------------------------------------------------------

caf::error
membership::join(storage::ownership_store& store, ownership_facts& facts) {
  auto result = store.join(who_, duration_, at_ == phase::joining);
  if (!result)
    return std::move(result.error());
  at_ = phase::member;
  facts.incarnation = *result;
  log::info(log_joined,
            {{"node", who_.name}, {"incarnation", facts.incarnation}});
  return {};
}

caf::expected<storage::heartbeat_outcome>
membership::heartbeat(storage::ownership_store& store,
                      const ownership_facts& facts, int64_t lag_ms) {
  sent_at_ = now();
  auto result = store.heartbeat(
    {who_.name, facts.incarnation, eligible_, lag_ms}, duration_);
  auto took = now() - sent_at_;
  stats().heartbeats.observe(static_cast<uint64_t>(
    std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  // Our picture of the others is that old.
  if (took > heartbeat_interval())
    suspend_failure_detection();
  return result;
}

bool membership::set_nodes(ownership_facts& facts,
                           std::vector<node_state> nodes) {
  auto changed = !std::equal(nodes.begin(), nodes.end(), facts.nodes.begin(),
                             facts.nodes.end(), same_for_plan);
  facts.nodes = std::move(nodes);
  return changed;
}

void membership::renew_lease(const ownership_facts& facts) {
  own_lease_->renew(facts.incarnation, sent_at_ + duration_);
}

void membership::lapse(ownership_facts& facts) {
  stats().lapsed.add();
  log::warning(log_lapsed, {{"node", who_.name}});
  at_ = phase::lapsed;
  facts.incarnation = 0;
  // We were away, so we can't tell whether the broker was.
  broker_seen_ = now();
}

caf::expected<bool>
membership::leave(storage::ownership_store* store, ownership_facts& facts) {
  at_ = phase::left;
  auto incarnation = std::exchange(facts.incarnation, 0);
  if (incarnation == 0)
    return true;
  if (store == nullptr)
    return false;
  auto done = store->leave(who_.name, incarnation);
  if (!done)
    return std::move(done.error());
  return true;
}

// -- eligibility --------------------------------------------------------------

void membership::update_eligibility(std::optional<time_point> broker_seen,
                                    bool leaving) {
  broker_seen_ = std::max(broker_seen_, broker_seen.value_or(broker_seen_));
  auto away = now() - broker_seen_ >= limits::broker_away_max;
  if (away && !ineligible_since_) {
    log::warning(log_not_eligible,
                 {{"node", who_.name}, {"why", "the broker is away"}});
    ineligible_since_ = now();
  } else if (!away && ineligible_since_) {
    log::info(log_eligible, {{"node", who_.name}});
    ineligible_since_.reset();
  }
  eligible_ = !away && !leaving;
}

// -- failure detection --------------------------------------------------------

caf::expected<size_t>
membership::detect_failures(storage::ownership_store& store,
                            ownership_facts& facts) {
  if (now() < detect_failures_from_)
    return size_t{0};
  suspects seen;
  size_t declared = 0;
  for (auto& x : facts.nodes) {
    if (!x.alive || x.holds || x.name == who_.name)
      continue;
    auto key = std::make_pair(x.name, x.incarnation);
    auto before = suspects_.find(key);
    auto since = before != suspects_.end() ? before->second : now();
    seen.emplace(key, since);
    if (now() - since < limits::suspicion_min)
      continue;
    auto dead = store.declare_dead(x.name, x.incarnation);
    if (!dead)
      return std::move(dead.error());
    if (!*dead)
      continue;
    stats().declared.add();
    log::warning(log_declared_dead,
                 {{"node", x.name}, {"incarnation", x.incarnation}});
    x.alive = false;
    ++declared;
  }
  suspects_ = std::move(seen);
  return declared;
}

void membership::suspend_failure_detection() {
  suspects_.clear();
  detect_failures_from_
    = now() + limits::backoff_max + 2 * heartbeat_interval();
}

} // namespace tillstream

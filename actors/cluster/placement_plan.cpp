#include "actors/cluster/placement_plan.hpp"

#include "messages/model/placement.hpp"

#include <algorithm>
#include <map>
#include <string_view>

namespace tillstream {

namespace {

const node_state*
find_node(const std::vector<node_state>& nodes, std::string_view name) {
  auto i = std::lower_bound(
    nodes.begin(), nodes.end(), name,
    [](const node_state& x, std::string_view y) { return x.name < y; });
  return i != nodes.end() && i->name == name ? &*i : nullptr;
}

const branch_owner* find_owner(const std::vector<branch_owner>& owners,
                               std::string_view branch_id) {
  auto i = std::lower_bound(
    owners.begin(), owners.end(), branch_id,
    [](const branch_owner& x, std::string_view y) { return x.branch_id < y; });
  return i != owners.end() && i->branch_id == branch_id ? &*i : nullptr;
}

size_t
index_of(const std::vector<std::string>& names, const std::string& name) {
  auto i = std::lower_bound(names.begin(), names.end(), name);
  return i != names.end() && *i == name ? static_cast<size_t>(i - names.begin())
                                        : no_node;
}

template <class Predicate>
std::vector<std::string>
names_if(const std::vector<node_state>& nodes, Predicate holds) {
  std::vector<std::string> result;
  for (const auto& x : nodes)
    if (x.alive && x.has_role("shards") && holds(x))
      result.push_back(x.name);
  return result;
}

} // namespace

std::vector<std::string> candidates(const std::vector<node_state>& nodes) {
  auto result = names_if(
    nodes, [](const node_state& x) { return x.eligible && !x.draining; });
  if (result.empty())
    result = names_if(nodes, [](const node_state& x) { return !x.draining; });
  if (result.empty())
    result = names_if(nodes, [](const node_state&) { return true; });
  return result;
}

bool is_owned(const branch_owner& x, const std::vector<node_state>& nodes) {
  const auto* node = find_node(nodes, x.node);
  return node != nullptr && node->alive && node->incarnation == x.incarnation;
}

ownership_plan plan_ownership(const ownership_facts& facts) {
  auto names = candidates(facts.nodes);
  auto me = index_of(names, facts.node);
  std::vector<branch_slot> slots;
  std::vector<const branch_owner*> owners;
  for (const auto& id : facts.branches) {
    const auto* x = find_owner(facts.owners, id);
    auto owned = x != nullptr && is_owned(*x, facts.nodes);
    // What was released for a node counts as its own already.
    auto holder = x == nullptr      ? no_node
                  : owned           ? index_of(names, x->node)
                  : x->node.empty() ? index_of(names, x->next)
                                    : no_node;
    slots.push_back({id, holder});
    owners.push_back(owned ? x : nullptr);
  }
  auto placement = place(names, slots);
  ownership_plan result;
  for (size_t i = 0; i < placement.size(); ++i) {
    auto mine = owners[i] != nullptr && owners[i]->node == facts.node
                && owners[i]->incarnation == facts.incarnation;
    if (placement[i] == no_node)
      continue;
    if (placement[i] == me && owners[i] == nullptr)
      result.acquire.push_back(facts.branches[i]);
    else if (placement[i] == me && !mine)
      result.expecting = true;
    else if (placement[i] != me && mine)
      result.release.emplace_back(facts.branches[i], names[placement[i]]);
  }
  return result;
}

} // namespace tillstream

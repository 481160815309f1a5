#include "messages/model/placement.hpp"

#include "messages/core/hash.hpp"

#include <algorithm>
#include <cassert>
#include <map>
#include <utility>

namespace tillstream {

namespace {

/// The finalizer of splitmix64 (Steele, Lea, Flood): every bit of the input
/// reaches every bit of the output.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

class placer {
public:
  placer(const std::vector<std::string>& nodes,
         const std::vector<branch_slot>& branches)
    : low_(branches.size() / nodes.size()),
      high_((branches.size() + nodes.size() - 1) / nodes.size()),
      slack_(low_ / 10),
      load_(nodes.size()) {
    for (const auto& name : nodes)
      nodes_.push_back(mix(fnv1a{}.add(name).value()));
    for (const auto& x : branches) {
      assert(x.holder == no_node || x.holder < nodes.size());
      branches_.push_back(fnv1a{}.add(x.branch_id).value());
      result_.push_back(x.holder);
      if (x.holder != no_node)
        ++load_[x.holder];
    }
  }

  std::vector<size_t> run() {
    assign_unplaced();
    plan_moves();
    for (const auto& [pair, count] : moves_)
      move(pair.first, pair.second, count);
    return std::move(result_);
  }

private:
  uint64_t score(size_t node, size_t branch) const {
    return mix(nodes_[node] ^ branches_[branch]);
  }

  /// The best node for a branch with less than `limit`.
  size_t best(size_t branch, size_t limit) const {
    auto result = no_node;
    uint64_t best_score = 0;
    for (size_t i = 0; i < nodes_.size(); ++i)
      if (load_[i] < limit
          && (result == no_node || score(i, branch) > best_score)) {
        result = i;
        best_score = score(i, branch);
      }
    return result;
  }

  /// Up to the fair share rounded down first, so that nobody has to be filled
  /// up by moves afterwards.
  void assign_unplaced() {
    for (size_t i = 0; i < result_.size(); ++i) {
      if (result_[i] != no_node)
        continue;
      auto node = best(i, low_);
      if (node == no_node)
        node = best(i, high_);
      assert(node != no_node);
      result_[i] = node;
      ++load_[node];
    }
  }

  /// The fullest (or emptiest) node; the first of equals.
  size_t extreme(bool fullest) const {
    auto less = [](size_t x, size_t y) { return x < y; };
    auto i = fullest ? std::max_element(load_.begin(), load_.end(), less)
                     : std::min_element(load_.begin(), load_.end(), less);
    return static_cast<size_t>(i - load_.begin());
  }

  void plan_move(size_t from, size_t to) {
    --load_[from];
    ++load_[to];
    ++moves_[{from, to}];
  }

  void plan_moves() {
    for (size_t i = 0; i < load_.size(); ++i)
      if (load_[i] + slack_ < low_)
        while (load_[i] < low_)
          plan_move(extreme(true), i);
    for (size_t i = 0; i < load_.size(); ++i)
      if (load_[i] > high_ + slack_)
        while (load_[i] > high_)
          plan_move(i, extreme(false));
  }

  /// Moves those branches that the receiver has the highest score for: they
  /// are where a later join or leave would want them, too.
  void move(size_t from, size_t to, size_t count) {
    std::vector<size_t> mine;
    for (size_t i = 0; i < result_.size(); ++i)
      if (result_[i] == from)
        mine.push_back(i);
    assert(count <= mine.size());
    auto better = [&](size_t x, size_t y) {
      auto left = score(to, x);
      auto right = score(to, y);
      return left != right ? left > right : x < y;
    };
    std::partial_sort(mine.begin(),
                      mine.begin() + static_cast<std::ptrdiff_t>(count),
                      mine.end(), better);
    for (size_t i = 0; i < count; ++i)
      result_[mine[i]] = to;
  }

  /// The fair share, rounded down and up.
  const size_t low_;
  const size_t high_;
  /// How far from it nobody is disturbed.
  const size_t slack_;
  std::vector<uint64_t> nodes_;
  std::vector<uint64_t> branches_;
  std::vector<size_t> load_;
  std::vector<size_t> result_;
  /// How many branches go from whom to whom.
  std::map<std::pair<size_t, size_t>, size_t> moves_;
};

} // namespace

std::vector<size_t> place(const std::vector<std::string>& nodes,
                          const std::vector<branch_slot>& branches) {
  if (nodes.empty())
    return std::vector<size_t>(branches.size(), no_node);
  return placer{nodes, branches}.run();
}

size_t placement_cap(size_t nodes, size_t branches) {
  assert(nodes > 0);
  return (11 * branches + 10 * nodes - 1) / (10 * nodes) + 1;
}

} // namespace tillstream

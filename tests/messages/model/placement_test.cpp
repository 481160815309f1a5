#include "messages/model/placement.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace tillstream;

namespace {

/// A chain whose nodes come and go. Ownership follows the placement at once.
class world {
public:
  explicit world(size_t branches) {
    for (size_t i = 0; i < branches; ++i)
      owner_["branch-" + std::to_string(100'000 + i)] = "";
  }

  void join(const std::string& node) {
    nodes_.insert(node);
  }

  /// @returns how many branches it had.
  size_t leave(const std::string& node) {
    nodes_.erase(node);
    size_t result = 0;
    for (auto& [id, owner] : owner_)
      if (owner == node) {
        owner.clear();
        ++result;
      }
    return result;
  }

  /// @returns how many branches changed hands.
  size_t settle() {
    auto next = compute();
    auto all = names();
    size_t moves = 0;
    size_t i = 0;
    for (auto& [id, owner] : owner_) {
      auto to = next[i] == no_node ? std::string{} : all[next[i]];
      moves += owner != to;
      owner = to;
      ++i;
    }
    return moves;
  }

  std::vector<size_t> compute() const {
    auto all = names();
    std::vector<branch_slot> slots;
    for (const auto& [id, owner] : owner_) {
      auto i = std::lower_bound(all.begin(), all.end(), owner);
      auto known = i != all.end() && *i == owner;
      slots.push_back(
        {id, known ? static_cast<size_t>(i - all.begin()) : no_node});
    }
    return place(all, slots);
  }

  std::vector<std::string> names() const {
    return {nodes_.begin(), nodes_.end()};
  }

  std::map<std::string, size_t> loads() const {
    std::map<std::string, size_t> result;
    for (const auto& node : nodes_)
      result[node] = 0;
    for (const auto& [id, owner] : owner_)
      ++result.at(owner);
    return result;
  }

  size_t largest() const {
    size_t result = 0;
    for (const auto& [node, load] : loads())
      result = std::max(result, load);
    return result;
  }

  size_t smallest() const {
    auto result = no_node;
    for (const auto& [node, load] : loads())
      result = std::min(result, load);
    return result;
  }

  std::map<std::string, std::string> owner_;
  std::set<std::string> nodes_;
};

std::string name_of(size_t i) {
  return "node-" + std::to_string(i);
}

const std::vector<size_t> branch_counts{3, 10, 97, 1000, 10'000};

} // namespace

BOOST_AUTO_TEST_SUITE(placement_suite)

BOOST_AUTO_TEST_CASE(without_nodes_nobody_owns_anything) {
  world w{3};
  for (auto x : w.compute())
    BOOST_TEST(x == no_node);
}

BOOST_AUTO_TEST_CASE(one_node_owns_everything) {
  world w{97};
  w.join("a");
  BOOST_TEST(w.settle() == 97u);
  BOOST_TEST(w.largest() == 97u);
}

BOOST_AUTO_TEST_CASE(the_same_on_every_machine) {
  // Fixed: other builds of a rolling upgrade must compute the same.
  std::vector<branch_slot> slots{{"branch-1", no_node},
                                 {"branch-2", no_node},
                                 {"branch-3", no_node},
                                 {"branch-4", no_node}};
  auto result = place({"a", "b"}, slots);
  BOOST_TEST(result == (std::vector<size_t>{0, 1, 1, 0}),
             boost::test_tools::per_element());
}

// Goal: balance and moves for 1 to 100 nodes and 3 to 10,000 branches. Method:
// nodes join one after the other, then leave one after the other.
BOOST_AUTO_TEST_CASE(joins_and_leaves_move_only_what_balance_needs) {
  for (auto branches : branch_counts) {
    world w{branches};
    size_t needed = 0;
    size_t moved = 0;
    auto check = [&](size_t nodes, size_t needs, size_t moves) {
      BOOST_TEST_CONTEXT(branches << " branches, " << nodes << " nodes") {
        BOOST_TEST(moves <= needs + needs / 5);
        BOOST_TEST(w.largest() <= placement_cap(nodes, branches));
        auto fair = branches / nodes;
        BOOST_TEST(w.smallest() + fair / 10 >= fair);
        BOOST_TEST(w.settle() == 0u);
      }
      needed += needs;
      moved += moves;
    };
    w.join(name_of(0));
    w.settle();
    for (size_t n = 2; n <= 100; ++n) {
      w.join(name_of(n - 1));
      check(n, branches / n, w.settle());
    }
    for (size_t n = 100; n >= 2; --n) {
      // Not in the order in which they came.
      auto names = w.names();
      auto needs = w.leave(names[(n * 37) % names.size()]);
      check(n - 1, needs, w.settle());
    }
    BOOST_TEST_MESSAGE(branches << " branches: " << moved << " moves, "
                                << needed << " needed");
  }
}

// Goal: the bounds hold wherever chance leads. Method: from seeds, nodes and
// branches come and go, several at a time.
BOOST_AUTO_TEST_CASE(the_bounds_hold_whatever_comes_and_goes) {
  auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937 chance{seed};
  for (auto branches : branch_counts) {
    world w{branches};
    w.join(name_of(0));
    for (int round = 0; round < 60; ++round) {
      size_t needs = 0;
      auto changes = 1 + chance() % 3;
      auto joining = chance() % 2 == 0;
      for (size_t i = 0; i < changes; ++i) {
        if (joining)
          w.join(name_of(chance() % 100));
        else if (w.nodes_.size() > 1) {
          auto names = w.names();
          needs += w.leave(names[chance() % names.size()]);
        }
      }
      auto nodes = w.nodes_.size();
      auto fair = w.owner_.size() / nodes;
      if (joining) {
        // Who has too little is filled up, who has too much is lowered; one
        // move may do both.
        std::map<std::string, size_t> before;
        for (const auto& [id, owner] : w.owner_)
          ++before[owner];
        auto ceiling = (w.owner_.size() + nodes - 1) / nodes;
        size_t excess = 0;
        for (const auto& node : w.nodes_) {
          needs += fair - std::min(fair, before[node]);
          excess += std::max(ceiling, before[node]) - ceiling;
        }
        needs = std::max(needs, excess);
      }
      BOOST_TEST_CONTEXT("seed " << seed << ", round " << round << ", "
                                 << w.owner_.size() << " branches, " << nodes
                                 << " nodes") {
        auto moves = w.settle();
        if (round > 0)
          BOOST_TEST(moves <= needs + needs / 5 + 1);
        BOOST_TEST(w.largest() <= placement_cap(nodes, w.owner_.size()));
        BOOST_TEST(w.smallest() + fair / 10 >= fair);
        BOOST_TEST(w.settle() == 0u);
      }
    }
  }
}

// Moves are made a few at a time, and each step is computed anew.
BOOST_AUTO_TEST_CASE(a_plan_that_is_carried_out_in_part_stays_the_plan) {
  world w{1000};
  for (size_t i = 0; i < 4; ++i)
    w.join(name_of(i));
  w.settle();
  w.join("newcomer");
  size_t moves = 0;
  for (int step = 0; step < 1000; ++step) {
    auto names = w.names();
    auto next = w.compute();
    size_t i = 0;
    auto moved = false;
    for (auto& [id, owner] : w.owner_) {
      if (names[next[i++]] == owner)
        continue;
      BOOST_TEST(names[next[i - 1]] == "newcomer");
      owner = "newcomer";
      ++moves;
      moved = true;
      break;
    }
    if (!moved)
      break;
  }
  BOOST_TEST(moves <= 200u);
  BOOST_TEST(moves >= 180u);
  BOOST_TEST(w.largest() <= placement_cap(5, 1000));
}

BOOST_AUTO_TEST_CASE(new_branches_go_where_there_is_room_and_move_nobody) {
  world w{100};
  for (size_t i = 0; i < 7; ++i)
    w.join(name_of(i));
  w.settle();
  for (int i = 0; i < 30; ++i)
    w.owner_["new-" + std::to_string(i)] = "";
  BOOST_TEST(w.settle() == 30u);
  BOOST_TEST(w.largest() <= placement_cap(7, 130));
}

BOOST_AUTO_TEST_SUITE_END()

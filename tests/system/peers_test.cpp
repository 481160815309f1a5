#include <boost/test/unit_test.hpp>

#include "tests/support/postgres_fixture.hpp"
#include "tests/system/fleet.hpp"

#include <pqxx/pqxx>

#include <signal.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>

/// Queries to any of several nodes: each gives the same answer, also about
/// what another node owns, and about what nobody owns for the moment.

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

constexpr int node_count = 3;
/// The nodes share them evenly.
constexpr int branches = 12;

std::string branch(int i) {
  return "b-" + std::to_string(i);
}

std::string chain_file(const temporary_directory& dir) {
  auto path = dir.file("chain.json");
  std::ofstream out{path};
  out << R"({"name": "Twelve", "currency": "EUR", "branches": [)";
  for (int i = 0; i < branches; ++i)
    out << (i > 0 ? "," : "") << R"({"id": ")" << branch(i)
        << R"(", "name": "Shop", "time_zone": "UTC"})";
  out << "]}";
  return path;
}

/// An answer without the moment at which it was given.
std::string timeless(const std::string& body) {
  static const std::regex moment{
    R"x("(as_of|until)":("[^"]*"|null)|"(pending_events|lag_ms)":(\d+|null))x"};
  return std::regex_replace(body, moment, "");
}

/// Three nodes that share the branches.
struct world {
  world()
    : all(fresh_database(""), fresh_database(""), fresh_broker(),
          chain_file(files)) {
    for (int i = 0; i < node_count; ++i)
      nodes.push_back(all.serve());
    // All of them, and none still changes hands.
    BOOST_REQUIRE(eventually([&] {
      return std::ranges::all_of(nodes, [](auto& node) {
        return metric(*node, "tillstream_shards_up") == branches / node_count;
      });
    }));
  }

  /// Sells through a node. @returns the event's id.
  std::string sell(running_program& at, const std::string& where) {
    sale x;
    x.branch_id = where;
    auto recorded = at.post(where, x.body());
    BOOST_REQUIRE_MESSAGE(recorded.status == 201, recorded.body);
    return recorded.at("event_id");
  }

  /// Sells once in each branch and waits until all of it is applied: by the
  /// events, as an owner elsewhere may not have heard of the last one yet.
  void sell_everywhere(running_program& at) {
    std::vector<std::string> events;
    for (int i = 0; i < branches; ++i)
      events.push_back(sell(at, branch(i)));
    for (const auto& event : events)
      BOOST_REQUIRE(eventually([&] {
        return at.ask("/analytics/summary?after=" + event)
                 .header("Applied-After")
               == "true";
      }));
  }

  /// The branches of a node, by its own word.
  std::set<std::string> owned_by(running_program& node) {
    std::set<std::string> result;
    pqxx::connection session{all.where().analytics_dsn};
    pqxx::work work{session};
    auto suffix = ":" + std::to_string(node.pid());
    for (auto row : work.exec("SELECT branch_id, node FROM shard_ownership"))
      if (row[1].as<std::string>("").ends_with(suffix))
        result.insert(row[0].as<std::string>());
    return result;
  }

  temporary_directory files;
  fleet all;
  std::vector<std::unique_ptr<running_program>> nodes;
};

} // namespace

BOOST_AUTO_TEST_SUITE(peers_suite)

BOOST_AUTO_TEST_CASE(a_sale_at_any_node_is_seen_at_every_node) {
  world w;
  int sold = 0;
  for (int i = 0; i < branches; ++i) {
    auto event = w.sell(*w.nodes[i % node_count], branch(i));
    ++sold;
    for (auto& node : w.nodes) {
      auto x = node->ask("/analytics/summary?after=" + event);
      BOOST_TEST(x.status == 200);
      BOOST_TEST(x.header("Applied-After") == "true");
      BOOST_TEST(x.at("branches." + std::to_string(0) + ".branch_id") != "");
    }
  }
  // Bytes and all, whoever is asked.
  for (const auto* target :
       {"/analytics/summary", "/analytics/revenue?granularity=hour",
        "/analytics/top-products?limit=5", "/analytics/loyal-customers",
        "/analytics/unique-customers", "/analytics/heatmap",
        "/analytics/product?product_id=espresso"}) {
    auto first = w.nodes[0]->ask(target);
    BOOST_TEST(first.status == 200, target << first.body);
    for (auto& node : w.nodes)
      BOOST_TEST(timeless(node->ask(target).body) == timeless(first.body),
                 target);
  }
  for (auto& node : w.nodes) {
    // It asked the others, and not the tables.
    BOOST_TEST(metric(*node, "tillstream_peer_queries_total") > 0);
    BOOST_TEST(metric(*node, "tillstream_peer_notices_received_total") > 0);
    BOOST_TEST(metric(*node, "tillstream_peer_queries_failed_total") == 0);
  }
  // A node without branches answers as well.
  auto query_only = w.all.serve({"--roles", "query"});
  auto first = w.nodes[0]->ask("/analytics/heatmap");
  BOOST_TEST(eventually([&] {
    return timeless(query_only->ask("/analytics/heatmap").body)
           == timeless(first.body);
  }));
}

BOOST_AUTO_TEST_CASE(the_tables_answer_for_an_owner_that_is_away) {
  world w;
  auto& asked = *w.nodes[0];
  w.sell_everywhere(asked);
  auto& away = *w.nodes[1];
  auto theirs = w.owned_by(away);
  BOOST_REQUIRE(!theirs.empty());
  auto before = timeless(asked.ask("/analytics/revenue").body);
  away.signal(SIGSTOP);
  // The same numbers, now from the tables.
  auto frozen = asked.ask("/analytics/revenue");
  BOOST_TEST(frozen.status == 200);
  BOOST_TEST(timeless(frozen.body) == before);
  BOOST_TEST(metric(asked, "tillstream_fallback_answers_total") > 0);
  // A sale of theirs is committed, and said to be pending until somebody else
  // has taken the branch over and applied it.
  auto theirs_first = *theirs.begin();
  sale x;
  x.branch_id = theirs_first;
  auto recorded = asked.post(theirs_first, x.body());
  BOOST_REQUIRE(recorded.status == 201);
  auto told = asked.ask("/analytics/summary?branch_id=" + theirs_first);
  BOOST_REQUIRE(told.status == 200);
  if (told.at("branches.0.purchases") == "1") {
    BOOST_TEST(told.at("pending_events") == "1");
    BOOST_TEST(told.at("as_of") < recorded.at("recorded_at"));
  }
  BOOST_TEST(eventually([&] {
    auto y = asked.ask("/analytics/summary?branch_id=" + theirs_first);
    return y.at("branches.0.purchases") == "2" && y.at("pending_events") == "0";
  }));
  away.signal(SIGCONT);
  BOOST_TEST(eventually([&] {
    return timeless(away.ask("/analytics/revenue").body)
           == timeless(asked.ask("/analytics/revenue").body);
  }));
}

BOOST_AUTO_TEST_CASE(a_killed_owner_costs_no_answer) {
  world w;
  auto& asked = *w.nodes[0];
  w.sell_everywhere(asked);
  auto before = timeless(asked.ask("/analytics/revenue").body);
  w.nodes[2]->signal(SIGKILL);
  w.nodes[2]->wait();
  for (int i = 0; i < 20; ++i) {
    auto x = asked.ask("/analytics/revenue");
    BOOST_TEST(x.status == 200);
    BOOST_TEST(timeless(x.body) == before);
  }
}

BOOST_AUTO_TEST_SUITE_END()

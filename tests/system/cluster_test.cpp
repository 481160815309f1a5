#include <boost/test/unit_test.hpp>

#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"
#include "storage/nats/jetstream_api.hpp"
#include "storage/ports/event_stream.hpp"
#include "tests/support/nats_cluster.hpp"
#include "tests/support/postgres_fixture.hpp"
#include "tests/system/fleet.hpp"
#include "tests/system/ledger.hpp"

#include <pqxx/pqxx>

#include <algorithm>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>

/// Engines that carry more: a broker of three servers, databases on servers of
/// their own.

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

/// What the broker says of the stream; nothing while it is away.
std::string ask_broker(const std::string& url, const std::string& what) {
  storage::nats_settings settings;
  settings.url = url;
  auto link = storage::jetstream::broker_link::open(settings);
  if (!link)
    return "no connection: " + describe(link.error());
  auto reply = (*link)->request("$JS.API." + what, "");
  return reply ? *reply : "no answer: " + describe(reply.error());
}

/// The server that leads the stream; empty while none does.
std::string leader_of_stream(const std::string& url) {
  json_document info;
  if (!info.parse(ask_broker(url, "STREAM.INFO.PURCHASES")).empty())
    return {};
  const auto* at = info.root().find("cluster");
  const auto* leader = at != nullptr ? at->find("leader") : nullptr;
  return leader != nullptr ? std::string{leader->text} : std::string{};
}

/// Which part did not come back: the stream's leader, its consumers, the relay,
/// the shards or the node's readiness. For a test that failed.
std::string diagnose(running_program& node, const std::string& url) {
  auto result = "stream: " + ask_broker(url, "STREAM.INFO.PURCHASES")
                + "\nconsumers: " + ask_broker(url, "CONSUMER.LIST.PURCHASES");
  auto ready = node.request("GET", "/readyz", {});
  result += "\nreadyz: " + std::to_string(ready.status) + " " + ready.body;
  auto summary = node.ask("/analytics/summary");
  result += "\nsummary: pending_events " + summary.at("pending_events")
            + ", as_of " + summary.at("as_of") + "\n";
  std::istringstream metrics{node.request("GET", "/metrics", {}).body};
  for (std::string line; std::getline(metrics, line);)
    for (const auto* part : {"outbox", "relay", "publish", "stream", "shard",
                             "pending", "lag_", "lease", "deliver"})
      if (line.starts_with("tillstream_")
          && line.find(part) != std::string::npos
          && line.find("_bucket") == std::string::npos) {
        result += line + "\n";
        break;
      }
  constexpr size_t log_bytes_max = 20'000;
  auto log = node.output();
  return result + "log: "
         + log.substr(log.size() - std::min(log.size(), log_bytes_max));
}

std::string host_of(const std::string& dsn) {
  auto begin = dsn.find('@') + 1;
  return dsn.substr(begin, dsn.find('/', begin) - begin);
}

/// Waits until so many more sales are accepted.
/// @param why Called if they are not.
void sells_on(ledger& book, size_t more,
              const std::function<std::string()>& why = [] {
                return std::string{};
              }) {
  auto before = book.accepted();
  auto sold = eventually([&] { return book.accepted() >= before + more; }, 90s);
  BOOST_TEST(sold, book.accepted() - before << " of " << more << " sales\n"
                                            << (sold ? "" : why()));
}

void verify(fleet& all, const std::function<std::string()>& why = [] {
  return std::string{};
}) {
  auto verified = all.run({"verify", "--wait", "90s"}, 150s);
  auto well = verified.code == 0;
  BOOST_TEST(well, verified.output << verified.errors << (well ? "" : why()));
}

} // namespace

BOOST_AUTO_TEST_SUITE(cluster_suite)

BOOST_AUTO_TEST_CASE(a_broker_server_dies_while_tills_sell) {
  auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  nats_cluster brokers;
  fleet all{fresh_database(""), fresh_database(""), brokers.url()};
  auto node = all.serve({"--stream-replicas", "3"});
  auto why = [&] { return diagnose(*node, brokers.url()); };
  auto ready = eventually(
    [&] {
      return !leader_of_stream(brokers.url()).empty()
             && node->request("GET", "/readyz", {}).status == 200;
    },
    90s);
  BOOST_REQUIRE_MESSAGE(ready, "not ready at first\n" << (ready ? "" : why()));
  ledger book;
  selling_tills tills{book, [&] { return node->where(); }, 6, seed};
  sells_on(book, 100, why);
  // The leader, so that it can't go unnoticed.
  auto leader = brokers.index_of(leader_of_stream(brokers.url()));
  brokers.kill(leader);
  sells_on(book, 200, why);
  // Applied without it, not only written.
  auto applied = eventually(
    [&] {
      auto answer = node->ask("/analytics/summary");
      return answer.at("pending_events") != "(none)"
             && answer.at("as_of") > "2000";
    },
    60s);
  BOOST_TEST(applied, "not applied\n" << (applied ? "" : why()));
  brokers.start(leader);
  sells_on(book, 50, why);
  tills.stop();
  verify(all, why);
  check_ledger(book, all.where().oltp_dsn);
}

BOOST_AUTO_TEST_CASE(purchases_and_analytics_live_on_servers_of_their_own) {
  auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  temporary_directory second;
  storage::private_server_options options;
  options.data_dir = second.file("data");
  options.with_nats = false;
  options.postgres_settings = {"shared_buffers = 64MB"};
  auto other = storage::private_servers::start(std::move(options));
  BOOST_REQUIRE(other);
  auto analytics = (*other)->database("aggregates");
  BOOST_REQUIRE(analytics);
  fleet all{fresh_database(""), *analytics, fresh_broker()};
  BOOST_TEST(host_of(all.where().oltp_dsn)
             != host_of(all.where().analytics_dsn));
  auto node = all.serve();
  ledger book;
  {
    selling_tills tills{book, [&] { return node->where(); }, 6, seed};
    sells_on(book, 100);
    // Selling and publishing do without the analytics server.
    BOOST_REQUIRE((*other)->stop_postgres(true));
    sells_on(book, 100);
    BOOST_REQUIRE((*other)->start_postgres());
    sells_on(book, 50);
  }
  verify(all);
  check_ledger(book, all.where().oltp_dsn);
  // No table strayed to the wrong server.
  pqxx::connection oltp{all.where().oltp_dsn};
  pqxx::connection aggregates{all.where().analytics_dsn};
  auto has = [](pqxx::connection& session, const std::string& table) {
    pqxx::work work{session};
    return !work.exec("SELECT to_regclass(" + work.quote(table) + ")")[0][0]
              .is_null();
  };
  BOOST_TEST(has(oltp, "purchases"));
  BOOST_TEST(!has(aggregates, "purchases"));
  BOOST_TEST(has(aggregates, "daily_sales_by_branch"));
  BOOST_TEST(!has(oltp, "daily_sales_by_branch"));
}

BOOST_AUTO_TEST_CASE(a_chain_gains_branches_while_it_sells) {
  fleet all{fresh_database(""), fresh_database(""), fresh_broker()};
  auto node = all.serve();
  auto sells = [&](const std::string& branch) {
    auto key = all.run({"key", "create", "--role", "till", "--branch", branch});
    BOOST_REQUIRE_MESSAGE(key.code == 0, key.errors);
    key.output.pop_back();
    sale x;
    x.branch_id = branch;
    auto body = x.body();
    // Key and branch are known within seconds.
    std::string event;
    BOOST_TEST(eventually([&] {
      auto recorded = node->request("POST", "/purchases",
                                    {{"Authorization", "Bearer " + key.output},
                                     {"Content-Type", "application/json"}},
                                    body);
      event = recorded.at("event_id");
      return recorded.status == 201;
    }));
    // And it is counted: somebody owns the branch.
    BOOST_TEST(eventually([&] {
      auto counted = node->ask("/analytics/summary?branch_id=" + branch
                               + "&after=" + event);
      return counted.status == 200 && counted.header("Applied-After") == "true"
             && counted.at("branches.0.purchases") == "1";
    }));
  };
  // From a file.
  temporary_directory files;
  auto path = files.file("chain.json");
  std::ofstream{path} << R"({"name": "Default", "currency": "USD", "branches": [
    {"id": "branch-1", "name": "Branch 1", "time_zone": "UTC"},
    {"id": "branch-2", "name": "Branch 2", "time_zone": "UTC"},
    {"id": "branch-3", "name": "Branch 3", "time_zone": "UTC"},
    {"id": "branch-4", "name": "Branch 4", "time_zone": "Asia/Tokyo"}]})";
  auto migrated = all.run({"migrate", "--chain", path});
  BOOST_TEST(migrated.code == 0, migrated.output << migrated.errors);
  sells("branch-4");
  // From the database.
  {
    pqxx::connection session{all.where().oltp_dsn};
    pqxx::work work{session};
    work.exec("INSERT INTO branches (branch_id, name, time_zone, "
              "day_start_minutes) VALUES ('branch-5', 'Five', 'UTC', 0)");
    work.commit();
  }
  sells("branch-5");
  verify(all);
}

BOOST_AUTO_TEST_CASE(history_is_read_from_a_replica_and_never_wrong) {
  fleet all{fresh_database(""), fresh_database(""), fresh_broker()};
  const auto* target
    = "/analytics/top-products?branch_id=branch-1&period=month";
  auto sell = [](running_program& node) {
    sale x;
    auto recorded = node.post(x.branch_id, x.body());
    BOOST_REQUIRE(recorded.status == 201);
    BOOST_REQUIRE(eventually([&] {
      return node.ask("/analytics/summary?after=" + recorded.at("event_id"))
               .header("Applied-After")
             == "true";
    }));
  };
  // A replica that has always caught up: the primary itself.
  {
    auto node
      = all.serve({"--analytics-replica-dsn", all.where().analytics_dsn});
    sell(*node);
    auto answer = node->ask(target);
    BOOST_TEST(answer.at("total.products.0.quantity") == "1", answer.body);
    BOOST_TEST(metric(*node, "tillstream_replica_reads_total") > 0);
    node->stop();
  }
  // One that stays behind for ever: a copy as of now.
  auto name = all.where().analytics_dsn.substr(
    all.where().analytics_dsn.rfind('/') + 1);
  auto copy = postgres().copy_database(name + "_copy", name);
  BOOST_REQUIRE(copy);
  auto node = all.serve({"--analytics-replica-dsn", *copy});
  sell(*node);
  auto answer = node->ask(target);
  BOOST_TEST(answer.at("total.products.0.quantity") == "2", answer.body);
  BOOST_TEST(metric(*node, "tillstream_replica_behind_total") > 0);
  BOOST_TEST(metric(*node, "tillstream_replica_reads_total") == 0);
}

BOOST_AUTO_TEST_SUITE_END()

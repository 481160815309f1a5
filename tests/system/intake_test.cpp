#include <boost/test/unit_test.hpp>

#include "tests/system/running_program.hpp"

#include <pqxx/pqxx>

#include <map>
#include <set>
#include <thread>

/// Each row of the contract's table, seen from a till.

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

/// One program for all cases: they use receipts and keys of their own.
struct shop {
  shop() : program(running_program::up(directory.path() + "/data")) {
    // nop
  }

  temporary_directory directory;
  std::unique_ptr<running_program> program;
};

shop& the_shop() {
  static shop instance;
  return instance;
}

struct fixture {
  fixture() : program(*the_shop().program) {
    // nop
  }

  answer post(const std::string& body, header_list headers = {}) {
    return program.post("branch-1", body, std::move(headers));
  }

  void expect_problem(const answer& x, int status, const std::string& name) {
    BOOST_TEST(x.status == status, x.status << " " << x.body);
    BOOST_TEST(x.header("content-type") == "application/problem+json");
    BOOST_TEST(x.at("type") == "/problems/" + name);
    BOOST_TEST(x.at("status") == std::to_string(status));
    BOOST_TEST(x.at("trace_id").size() == 32u);
  }

  /// One number out of the purchases' database.
  int64_t count(const std::string& sql) {
    pqxx::connection session{program.where().oltp_dsn};
    pqxx::work work{session};
    return work.exec(sql)[0][0].as<int64_t>();
  }

  running_program& program;
};

std::string
replaced(std::string text, const std::string& what, const std::string& by) {
  auto at = text.find(what);
  BOOST_REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(intake_suite, fixture)

BOOST_AUTO_TEST_CASE(a_sale_is_recorded_with_items_customer_and_outbox_row) {
  sale x;
  x.items = {{"espresso", "2.50", "Espresso"}, {"scone", "3.25", ""}};
  auto got = post(x.body());
  BOOST_TEST(got.status == 201, got.body);
  BOOST_TEST(got.at("total") == "5.75");
  BOOST_TEST(got.at("currency") == "USD");
  BOOST_TEST(got.at("items_count") == "2");
  BOOST_TEST(got.at("new_customer") == "true");
  BOOST_TEST(got.at("receipt_id") == x.receipt_id);
  BOOST_TEST(got.header("location") == "/purchases/" + got.at("purchase_id"));
  BOOST_TEST(got.header("idempotent-replayed") == "");
  auto id = got.at("purchase_id");
  BOOST_TEST(count("SELECT count(*) FROM purchase_items WHERE purchase_id = '"
                   + id + "'")
             == 2);
  BOOST_TEST(count("SELECT count(*) FROM customers WHERE customer_id = '"
                   + got.at("user_id") + "'")
             == 1);
  BOOST_TEST(count("SELECT count(*) FROM outbox_events WHERE event_id = '"
                   + got.at("event_id") + "'")
             == 1);
}

BOOST_AUTO_TEST_CASE(the_same_sale_again_gets_the_same_bytes) {
  sale x;
  x.items = {{"a", "1.00", "A"}, {"b", "2.00", "B"}};
  auto first = post(x.body());
  auto again = post(x.body());
  BOOST_TEST(again.status == 201);
  BOOST_TEST(again.body == first.body);
  BOOST_TEST(again.header("idempotent-replayed") == "true");
  // Spacing and the order of items are not part of what a sale is.
  std::swap(x.items[0], x.items[1]);
  auto shuffled = post(replaced(x.body(), ",", " ,\n "));
  BOOST_TEST(shuffled.body == first.body);
}

BOOST_AUTO_TEST_CASE(a_key_for_another_sale_is_422_and_writes_nothing) {
  sale x;
  post(x.body());
  auto before = count("SELECT count(*) FROM purchases");
  auto other = x;
  other.receipt_id = "other-" + random_uuid();
  expect_problem(post(other.body()), 422, "idempotency-key-reused");
  BOOST_TEST(count("SELECT count(*) FROM purchases") == before);
}

BOOST_AUTO_TEST_CASE(a_receipt_under_another_key_is_409_and_names_the_sale) {
  sale x;
  auto first = post(x.body());
  auto other = x;
  other.idempotency_key = random_uuid();
  auto got = post(other.body());
  expect_problem(got, 409, "receipt-already-used");
  BOOST_TEST(got.at("purchase_id") == first.at("purchase_id"));
}

BOOST_AUTO_TEST_CASE(
  thirty_posts_at_once_make_one_row_and_thirty_equal_bodies) {
  sale x;
  auto body = x.body();
  std::vector<answer> answers(30);
  std::vector<std::thread> tills;
  for (auto& slot : answers)
    tills.emplace_back([&, this] { slot = post(body); });
  for (auto& till : tills)
    till.join();
  std::set<std::string> bodies;
  for (const auto& got : answers) {
    BOOST_TEST(got.status == 201, got.body);
    bodies.insert(got.body);
  }
  BOOST_TEST(bodies.size() == 1u);
  BOOST_TEST(count("SELECT count(*) FROM purchases WHERE receipt_id = '"
                   + x.receipt_id + "'")
             == 1);
}

// Rivals are not 'in progress elsewhere': each has its answer, and soon.
BOOST_AUTO_TEST_CASE(rivals_for_a_key_or_a_receipt_are_told_who_won) {
  sale base;
  base.body();
  std::vector<answer> answers(60);
  std::vector<std::thread> tills;
  for (size_t i = 0; i < answers.size(); ++i)
    tills.emplace_back([&, i] {
      auto mine = base;
      if (i % 2 == 0)
        mine.cashier_id = "cashier-" + std::to_string(i);
      else
        mine.idempotency_key = random_uuid();
      answers[i] = post(mine.body());
    });
  for (auto& till : tills)
    till.join();
  std::map<std::string, int> outcomes;
  for (const auto& got : answers)
    ++outcomes[got.status == 201 ? "recorded" : got.at("type")];
  BOOST_TEST(outcomes["recorded"] == 1);
  BOOST_TEST(outcomes["/problems/request-in-progress"] == 0);
  BOOST_TEST(outcomes["/problems/receipt-already-used"]
               + outcomes["/problems/idempotency-key-reused"]
             == 59);
}

BOOST_AUTO_TEST_CASE(what_is_no_json_is_400) {
  sale x;
  auto body = x.body();
  for (const auto& wrong :
       {std::string{}, std::string{"{"}, std::string{"sale"},
        body.substr(0, body.size() - 1), body + "x",
        replaced(body, "\"pos_id\"", "\"branch_id\":\"branch-1\",\"pos_id\""),
        replaced(body, "anna", "\xff\xfe"), replaced(body, "2.50", "2.50\t")})
    expect_problem(post(wrong), 400, "malformed-json");
}

BOOST_AUTO_TEST_CASE(a_missing_or_unequal_key_is_400) {
  sale x;
  auto body = x.body();
  auto key_member = "\"idempotency_key\":\"" + x.idempotency_key + "\",";
  auto without = replaced(body, key_member, "");
  expect_problem(post(without), 400, "idempotency-key-missing");
  expect_problem(post(replaced(body, x.idempotency_key, "no-uuid")), 400,
                 "idempotency-key-missing");
  expect_problem(post(body, {{"Idempotency-Key", random_uuid()}}), 400,
                 "idempotency-key-mismatch");
  auto quoted
    = post(without, {{"Idempotency-Key", "\"" + x.idempotency_key + "\""}});
  BOOST_TEST(quoted.status == 201, quoted.body);
}

BOOST_AUTO_TEST_CASE(every_broken_rule_is_told_at_once) {
  auto got = post(R"({"branch_id":"branch-1","pos_id":"","cashier_id":null,)"
                  R"("idempotency_key":")"
                  + random_uuid()
                  + R"(","surprise":1,"items":[{"product_id":"a",)"
                    R"("unit_price":"1.005","qty":2},{"product_id":"a",)"
                    R"("unit_price":-1,"qty":1}]})");
  expect_problem(got, 422, "validation-failed");
  std::set<std::string> pointers;
  for (int i = 0; i < 20; ++i)
    pointers.insert(got.at("errors." + std::to_string(i) + ".pointer"));
  for (const char* expected :
       {"/pos_id", "/cashier_id", "/receipt_id", "/surprise",
        "/items/0/unit_price", "/items/0/qty", "/items/1/product_id",
        "/items/1/unit_price"})
    BOOST_TEST(pointers.count(expected) == 1u, expected);
}

BOOST_AUTO_TEST_CASE(customers_are_known_new_or_refused) {
  auto made_up = random_uuid();
  sale x;
  x.user_id = made_up;
  auto unknown = post(x.body());
  expect_problem(unknown, 422, "validation-failed");
  BOOST_TEST(unknown.at("errors.0.pointer") == "/user_id");
  BOOST_TEST(count("SELECT count(*) FROM customers WHERE customer_id = '"
                   + made_up + "'")
             == 0);
  x.new_customer = true;
  auto offline = post(x.body());
  BOOST_TEST(offline.status == 201, offline.body);
  BOOST_TEST(offline.at("new_customer") == "true");
  sale returning;
  returning.user_id = made_up;
  auto back = post(returning.body());
  BOOST_TEST(back.status == 201, back.body);
  BOOST_TEST(back.at("new_customer") == "false");
  BOOST_TEST(back.at("user_id") == made_up);
  sale version_one;
  version_one.user_id = "a6a3e2f0-0000-11ee-8000-000000000000";
  expect_problem(post(version_one.body()), 422, "validation-failed");
}

BOOST_AUTO_TEST_CASE(keys_open_only_their_own_doors) {
  sale x;
  auto body = x.body();
  header_list json{{"Content-Type", "application/json"}};
  auto nobody = program.request("POST", "/purchases", json, body);
  expect_problem(nobody, 401, "unauthorized");
  BOOST_TEST(nobody.header("www-authenticate") != "");
  auto with = [&](const std::string& key) {
    auto headers = json;
    headers.emplace_back("Authorization", "Bearer " + key);
    return program.request("POST", "/purchases", headers, body);
  };
  BOOST_TEST(with("tsk_till_wrong").status == 401);
  BOOST_TEST(with(program.where().owner_key).status == 403);
  BOOST_TEST(program.post("branch-2", body).status == 403);
  BOOST_TEST(
    program.get("/analytics/summary", program.where().till_keys.at("branch-1"))
      .status
    == 403);
  sale stranger;
  stranger.branch_id = "branch-9";
  expect_problem(post(stranger.body()), 422, "validation-failed");
}

BOOST_AUTO_TEST_CASE(method_path_type_and_size_are_checked) {
  auto no_path = program.request("GET", "/nowhere", {});
  expect_problem(no_path, 404, "not-found");
  auto no_method = program.request("DELETE", "/purchases", {});
  expect_problem(no_method, 405, "method-not-allowed");
  BOOST_TEST(no_method.header("allow").find("POST") != std::string::npos);
  sale x;
  header_list plain{
    {"Authorization", "Bearer " + program.where().till_keys.at("branch-1")},
    {"Content-Type", "text/plain"}};
  expect_problem(program.request("POST", "/purchases", plain, x.body()), 415,
                 "unsupported-media-type");
  std::string large(64 * 1024 + 1, ' ');
  expect_problem(post(large), 413, "body-too-large");
}

BOOST_AUTO_TEST_CASE(a_sale_can_be_looked_up_by_id_and_by_key) {
  sale x;
  auto made = post(x.body());
  auto till = program.where().till_keys.at("branch-1");
  auto other_till = program.where().till_keys.at("branch-2");
  auto by_id = program.get(made.header("location"), till);
  BOOST_TEST(by_id.status == 200, by_id.body);
  BOOST_TEST(by_id.at("receipt_id") == x.receipt_id);
  BOOST_TEST(by_id.at("items.0.unit_price") == "2.50");
  BOOST_TEST(program.ask(made.header("location")).status == 200);
  BOOST_TEST(program.get(made.header("location"), other_till).status == 404);
  auto key_query = "/purchases?branch_id=branch-1&idempotency_key=";
  BOOST_TEST(program.get(key_query + x.idempotency_key, till).status == 200);
  BOOST_TEST(program.get(key_query + random_uuid(), till).status == 404);
  BOOST_TEST(program.get(key_query + x.idempotency_key, other_till).status
             == 403);
}

BOOST_AUTO_TEST_CASE(customers_come_in_pages_and_branches_to_any_key) {
  for (int i = 0; i < 3; ++i)
    post(sale{}.body());
  auto till = program.where().till_keys.at("branch-3");
  auto first = program.get("/customers?limit=2", till);
  BOOST_TEST(first.status == 200, first.body);
  BOOST_TEST(first.at("customers") == "[2]");
  auto second = program.get(
    "/customers?limit=2&after=" + first.at("customers.1.user_id"), till);
  BOOST_TEST(second.at("customers.0.user_id")
             > first.at("customers.1.user_id"));
  auto branches = program.get("/branches", till);
  BOOST_TEST(branches.at("branches") == "[3]");
  BOOST_TEST(branches.at("branches.0.time_zone") == "UTC");
}

BOOST_AUTO_TEST_CASE(trace_context_comes_back_and_reaches_the_event) {
  auto trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  sale x;
  auto got = post(x.body(), {{"traceparent", trace}});
  BOOST_TEST(got.header("traceparent") == trace);
  BOOST_TEST(count("SELECT count(*) FROM outbox_events WHERE event_id = '"
                   + got.at("event_id") + "' AND payload LIKE '%"
                   + std::string{trace} + "%'")
             == 1);
}

// Goal: a till whose key is stuck in somebody's open transaction waits alone.
// Method: psql's part is played by a session that inserts the row and sits.
BOOST_AUTO_TEST_CASE(a_key_held_by_a_stuck_session_costs_only_its_own_till) {
  sale stuck;
  stuck.body();
  pqxx::connection session{program.where().oltp_dsn};
  pqxx::work holder{session};
  holder.exec("INSERT INTO purchases SELECT (jsonb_populate_record(p, "
              "jsonb_build_object('purchase_id', gen_random_uuid(), "
              "'event_id', gen_random_uuid(), 'outbox_seq', -1, "
              "'receipt_id', 'held-"
              + stuck.receipt_id + "', 'idempotency_key', '"
              + stuck.idempotency_key
              + "'))).* FROM purchases p WHERE branch_id = 'branch-1' LIMIT 1");
  answer held;
  std::thread till{[&, this] { held = post(stuck.body()); }};
  std::vector<double> waits;
  for (int i = 0; i < 40; ++i) {
    auto begin = std::chrono::steady_clock::now();
    BOOST_TEST(post(sale{}.body()).status == 201);
    waits.push_back(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
        .count());
  }
  till.join();
  expect_problem(held, 409, "request-in-progress");
  BOOST_TEST(held.header("retry-after") != "");
  std::sort(waits.begin(), waits.end());
  // Far below what the stuck one waited, for all but those that met it first.
  BOOST_TEST(waits[waits.size() / 2] < 0.5);
  holder.abort();
  BOOST_TEST(post(stuck.body()).status == 201);
}

BOOST_AUTO_TEST_CASE(keys_are_made_and_revoked_without_a_restart) {
  auto dir = the_shop().directory.path() + "/data";
  auto made = run_command({"key", "create", "--data-dir", dir, "--role", "till",
                           "--branch", "branch-1", "--label", "counter 2"});
  BOOST_REQUIRE_MESSAGE(made.code == 0, made.errors);
  auto secret = made.output.substr(0, made.output.find('\n'));
  auto works = [&] { return program.get("/branches", secret).status == 200; };
  BOOST_TEST(eventually(works, 10s));
  auto list = run_command({"key", "list", "--data-dir", dir});
  auto line = list.output.substr(0, list.output.find("counter 2"));
  line = line.substr(line.rfind('\n') + 1);
  BOOST_TEST(list.output.find(secret) == std::string::npos);
  auto revoked
    = run_command({"key", "revoke", line.substr(0, 36), "--data-dir", dir});
  BOOST_TEST(revoked.code == 0, revoked.errors);
  // The contract's bound, plus the time of the last look.
  BOOST_TEST(eventually([&] { return !works(); }, 5s));
  BOOST_TEST(program.get("/branches", secret).status == 401);
}

BOOST_AUTO_TEST_CASE(the_catalogue_enriches_events_and_unknown_products_sell) {
  auto dir = the_shop().directory.path();
  auto file = dir + "/catalog.csv";
  {
    FILE* out = fopen(file.c_str(), "w");
    fputs("product_id,name,category\nlatte,\"Caffè Latte, large\",Coffee\n",
          out);
    fclose(out);
  }
  auto imported
    = run_command({"catalog", "import", file, "--data-dir", dir + "/data"});
  BOOST_REQUIRE_MESSAGE(imported.code == 0, imported.errors);
  auto enriched = [&] {
    sale x;
    x.items = {{"latte", "4.00", "LATTE L"}, {"nobody-knows", "1.00", ""}};
    auto got = post(x.body());
    BOOST_TEST(got.status == 201);
    return count("SELECT count(*) FROM outbox_events WHERE event_id = '"
                 + got.at("event_id")
                 + "' AND payload::jsonb #>> '{data,items,0,category}' = "
                   "'Coffee' AND payload::jsonb #>> '{data,items,0,name}' = "
                   "'Caffè Latte, large'")
           == 1;
  };
  BOOST_TEST(eventually(enriched, 10s));
}

BOOST_AUTO_TEST_SUITE_END()

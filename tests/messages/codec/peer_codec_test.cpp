#include "messages/codec/peer_codec.hpp"

#include "messages/core/limits.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <random>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

using kind = shard_query::kind;

constexpr calendar_day day{calendar_day::duration{20'000}};

shard_query_ptr query(kind what, std::string product = {}) {
  auto result = std::make_shared<shard_query>();
  result->what = what;
  result->from = day;
  result->to = day + calendar_day::duration{6};
  result->previous_from = day - calendar_day::duration{7};
  result->previous_to = day - calendar_day::duration{1};
  result->minute_max = 615;
  result->product_id = std::move(product);
  result->by_revenue = true;
  result->limit = 10;
  return result;
}

bool same(const shard_query& x, const shard_query& y) {
  return x.what == y.what && x.from == y.from && x.to == y.to
         && x.previous_from == y.previous_from && x.previous_to == y.previous_to
         && x.minute_max == y.minute_max && x.product_id == y.product_id
         && x.by_revenue == y.by_revenue && x.limit == y.limit;
}

product_sums_ptr made_up_products(size_t count) {
  auto result = std::make_shared<std::vector<product_sums>>();
  for (size_t i = 0; i < count; ++i) {
    auto n = static_cast<int64_t>(i);
    result->push_back({"p-" + std::to_string(i),
                       {"Käse \"alt\"\n" + std::to_string(i), "Theke", n},
                       {n, 250 * n}});
  }
  return result;
}

/// An answer with something in every member.
shard_answer_ptr full_answer(const std::string& branch, size_t products = 3) {
  auto result = std::make_shared<shard_answer>();
  auto& x = *result;
  x.branch_id = branch;
  x.as_of = from_ms(1'730'000'000'123);
  x.pending_events = 7;
  x.lag_ms = 42;
  x.day = {{1000, 4, 9}, {3, 1, -2}};
  x.previous = {{900, 3, 8}, {2, 2, 2}};
  x.days.emplace_back(day, x.day);
  x.days.emplace_back(day + calendar_day::duration{1}, x.previous);
  x.hours.push_back({day, from_ms(1'729'999'999'000), {5, 1, 2}});
  auto heat = std::make_shared<heat_map>();
  (*heat)[heat_cell(1, 0)] = {1, 2, 3};
  (*heat)[heat_cell(7, 23)] = {4, 5, 6};
  x.heat = heat;
  x.products = made_up_products(products);
  x.previous_products = made_up_products(0);
  x.product_days.emplace_back(day, product_totals{2, 500});
  x.label = {"Espresso", "Drinks", 99};
  loyal_customer customer;
  customer.customer_id.bytes[3] = 17;
  customer.totals = {12, 3400, from_ms(1'729'000'000'000)};
  x.customers.push_back(customer);
  return result;
}

bool same(const product_sums_ptr& x, const product_sums_ptr& y) {
  return !x || !y ? x == y : *x == *y;
}

bool same(const shard_answer& x, const shard_answer& y) {
  auto same_customer = [](const auto& a, const auto& b) {
    return a.customer_id == b.customer_id && a.totals == b.totals;
  };
  return x.branch_id == y.branch_id && x.as_of == y.as_of
         && x.pending_events == y.pending_events && x.lag_ms == y.lag_ms
         && x.days == y.days && x.day == y.day && x.previous == y.previous
         && x.hours == y.hours && !x.heat == !y.heat
         && (!x.heat || *x.heat == *y.heat) && same(x.products, y.products)
         && same(x.previous_products, y.previous_products)
         && x.product_days == y.product_days && x.label == y.label
         && std::equal(x.customers.begin(), x.customers.end(),
                       y.customers.begin(), y.customers.end(), same_customer);
}

/// Reads the documents of an answer. @returns what is wrong.
std::string read(const std::vector<std::string>& documents, peer_answer& out) {
  peer_answer_reader reader;
  for (const auto& document : documents)
    if (auto wrong = reader.take(document); !wrong.empty())
      return wrong;
  if (!reader.complete())
    return "not complete";
  out = reader.finish();
  return {};
}

std::string query_error(const std::string& text) {
  peer_query ignored;
  return read_peer_query(text, ignored);
}

std::string answer_error(const std::string& text) {
  peer_answer ignored;
  return read({text}, ignored);
}

} // namespace

BOOST_AUTO_TEST_SUITE(peer_codec_suite)

BOOST_AUTO_TEST_CASE(a_query_comes_back_as_it_was) {
  peer_query x;
  x.timeout = 2500ms;
  for (auto what :
       {kind::status, kind::days, kind::summary, kind::hours, kind::heat,
        kind::products, kind::product_days, kind::loyal}) {
    x.branches.push_back("b-" + std::to_string(x.branches.size()));
    x.queries.push_back(query(what, "süß"));
  }
  peer_query y;
  BOOST_TEST(read_peer_query(to_json(x), y) == "");
  BOOST_TEST((y.what == peer_query::kind::ask));
  BOOST_TEST((y.timeout == x.timeout));
  BOOST_TEST(y.branches == x.branches, boost::test_tools::per_element());
  BOOST_REQUIRE(y.queries.size() == x.queries.size());
  for (size_t i = 0; i < x.queries.size(); ++i)
    BOOST_TEST(same(*x.queries[i], *y.queries[i]));
}

// Nodes of the same version understand each other whatever their release: these
// bytes do not change without a new `peer_version`.
BOOST_AUTO_TEST_CASE(the_bytes_are_those_of_version_1) {
  peer_query x;
  x.timeout = 2500ms;
  x.branches = {"b-0", "b-1"};
  x.queries = {query(kind::product_days, "p"), query(kind::product_days, "p")};
  BOOST_TEST(
    to_json(x)
    == R"({"v":1,"kind":"ask","patience_ms":2500,"questions":[{"what":")"
       R"(product-days","from":20000,"to":20006,"previous_from":19993,)"
       R"("previous_to":19999,"minute_max":615,"product":"p",)"
       R"("by_revenue":true,"limit":10}],"branches":[["b-0",0],["b-1",0]]})");
  peer_query after;
  after.what = peer_query::kind::after;
  after.timeout = 2s;
  after.event_id.bytes[2] = 5;
  after.branches = {"b-1", "b-2"};
  BOOST_TEST(to_json(after)
             == R"({"v":1,"kind":"after","patience_ms":2000,)"
                R"("event":"00000500-0000-0000-0000-000000000000",)"
                R"("branches":["b-1","b-2"]})");
  peer_answer y;
  y.applied = true;
  y.parts["b-1"] = {errc::none, full_answer("b-1")};
  y.parts["b-2"] = {errc::not_owner, nullptr};
  BOOST_TEST(
    to_json(y).front()
    == R"({"v":1,"chunk":0,"applied":true,"parts":[{"branch":"b-1",)"
       R"("as_of":1730000000123,"pending":7,"lag":42,"day":[1000,4,9,3,1,-2],)"
       R"("previous":[900,3,8,2,2,2],"label":["Espresso","Drinks",99],)"
       R"("days":[[20000,1000,4,9,3,1,-2],[20001,900,3,8,2,2,2]],)"
       R"("hours":[[20000,1729999999000,5,1,2]],)"
       R"("heat":[[0,1,2,3],[167,4,5,6]],)"
       R"("products":[["p-0","Käse \"alt\"\n0","Theke",0,0,0],)"
       R"(["p-1","Käse \"alt\"\n1","Theke",1,1,250],)"
       R"(["p-2","Käse \"alt\"\n2","Theke",2,2,500]],"previous_products":[],)"
       R"("product_days":[[20000,2,500]],)"
       R"("customers":[["00000011-0000-0000-0000-000000000000",12,3400,)"
       R"(1729000000000]]},{"branch":"b-2","error":"not-owner"}],"last":true})");
  BOOST_TEST(peer_refusal(errc::overloaded)
             == R"({"v":1,"error":"overloaded"})");
  BOOST_TEST(to_json("n", {{"b", 5, uuid{}, from_ms(9), 1, nullptr}}).front()
             == R"({"v":1,"node":"n","notes":[["b",5,)"
                R"("00000000-0000-0000-0000-000000000000",9]]})");
}

BOOST_AUTO_TEST_CASE(a_query_for_every_branch_fits_one_message) {
  peer_query x;
  for (size_t i = 0; i < limits::branches_max; ++i) {
    // Each its own object, as QUERY makes them.
    x.branches.push_back(std::string(59, 'b') + std::to_string(i));
    x.queries.push_back(query(kind::summary));
  }
  auto text = to_json(x);
  BOOST_TEST(text.size() < limits::peer_message_bytes_max);
  peer_query y;
  BOOST_TEST(read_peer_query(text, y) == "");
  BOOST_TEST(y.queries.size() == limits::branches_max);
}

BOOST_AUTO_TEST_CASE(a_wait_for_an_event_comes_back_as_it_was) {
  peer_query x;
  x.what = peer_query::kind::after;
  x.timeout = 2s;
  x.event_id = uuid_source{7}.v7(from_ms(1'730'000'000'000));
  x.branches = {"b-1", "b-2"};
  peer_query y;
  BOOST_TEST(read_peer_query(to_json(x), y) == "");
  BOOST_TEST((y.what == peer_query::kind::after));
  BOOST_TEST((y.event_id == x.event_id));
  BOOST_TEST(y.branches == x.branches, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_answer_comes_back_as_it_was) {
  peer_answer x;
  x.applied = true;
  x.parts["b-1"] = {errc::none, full_answer("b-1")};
  x.parts["b-2"] = {errc::not_owner, nullptr};
  auto empty = std::make_shared<shard_answer>();
  empty->branch_id = "b-3";
  x.parts["b-3"] = {errc::none, empty};
  auto documents = to_json(x);
  BOOST_TEST(documents.size() == 1u);
  peer_answer y;
  BOOST_TEST(read(documents, y) == "");
  BOOST_TEST(y.applied);
  BOOST_REQUIRE(y.parts.size() == 3u);
  BOOST_TEST(same(*y.parts["b-1"].answer, *x.parts["b-1"].answer));
  BOOST_TEST((y.parts["b-2"].error == errc::not_owner));
  BOOST_TEST(!y.parts["b-2"].answer);
  BOOST_TEST(same(*y.parts["b-3"].answer, *empty));
  BOOST_TEST(!y.parts["b-3"].answer->lag_ms);
}

BOOST_AUTO_TEST_CASE(a_long_answer_is_cut_between_rows_and_put_together) {
  peer_answer x;
  for (const auto* branch : {"b-1", "b-2", "b-3"})
    x.parts[branch] = {errc::none, full_answer(branch, 10'000)};
  auto documents = to_json(x);
  BOOST_TEST(documents.size() > 3u);
  for (const auto& document : documents)
    BOOST_TEST(document.size() < limits::peer_message_part_bytes
                                   + limits::peer_message_part_bytes / 2);
  peer_answer y;
  BOOST_TEST(read(documents, y) == "");
  for (const auto& [branch, part] : x.parts)
    BOOST_TEST(same(*y.parts[branch].answer, *part.answer));
}

BOOST_AUTO_TEST_CASE(a_document_that_is_missing_or_comes_twice_voids_all) {
  peer_answer x;
  x.parts["b-1"] = {errc::none, full_answer("b-1", 20'000)};
  auto documents = to_json(x);
  BOOST_REQUIRE(documents.size() > 2u);
  auto gap = documents;
  gap.erase(gap.begin() + 1);
  peer_answer y;
  BOOST_TEST(read(gap, y) == "a document is missing");
  auto twice = documents;
  twice.insert(twice.begin(), documents.front());
  BOOST_TEST(read(twice, y) == "a document is missing");
  auto cut = documents;
  cut.pop_back();
  BOOST_TEST(read(cut, y) == "not complete");
  auto more = documents;
  more.push_back(documents.back());
  BOOST_TEST(read(more, y) == "too many documents");
}

BOOST_AUTO_TEST_CASE(another_version_differs_from_a_broken_document) {
  BOOST_TEST(query_error(R"({"v":2,"kind":"ask"})") == peer_wrong_version);
  BOOST_TEST(answer_error(R"({"v":2,"chunk":0})") == peer_wrong_version);
  BOOST_TEST(query_error(R"({"kind":"ask"})") == "no version");
  peer_notices notices;
  BOOST_TEST(read_peer_notices(R"({"v":2,"node":"n","notes":[]})", notices)
             == peer_wrong_version);
}

BOOST_AUTO_TEST_CASE(members_that_are_not_known_are_skipped) {
  peer_answer y;
  BOOST_TEST(
    read({R"({"v":1,"chunk":0,"news":[1,{"a":2}],"parts":[{"branch":"b",)"
          R"("as_of":5,"pending":0,"lag":0,"day":[1,2,3,4,5,6,7],)"
          R"("previous":[0,0,0,0,0,0],"label":["","",0],"later":[]}],)"
          R"("last":true})"},
         y)
    == "");
  BOOST_REQUIRE(y.parts["b"].answer);
  BOOST_TEST(y.parts["b"].answer->day.sales.revenue == 1);
}

BOOST_AUTO_TEST_CASE(a_refusal_says_why) {
  peer_answer_reader reader;
  BOOST_TEST(reader.take(peer_refusal(errc::overloaded)) == "");
  BOOST_TEST(reader.complete());
  BOOST_TEST((reader.refused() == errc::overloaded));
  peer_answer_reader later;
  BOOST_TEST(later.take(R"({"v":1,"error":"on-holiday"})") == "");
  BOOST_TEST((later.refused() == errc::unavailable));
}

BOOST_AUTO_TEST_CASE(values_out_of_range_are_refused) {
  for (const auto* text :
       {"", "[]", "{}", "null", R"({"v":1})", R"({"v":1.5})", R"({"v":"1"})",
        R"({"v":1,"kind":"ask","patience_ms":-1})",
        R"({"v":1,"kind":"ask","patience_ms":99999999})",
        R"({"v":1,"kind":"ask","patience_ms":1,"questions":[],)"
        R"("branches":[["b",0]]})",
        R"({"v":1,"kind":"ask","patience_ms":1,"questions":[],)"
        R"("branches":[["b"]]})",
        R"({"v":1,"kind":"after","patience_ms":1,"event":"x","branches":[]})",
        R"({"v":1,"kind":"sing","patience_ms":1})"})
    BOOST_TEST(query_error(text) != "", text);
  auto day_query = [](const std::string& from) {
    return R"({"v":1,"kind":"ask","patience_ms":1,"branches":[],"questions":)"
           R"([{"what":"days","from":)"
           + from
           + R"(,"to":0,"previous_from":0,"previous_to":0,"minute_max":0,)"
             R"("product":"","by_revenue":false,"limit":0}]})";
  };
  BOOST_TEST(query_error(day_query("20000")) == "");
  BOOST_TEST(query_error(day_query("9999999")) == "a day");
  BOOST_TEST(query_error(day_query("9223372036854775808")) == "a day");
  BOOST_TEST(query_error(day_query("null")) == "a day");
  auto heat = [](const std::string& cell) {
    return R"({"v":1,"chunk":0,"parts":[{"branch":"b","heat":[[)" + cell
           + R"(,1,1,1]]}],"last":true})";
  };
  BOOST_TEST(answer_error(heat("167")) == "");
  BOOST_TEST(answer_error(heat("168")) == "a cell");
  BOOST_TEST(answer_error(heat("-1")) == "a cell");
}

BOOST_AUTO_TEST_CASE(rows_without_a_head_are_no_answer) {
  peer_answer y;
  BOOST_TEST(read({R"({"v":1,"chunk":0,"parts":[{"branch":"b","products":[]}],)"
                   R"("last":true})"},
                  y)
             == "");
  BOOST_TEST((y.parts["b"].error == errc::internal));
}

BOOST_AUTO_TEST_CASE(the_number_of_rows_and_documents_is_bounded) {
  std::string rows;
  for (int i = 0; i < 20'000; ++i)
    rows += "[1,1,1],";
  rows.pop_back();
  peer_answer_reader reader;
  std::string wrong;
  size_t taken = 0;
  while (wrong.empty() && taken < 2 * limits::peer_message_parts_max) {
    auto text = R"({"v":1,"chunk":)" + std::to_string(taken)
                + R"(,"parts":[{"branch":"b","product_days":[)" + rows
                + R"(]}],"last":false})";
    wrong = reader.take(text);
    ++taken;
  }
  BOOST_TEST(wrong == "too many rows");
  BOOST_TEST(taken <= limits::peer_answer_rows_max / 20'000 + 1);
  peer_answer_reader empty;
  wrong.clear();
  for (taken = 0; wrong.empty(); ++taken)
    wrong = empty.take(R"({"v":1,"chunk":)" + std::to_string(taken)
                       + R"(,"parts":[],"last":false})");
  BOOST_TEST(wrong == "too many documents");
  BOOST_TEST(taken == limits::peer_message_parts_max + 1);
  BOOST_TEST(
    query_error(std::string(limits::peer_message_bytes_max, ' ') + "{}")
    == "too long");
}

BOOST_AUTO_TEST_CASE(broken_bytes_are_refused_and_never_crash) {
  auto seed = std::random_device{}();
  std::cout << "seed " << seed << std::endl;
  std::mt19937 prng{seed};
  peer_query x;
  x.timeout = 1s;
  x.branches = {"b-1", "b-2"};
  x.queries = {query(kind::summary), query(kind::loyal)};
  peer_answer y;
  y.parts["b-1"] = {errc::none, full_answer("b-1")};
  auto notices
    = to_json("n", {{"b-1", 5, uuid_source{1}.v4(), from_ms(9), 1, nullptr}});
  const std::string originals[] = {to_json(x), to_json(y).front(), notices[0]};
  size_t refused = 0;
  for (int i = 0; i < 6000; ++i) {
    auto text = originals[i % 3];
    for (int changes = 1 + static_cast<int>(prng() % 3); changes > 0; --changes)
      text[prng() % text.size()] = static_cast<char>(prng() % 256);
    if (prng() % 4 == 0)
      text.resize(prng() % text.size());
    peer_query query_out;
    peer_notices notices_out;
    refused += read_peer_query(text, query_out).empty() ? 0 : 1;
    refused += answer_error(text).empty() ? 0 : 1;
    refused += read_peer_notices(text, notices_out).empty() ? 0 : 1;
    BOOST_REQUIRE(query_out.branches.size() <= limits::branches_max);
  }
  BOOST_TEST(refused > 12'000u);
}

BOOST_AUTO_TEST_CASE(notices_come_back_without_payload_in_bounded_documents) {
  uuid_source ids{3};
  std::vector<commit_notice> notices;
  for (int64_t i = 0; i < static_cast<int64_t>(limits::peer_notices_max) + 5;
       ++i)
    notices.push_back({"b-" + std::to_string(i % 7), i,
                       ids.v7(from_ms(1'730'000'000'000 + i)),
                       from_ms(1'730'000'000'000 + i), 1,
                       std::make_shared<const std::string>("payload")});
  auto documents = to_json("host:8080", notices);
  BOOST_REQUIRE(documents.size() == 2u);
  std::vector<commit_notice> back;
  for (const auto& document : documents) {
    BOOST_TEST(document.size() < limits::peer_message_bytes_max / 2);
    peer_notices x;
    BOOST_TEST(read_peer_notices(document, x) == "");
    BOOST_TEST(x.node == "host:8080");
    back.insert(back.end(), x.notices.begin(), x.notices.end());
  }
  BOOST_REQUIRE(back.size() == notices.size());
  for (size_t i = 0; i < notices.size(); ++i) {
    BOOST_TEST(back[i].branch_id == notices[i].branch_id);
    BOOST_TEST(back[i].seq == notices[i].seq);
    BOOST_TEST((back[i].event_id == notices[i].event_id));
    BOOST_TEST((back[i].recorded_at == notices[i].recorded_at));
    BOOST_TEST(!back[i].payload);
  }
  BOOST_TEST(to_json("n", {}).empty());
}

BOOST_AUTO_TEST_SUITE_END()

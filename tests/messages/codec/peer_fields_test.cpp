#include "messages/codec/peer_fields.hpp"

#include <boost/test/unit_test.hpp>

#include <concepts>
#include <string>
#include <type_traits>
#include <vector>

namespace tillstream::peer {

namespace {

struct pair_row {
  int64_t count = 0;
  std::string name;
};

} // namespace

template <class V, class T>
requires std::same_as<std::remove_const_t<T>, pair_row>
void columns(V& v, T& x) {
  v.integer(x.count, 0, 9, "a count");
  v.text(x.name, 3, "a name");
}

} // namespace tillstream::peer

using namespace tillstream;
using namespace tillstream::peer;

namespace {

std::string
read(std::string_view json, std::vector<pair_row>& out, size_t max = 2) {
  json_document document;
  BOOST_REQUIRE_EQUAL(document.parse(json), "");
  std::string wrong;
  value_reader in{wrong, document.root()};
  out.clear();
  in.at("rows").rows(out, max, "rows");
  return wrong;
}

} // namespace

BOOST_AUTO_TEST_SUITE(peer_fields_suite)

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back_by_the_same_description) {
  std::string text;
  json_writer out{text};
  out.begin_object();
  value_writer v{out};
  v.at("rows").rows(std::vector<pair_row>{{1, "a"}, {9, "xyz"}}, 0, {});
  out.end_object();
  BOOST_TEST(text == R"({"rows":[[1,"a"],[9,"xyz"]]})");
  std::vector<pair_row> rows;
  BOOST_TEST(read(text, rows) == "");
  BOOST_REQUIRE_EQUAL(rows.size(), 2u);
  BOOST_TEST(rows[1].count == 9);
  BOOST_TEST(rows[1].name == "xyz");
}

BOOST_AUTO_TEST_CASE(rows_may_be_longer_but_not_shorter_nor_more) {
  std::vector<pair_row> rows;
  BOOST_TEST(read(R"({"rows":[[1,"a",true,[]]]})", rows) == "");
  BOOST_TEST(read(R"({"rows":[[1]]})", rows) == "a name");
  BOOST_TEST(read(R"({"rows":[[]]})", rows) == "a count");
  BOOST_TEST(read(R"({"rows":[{"count":1}]})", rows) == "a row");
  BOOST_TEST(read(R"({"rows":[[1,"a"],[1,"a"],[1,"a"]]})", rows) == "rows");
  BOOST_TEST(rows.empty());
}

BOOST_AUTO_TEST_CASE(
  what_is_absent_of_another_type_or_out_of_bounds_is_refused) {
  std::vector<pair_row> rows;
  BOOST_TEST(read("{}", rows) == "rows");
  BOOST_TEST(read("[]", rows) == "rows");
  BOOST_TEST(read(R"({"rows":{}})", rows) == "rows");
  for (const auto* count : {"-1", "10", "1.5", "\"1\"", "null"})
    BOOST_TEST(read(std::string{R"({"rows":[[)"} + count + R"(,"a"]]})", rows)
                 == "a count",
               count);
  BOOST_TEST(read(R"({"rows":[[1,"abcd"]]})", rows) == "a name");
  // The first thing wrong stays.
  BOOST_TEST(read(R"({"rows":[[10,"abcd"]]})", rows) == "a count");
}

BOOST_AUTO_TEST_CASE(optional_fields_may_be_absent_and_not_wrong) {
  json_document document;
  BOOST_REQUIRE_EQUAL(document.parse(R"({"a":5,"yes":true,"odd":"x"})"), "");
  std::string wrong;
  value_reader in{wrong, document.root()};
  std::optional<int64_t> a, b;
  bool yes = false, no = false;
  in.optional_integer("a", a, 0, 9, "a number");
  in.optional_integer("b", b, 0, 9, "a number");
  in.flag("yes", yes);
  in.flag("no", no);
  BOOST_TEST(wrong == "");
  BOOST_TEST((a == 5 && !b && yes && !no));
  in.flag("odd", no);
  BOOST_TEST(wrong == "odd");
}

BOOST_AUTO_TEST_SUITE_END()

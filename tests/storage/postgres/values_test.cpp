#include "storage/postgres/values.hpp"

#include "storage/postgres/connection.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::storage::postgres;

namespace {

constexpr statement elements{"test_elements", R"(
  SELECT u.t, u.i, u.n::text
    FROM unnest($1::text[], $2::uuid[], $3::integer[]) AS u (t, i, n))"};

value_view view(const char* text, bool null = false) {
  return {text, std::string_view{text}.size(), null, "column_name"};
}

std::string complaint(void (*read)(const value_view&), const value_view& x) {
  try {
    read(x);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return {};
}

} // namespace

BOOST_AUTO_TEST_SUITE(values_suite)

BOOST_AUTO_TEST_CASE(columns_are_read_as_our_types) {
  BOOST_TEST(as_int(view("-9223372036854775808")) == INT64_MIN);
  BOOST_TEST((as_timestamp(view("1700000000123")) == from_ms(1700000000123)));
  BOOST_TEST((as_day(view("2024-02-29")) == *parse_day("2024-02-29")));
  BOOST_TEST(as_bool(view("t")));
  BOOST_TEST(!as_bool(view("f")));
  BOOST_TEST(as_text(view("text")) == "text");
}

BOOST_AUTO_TEST_CASE(null_is_an_empty_text_and_false) {
  BOOST_TEST(as_text(view("", true)) == "");
  BOOST_TEST(!as_bool(view("", true)));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_names_its_column) {
  for (const auto* text : {"", "1x", "9223372036854775808"})
    BOOST_TEST(complaint([](auto& x) { as_int(x); }, view(text))
                 .ends_with("column_name"));
  BOOST_TEST(complaint([](auto& x) { as_int(x); }, view("", true))
               .ends_with("column_name"));
  BOOST_TEST(complaint([](auto& x) { as_uuid(x); }, view("no"))
               .ends_with("column_name"));
  BOOST_TEST(complaint([](auto& x) { as_day(x); }, view("2024-02-30"))
               .ends_with("column_name"));
}

BOOST_AUTO_TEST_CASE(arrays_arrive_element_by_element) {
  connection db{test::fresh_database("")};
  std::vector<std::string> texts{"", "a,b", "\"{}\\'", "NULL"};
  std::vector<uuid> ids;
  uuid_source make{3};
  array_of<int32_t> numbers;
  for (size_t i = 0; i < texts.size(); ++i) {
    ids.push_back(make.v4());
    numbers.add_or_null(i == 2 ? std::optional<int32_t>{}
                               : static_cast<int32_t>(i) - 1);
  }
  auto rows = db.exec(elements, to_array(texts), to_array(ids), numbers);
  BOOST_REQUIRE(rows.size() == 4);
  for (size_t i = 0; i < texts.size(); ++i) {
    auto row = rows[static_cast<int>(i)];
    BOOST_TEST(as_text(row[0]) == texts[i]);
    BOOST_TEST((as_uuid(row[1]) == ids[i]));
    BOOST_TEST(row[2].is_null() == (i == 2));
  }
  BOOST_TEST(as_text(rows[0][2]) == "-1");
  std::set<std::string> none;
  BOOST_TEST(
    db.exec(elements, to_array(none), array_of<uuid>{}, array_of<int32_t>{})
      .empty());
}

BOOST_AUTO_TEST_SUITE_END()

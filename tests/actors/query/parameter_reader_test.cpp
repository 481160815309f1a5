#include "actors/query/parameter_reader.hpp"

#include "messages/core/limits.hpp"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace tillstream;

namespace {

http_request request(header_list query) {
  http_request result;
  result.query = std::move(query);
  return result;
}

/// The parameter that is wrong; empty: none.
std::string wrong_in(const parameter_reader& x) {
  return x.wrong() ? x.wrong()->first : std::string{};
}

} // namespace

BOOST_AUTO_TEST_SUITE(parameter_reader_suite)

BOOST_AUTO_TEST_CASE(what_is_not_there_has_its_default) {
  parameter_reader in{request({})};
  BOOST_TEST(!in.take("date"));
  BOOST_TEST(!in.take_day("date"));
  BOOST_TEST(in.take_limit() == 10u);
  BOOST_TEST(in.take_choice("by", "revenue", "quantity", true));
  BOOST_TEST(!in.take_choice("by", "revenue", "quantity", false));
  BOOST_TEST((in.take_size("period", bucket_size::day) == bucket_size::day));
  in.finish();
  BOOST_TEST(!in.wrong());
}

BOOST_AUTO_TEST_CASE(values_are_taken_once) {
  parameter_reader in{request({{"branch_id", "a"},
                               {"date", "2019-04-01"},
                               {"branch_id", "b"},
                               {"limit", "7"},
                               {"by", "quantity"},
                               {"granularity", "hour"}})};
  BOOST_TEST(in.has("branch_id"));
  BOOST_TEST(in.take_all("branch_id") == (std::vector<std::string>{"a", "b"}),
             boost::test_tools::per_element());
  BOOST_TEST(!in.has("branch_id"));
  BOOST_TEST(to_string(in.take_day("date").value()) == "2019-04-01");
  BOOST_TEST(in.take_limit() == 7u);
  BOOST_TEST(!in.take_choice("by", "revenue", "quantity", true));
  BOOST_TEST(
    (in.take_size("granularity", bucket_size::hour) == bucket_size::hour));
  in.finish();
  BOOST_TEST(!in.wrong());
}

BOOST_AUTO_TEST_CASE(the_first_that_is_wrong_is_named) {
  parameter_reader in{request({{"date", "1"}, {"date", "2"}, {"x", "y"}})};
  in.take_day("date");
  in.finish();
  BOOST_TEST(wrong_in(in) == "date");
  BOOST_TEST(in.wrong()->second == "may be given once only");
}

BOOST_AUTO_TEST_CASE(values_out_of_bounds_are_wrong) {
  for (auto limit : {std::string{"0"}, std::string{"-1"}, std::string{"1x"},
                     std::string{}, std::to_string(limits::rank_max + 1)}) {
    parameter_reader in{request({{"limit", limit}})};
    in.take_limit();
    BOOST_TEST(wrong_in(in) == "limit", limit);
  }
  parameter_reader hours{request({{"period", "hour"}})};
  hours.take_size("period", bucket_size::day);
  BOOST_TEST(wrong_in(hours) == "period");
  parameter_reader choice{request({{"by", "weight"}})};
  choice.take_choice("by", "revenue", "quantity", true);
  BOOST_TEST(wrong_in(choice) == "by");
}

BOOST_AUTO_TEST_CASE(what_nobody_takes_is_unknown) {
  parameter_reader in{request({{"colour", "red"}})};
  in.finish();
  BOOST_TEST(wrong_in(in) == "colour");
}

BOOST_AUTO_TEST_CASE(a_parameter_that_can_not_be_decoded_is_named) {
  auto garbled = request({});
  garbled.garbled_parameter = "from";
  parameter_reader in{garbled};
  BOOST_TEST(wrong_in(in) == "from");
}

BOOST_AUTO_TEST_SUITE_END()

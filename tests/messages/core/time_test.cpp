#include <boost/test/unit_test.hpp>

#include "messages/core/time.hpp"

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

std::string reread(std::string_view text) {
  auto t = parse_rfc3339(text);
  return t ? to_rfc3339(*t) : "refused";
}

calendar_day day(std::string_view text) {
  return parse_day(text).value();
}

} // namespace

BOOST_AUTO_TEST_SUITE(time_suite)

BOOST_AUTO_TEST_CASE(times_are_read_and_shown_in_utc) {
  BOOST_TEST(reread("2019-04-01T07:01:20-04:00") == "2019-04-01T11:01:20.000Z");
  BOOST_TEST(reread("2019-04-01T07:01:20.5-04:00")
             == "2019-04-01T11:01:20.500Z");
  BOOST_TEST(reread("2019-04-01t07:01:20z") == "2019-04-01T07:01:20.000Z");
  BOOST_TEST(reread("2019-04-01T00:00:00+05:30") == "2019-03-31T18:30:00.000Z");
  BOOST_TEST(reread("2019-04-01T00:00:00-00:00") == "2019-04-01T00:00:00.000Z");
  BOOST_TEST(reread("1969-12-31T23:59:59.999Z") == "1969-12-31T23:59:59.999Z");
  BOOST_TEST(reread("0001-01-01T00:00:00Z") == "0001-01-01T00:00:00.000Z");
  BOOST_TEST(reread("9999-12-31T23:59:59Z") == "9999-12-31T23:59:59.000Z");
}

BOOST_AUTO_TEST_CASE(digits_beyond_the_millisecond_are_cut_off) {
  BOOST_TEST(reread("2019-04-01T07:01:20.9999Z") == "2019-04-01T07:01:20.999Z");
  BOOST_TEST(reread("2019-04-01T07:01:20.12Z") == "2019-04-01T07:01:20.120Z");
  auto many = "2019-04-01T07:01:20." + std::string(10'000, '9') + "Z";
  BOOST_TEST(reread(many) == "2019-04-01T07:01:20.999Z");
}

BOOST_AUTO_TEST_CASE(a_leap_second_is_the_following_second) {
  BOOST_TEST(reread("2016-12-31T23:59:60Z") == "2017-01-01T00:00:00.000Z");
  BOOST_TEST(reread("2016-12-31T23:59:60.25Z") == "2017-01-01T00:00:00.250Z");
  BOOST_TEST(reread("2016-12-31T18:59:60-05:00") == "2017-01-01T00:00:00.000Z");
}

BOOST_AUTO_TEST_CASE(what_is_no_time_is_refused) {
  for (auto text : {
         "",
         "2019-04-01",
         "2019-04-01T07:01:20",
         "2019-04-01 07:01:20Z",
         "2019-04-01T07:01Z",
         "2019-04-01T07:01:20.Z",
         "2019-04-01T07:01:20,5Z",
         "2019-04-01T07:01:20+4:00",
         "2019-04-01T07:01:20+0400",
         "2019-04-01T07:01:20+24:00",
         "2019-04-01T07:01:20+04:60",
         "2019-04-01T07:01:20Z ",
         " 2019-04-01T07:01:20Z",
         "2019-04-01T07:01:20ZZ",
         "2019-4-1T07:01:20Z",
         "2019-02-29T07:01:20Z",
         "1900-02-29T07:01:20Z",
         "2019-04-31T07:01:20Z",
         "2019-00-01T07:01:20Z",
         "2019-13-01T07:01:20Z",
         "2019-04-00T07:01:20Z",
         "2019-04-01T24:00:00Z",
         "2019-04-01T07:60:20Z",
         "2019-04-01T07:01:61Z",
         "2019-04-01T07:01:60Z",
         "2019-04-01T23:59:60-04:00",
         "-019-04-01T07:01:20Z",
         "+2019-04-01T07:01:20Z",
         "2019-04-01T07:01:-1Z",
       })
    BOOST_TEST(reread(text) == "refused", text);
  BOOST_TEST(reread("2020-02-29T00:00:00Z") == "2020-02-29T00:00:00.000Z");
  BOOST_TEST(reread(std::string_view{"2019-04-01T07:01:20Z\0", 21})
             == "refused");
}

BOOST_AUTO_TEST_CASE(local_times_carry_their_offset) {
  auto t = *parse_rfc3339("2019-04-01T11:01:20.5Z");
  BOOST_TEST(to_rfc3339_local(t, -4h) == "2019-04-01T07:01:20-04:00");
  BOOST_TEST(to_rfc3339_local(t, 5h + 30min) == "2019-04-01T16:31:20+05:30");
  BOOST_TEST(to_rfc3339_local(t, -(9h + 30min)) == "2019-04-01T01:31:20-09:30");
  BOOST_TEST(to_rfc3339_local(t, 0s) == "2019-04-01T11:01:20+00:00");
  BOOST_TEST(to_rfc3339_local(t, 13h) == "2019-04-02T00:01:20+13:00");
}

BOOST_AUTO_TEST_CASE(days_are_read_back_as_written) {
  for (auto text :
       {"1900-01-01", "1970-01-01", "2019-04-01", "2999-12-31", "2020-02-29"})
    BOOST_TEST(to_string(day(text)) == text);
}

BOOST_AUTO_TEST_CASE(what_is_no_day_is_refused) {
  for (auto text :
       {"", "1899-12-31", "3000-01-01", "2019-02-29", "2019-4-1", "2019-04-01 ",
        "20190401", "2019-04-01T00:00:00Z", "2019-04-00", "today"})
    BOOST_TEST(!parse_day(text).has_value(), text);
}

BOOST_AUTO_TEST_CASE(weeks_begin_on_monday) {
  BOOST_TEST(iso_weekday(day("2019-04-01")) == 1);
  BOOST_TEST(iso_weekday(day("2019-04-07")) == 7);
  BOOST_TEST(iso_weekday(day("1969-12-31")) == 3);
  BOOST_TEST(to_string(week_start(day("2019-04-07"))) == "2019-04-01");
  BOOST_TEST(to_string(week_start(day("2019-04-01"))) == "2019-04-01");
  BOOST_TEST(to_string(week_start(day("2020-01-01"))) == "2019-12-30");
}

BOOST_AUTO_TEST_CASE(months_follow_each_other) {
  BOOST_TEST(to_string(month_start(day("2019-04-30"))) == "2019-04-01");
  BOOST_TEST(to_string(next_month(day("2019-01-31"))) == "2019-02-01");
  BOOST_TEST(to_string(next_month(day("2019-12-31"))) == "2020-01-01");
  BOOST_TEST(to_string(next_month(day("2020-02-01"))) == "2020-03-01");
}

BOOST_AUTO_TEST_CASE(every_millisecond_of_a_boundary_survives) {
  auto midnight = *parse_rfc3339("2020-03-01T00:00:00Z");
  for (int ms = -2000; ms <= 2000; ++ms) {
    auto t = midnight + std::chrono::milliseconds{ms};
    BOOST_REQUIRE((parse_rfc3339(to_rfc3339(t)) == t));
  }
}

BOOST_AUTO_TEST_SUITE_END()

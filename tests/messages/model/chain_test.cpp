#include <boost/test/unit_test.hpp>

#include "messages/codec/chain_file.hpp"
#include "messages/core/error.hpp"

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

timestamp at(std::string_view text) {
  return parse_rfc3339(text).value();
}

calendar_day day(std::string_view text) {
  return parse_day(text).value();
}

branch_clock clock_of(std::string zone, int day_start_minutes = 0) {
  branch where{"b", "B", std::move(zone), day_start_minutes};
  auto result = branch_clock::make(where);
  BOOST_REQUIRE(result);
  return *result;
}

/// Hours of a business day.
double hours_of(const branch_clock& clock, std::string_view text) {
  auto length = clock.begin_of(day(text) + std::chrono::days{1})
                - clock.begin_of(day(text));
  return std::chrono::duration<double, std::ratio<3600>>{length}.count();
}

/// `day hour minute`
std::string show(const branch_clock& clock, std::string_view text) {
  auto x = clock.at(at(text));
  return to_string(x.day) + " "
         + to_rfc3339_local(x.hour, clock.utc_offset(x.hour)) + " "
         + std::to_string(x.minute);
}

std::string problem_of(std::string_view json) {
  auto result = parse_chain(json);
  if (result)
    return "accepted";
  BOOST_TEST((result.error() == errc::invalid));
  return describe(result.error());
}

constexpr std::string_view coffee = R"({
  "name": "Coffee chain", "currency": "USD", "branches": [
    {"id": "branch-2", "name": "Lower Manhattan",
     "time_zone": "America/New_York", "day_start": "04:30"},
    {"id": "branch-1", "name": "Astoria", "time_zone": "America/New_York"},
    {"id": "branch-3"}]})";

} // namespace

// -- the chain file -----------------------------------------------------------

BOOST_AUTO_TEST_SUITE(chain_suite)

BOOST_AUTO_TEST_CASE(a_chain_file_is_read) {
  auto result = parse_chain(coffee);
  BOOST_REQUIRE(result);
  BOOST_TEST(result->name == "Coffee chain");
  BOOST_TEST((result->currency == currency{"USD", 2}));
  BOOST_REQUIRE(result->branches.size() == 3u);
  BOOST_TEST(
    (result->branches[0] == branch{"branch-1", "Astoria", "America/New_York"}));
  BOOST_TEST(result->branches[1].day_start_minutes == 270);
  BOOST_TEST((result->branches[2] == branch{"branch-3", "branch-3", "UTC"}));
}

BOOST_AUTO_TEST_CASE(branches_are_found_by_id) {
  auto chain = default_chain();
  BOOST_TEST(chain.branches.size() == 3u);
  BOOST_TEST(chain.currency.code == "USD");
  for (auto id : {"branch-1", "branch-2", "branch-3"}) {
    BOOST_REQUIRE(chain.find(id) != nullptr);
    BOOST_TEST(chain.find(id)->id == id);
    BOOST_TEST(chain.find(id)->time_zone == "UTC");
  }
  for (auto id : {"", "branch-", "branch-0", "branch-4", "branch-22", "zzz"})
    BOOST_TEST(chain.find(id) == nullptr);
}

BOOST_AUTO_TEST_CASE(a_bad_chain_file_is_refused_with_the_field) {
  struct {
    std::string_view json;
    std::string_view needle;
  } table[] = {
    {"{", "JSON"},
    {"[]", "object"},
    {"{}", "name"},
    {R"({"name":"x"})", "currency"},
    {R"({"name":"x","currency":"usd","branches":[{"id":"a"}]})", "currency"},
    {R"({"name":1,"currency":"USD","branches":[{"id":"a"}]})", "name"},
    {R"({"name":"x","currency":"USD"})", "branches"},
    {R"({"name":"x","currency":"USD","branches":[]})", "branches"},
    {R"({"name":"x","currency":"USD","branches":{}})", "branches"},
    {R"({"name":"x","currency":"USD","branches":[1]})", "branches[0]"},
    {R"({"name":"x","currency":"USD","branches":[{}]})", "branches[0].id"},
    {R"({"name":"x","currency":"USD","branches":[{"id":"a b"}]})",
     "branches[0].id"},
    {R"({"name":"x","currency":"USD","branches":[{"id":"a"},{"id":"a"}]})",
     "twice"},
    {R"({"name":"x","currency":"USD","branches":[{"id":"a","zone":"UTC"}]})",
     "branches[0].zone"},
    {R"({"name":"x","currency":"USD","branches":[{"id":"a","name":""}]})",
     "branches[0].name"},
    {R"({"name":"x","currency":"USD","extra":1,"branches":[{"id":"a"}]})",
     "extra"},
  };
  for (auto& [json, needle] : table) {
    auto problem = problem_of(json);
    BOOST_TEST(problem.find(needle) != std::string::npos,
               json << " gives: " << problem);
  }
}

BOOST_AUTO_TEST_CASE(bad_zones_and_day_starts_are_refused) {
  auto with = [](std::string_view field) {
    return problem_of(R"({"name":"x","currency":"USD","branches":[{"id":"a",)"
                      + std::string{field} + "}]}");
  };
  BOOST_TEST(with(R"("time_zone":"Europe/Berlin","day_start":"23:59")")
             == "accepted");
  for (auto zone : {"Mars/Olympus", "", "../../etc/passwd", "/etc/passwd",
                    "tzdata.zi", "America", "utc "}) {
    auto problem = with("\"time_zone\":\"" + std::string{zone} + "\"");
    BOOST_TEST(problem.find("time_zone") != std::string::npos,
               zone << " gives: " << problem);
  }
  for (auto start :
       {"24:00", "4:00", "04:60", "0400", "04:00:00", "-1:00", "aa:bb", ""}) {
    auto problem = with("\"day_start\":\"" + std::string{start} + "\"");
    BOOST_TEST(problem.find("day_start") != std::string::npos,
               start << " gives: " << problem);
  }
  BOOST_TEST(with(R"("day_start":0)").find("day_start") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(branch_ids_are_safe_in_subjects_and_file_names) {
  for (auto id : {"a", "branch-1", "A_b-9", "-", "_"})
    BOOST_TEST(valid_branch_id(id));
  BOOST_TEST(valid_branch_id(std::string(64, 'x')));
  BOOST_TEST(!valid_branch_id(std::string(65, 'x')));
  for (auto id : {"", "a.b", "a b", "a/b", "*", ">", "\xc3\xa4", "..", "a\n"})
    BOOST_TEST(!valid_branch_id(id), id);
}

// -- the clock ----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_unknown_zone_is_an_error) {
  auto result = branch_clock::make(branch{"b", "B", "Mars/Olympus"});
  BOOST_REQUIRE(!result);
  BOOST_TEST((result.error() == errc::invalid));
}

BOOST_AUTO_TEST_CASE(an_instant_falls_on_the_local_date) {
  auto utc = clock_of("UTC");
  BOOST_TEST(show(utc, "2019-04-01T23:59:59.999Z")
             == "2019-04-01 2019-04-01T23:00:00+00:00 1439");
  auto new_york = clock_of("America/New_York");
  BOOST_TEST(show(new_york, "2019-04-01T03:59:59.999Z")
             == "2019-03-31 2019-03-31T23:00:00-04:00 1439");
  BOOST_TEST(show(new_york, "2019-04-01T04:00:00Z")
             == "2019-04-01 2019-04-01T00:00:00-04:00 0");
  auto kolkata = clock_of("Asia/Kolkata");
  BOOST_TEST(show(kolkata, "2019-04-01T18:29:59Z")
             == "2019-04-01 2019-04-01T23:00:00+05:30 1439");
  BOOST_TEST(show(kolkata, "2019-04-01T18:45:00Z")
             == "2019-04-02 2019-04-02T00:00:00+05:30 15");
  BOOST_TEST(
    (kolkata.begin_of(day("2019-04-02")) == at("2019-04-01T18:30:00Z")));
}

BOOST_AUTO_TEST_CASE(a_day_start_shifts_the_date) {
  auto clock = clock_of("America/New_York", 4 * 60);
  BOOST_TEST(show(clock, "2019-04-02T03:59:00-04:00")
             == "2019-04-01 2019-04-02T03:00:00-04:00 1439");
  BOOST_TEST(show(clock, "2019-04-02T04:00:00-04:00")
             == "2019-04-02 2019-04-02T04:00:00-04:00 0");
  BOOST_TEST(
    (clock.begin_of(day("2019-04-02")) == at("2019-04-02T04:00:00-04:00")));
  auto half_past = clock_of("UTC", 4 * 60 + 30);
  BOOST_TEST(show(half_past, "2019-04-02T04:29:59Z")
             == "2019-04-01 2019-04-02T04:00:00+00:00 1439");
  BOOST_TEST(show(half_past, "2019-04-02T04:30:00Z")
             == "2019-04-02 2019-04-02T04:00:00+00:00 0");
}

BOOST_AUTO_TEST_CASE(days_of_daylight_saving_have_23_and_25_hours) {
  auto clock = clock_of("America/New_York");
  BOOST_TEST(hours_of(clock, "2019-03-09") == 24);
  BOOST_TEST(hours_of(clock, "2019-03-10") == 23);
  BOOST_TEST(hours_of(clock, "2019-11-03") == 25);
  auto late = clock_of("America/New_York", 4 * 60);
  BOOST_TEST(hours_of(late, "2019-03-09") == 23);
  BOOST_TEST(hours_of(late, "2019-11-02") == 25);
  auto lord_howe = clock_of("Australia/Lord_Howe");
  BOOST_TEST(hours_of(lord_howe, "2019-04-07") == 24.5);
  BOOST_TEST(hours_of(lord_howe, "2019-10-06") == 23.5);
}

BOOST_AUTO_TEST_CASE(
  an_hour_that_comes_twice_is_two_hours_of_the_same_minutes) {
  auto clock = clock_of("America/New_York");
  BOOST_TEST(show(clock, "2019-11-03T05:30:00Z")
             == "2019-11-03 2019-11-03T01:00:00-04:00 90");
  BOOST_TEST(show(clock, "2019-11-03T06:30:00Z")
             == "2019-11-03 2019-11-03T01:00:00-05:00 90");
}

BOOST_AUTO_TEST_CASE(a_shift_of_half_an_hour_begins_an_hour) {
  auto clock = clock_of("Australia/Lord_Howe");
  // 02:00 becomes 01:30 again.
  BOOST_TEST(show(clock, "2019-04-07T01:59:00+11:00")
             == "2019-04-07 2019-04-07T01:00:00+11:00 119");
  BOOST_TEST(show(clock, "2019-04-07T01:45:00+10:30")
             == "2019-04-07 2019-04-07T01:30:00+10:30 105");
  BOOST_TEST(show(clock, "2019-04-07T02:10:00+10:30")
             == "2019-04-07 2019-04-07T02:00:00+10:30 130");
  // 02:00 becomes 02:30.
  BOOST_TEST(show(clock, "2019-10-06T01:59:00+10:30")
             == "2019-10-06 2019-10-06T01:00:00+10:30 119");
  BOOST_TEST(show(clock, "2019-10-06T02:45:00+11:00")
             == "2019-10-06 2019-10-06T02:30:00+11:00 165");
}

BOOST_AUTO_TEST_CASE(a_skipped_day_start_counts_from_the_skip) {
  auto clock = clock_of("America/New_York", 2 * 60 + 30);
  auto skip = at("2019-03-10T07:00:00Z");
  BOOST_TEST((clock.begin_of(day("2019-03-10")) == skip));
  BOOST_TEST(to_string(clock.at(skip).day) == "2019-03-10");
  BOOST_TEST(to_string(clock.at(skip - 1ms).day) == "2019-03-09");
  // Midnight itself is skipped.
  auto sao_paulo = clock_of("America/Sao_Paulo");
  BOOST_TEST(
    (sao_paulo.begin_of(day("2018-11-04")) == at("2018-11-04T03:00:00Z")));
  BOOST_TEST(hours_of(sao_paulo, "2018-11-04") == 23);
}

BOOST_AUTO_TEST_CASE(a_day_start_that_comes_twice_counts_from_the_first) {
  auto clock = clock_of("America/New_York", 60);
  BOOST_TEST((clock.begin_of(day("2019-11-03")) == at("2019-11-03T05:00:00Z")));
  BOOST_TEST(hours_of(clock, "2019-11-03") == 25);
}

BOOST_AUTO_TEST_CASE(offsets_follow_the_zone) {
  auto clock = clock_of("America/New_York");
  BOOST_TEST((clock.utc_offset(at("2019-01-01T00:00:00Z")) == -5h));
  BOOST_TEST((clock.utc_offset(at("2019-07-01T00:00:00Z")) == -4h));
}

// Goal: days and hours partition time, in every kind of zone. Method: walk
// through two years in steps of 15 minutes.
BOOST_AUTO_TEST_CASE(days_and_hours_partition_the_year) {
  for (auto zone : {"UTC", "America/New_York", "Australia/Lord_Howe",
                    "Asia/Kolkata", "America/Sao_Paulo", "America/Havana",
                    "Pacific/Chatham", "Africa/Casablanca"}) {
    BOOST_TEST_CONTEXT(zone) {
      auto clock = clock_of(zone);
      for (auto t = at("2018-01-01T00:00:00Z"); t < at("2020-01-01T00:00:00Z");
           t += 15min) {
        auto x = clock.at(t);
        BOOST_REQUIRE((clock.begin_of(x.day) <= t));
        BOOST_REQUIRE((t < clock.begin_of(x.day + std::chrono::days{1})));
        BOOST_REQUIRE((x.hour <= t && t < x.hour + 1h));
        BOOST_REQUIRE((x.minute >= 0 && x.minute < 1440));
        BOOST_REQUIRE((clock.at(x.hour).hour == x.hour));
        auto local_hour = [&](timestamp y) {
          auto local = y + clock.utc_offset(y);
          return std::chrono::floor<std::chrono::hours>(local);
        };
        BOOST_REQUIRE((local_hour(x.hour) == local_hour(t)));
        BOOST_REQUIRE((clock.at(x.hour - 1ms).hour != x.hour));
      }
    }
  }
}

// -- hours of the clock -------------------------------------------------------

// Goal: every sale finds its hour among the buckets. Method: for zones with
// odd shifts and day starts, the hour of each quarter of an hour of a year is
// one of those that were listed.
BOOST_AUTO_TEST_CASE(local_hours_are_the_hours_that_sales_are_stamped_with) {
  for (const auto* zone :
       {"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata",
        "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Cairo",
        "Asia/Kathmandu"}) {
    for (int day_start : {0, 240, 270}) {
      BOOST_TEST_CONTEXT(zone << " from minute " << day_start) {
        auto clock = *branch_clock::make({"b", "B", zone, day_start});
        auto from = *parse_day("2018-01-01");
        auto to = *parse_day("2018-12-31");
        auto hours = local_hours(clock, from, to);
        BOOST_TEST(hours.size() >= 8759u);
        BOOST_TEST(hours.size() <= 8763u);
        size_t missing = 0;
        auto end = clock.begin_of(*parse_day("2019-01-01"));
        for (auto t = clock.begin_of(from); t < end; t += 15min) {
          auto wanted = clock.at(t).hour;
          auto i = std::lower_bound(
            hours.begin(), hours.end(), wanted,
            [](const auto& x, timestamp y) { return x.start < y; });
          if (i == hours.end() || i->start != wanted
              || i->utc_offset != clock.utc_offset(wanted))
            ++missing;
        }
        BOOST_TEST(missing == 0u);
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

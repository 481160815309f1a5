#include <boost/test/unit_test.hpp>

#include "messages/core/uuid.hpp"

#include <set>
#include <unordered_set>

using namespace tillstream;

namespace {

constexpr std::string_view sample = "01902f4e-8a3b-7c4d-9e5f-0123456789ab";

} // namespace

BOOST_AUTO_TEST_SUITE(uuid_suite)

BOOST_AUTO_TEST_CASE(text_is_read_back_as_written) {
  auto x = parse_uuid(sample);
  BOOST_REQUIRE(x.has_value());
  BOOST_TEST(to_string(*x) == sample);
  BOOST_TEST(int{x->bytes[0]} == 0x01);
  BOOST_TEST(int{x->bytes[15]} == 0xab);
}

BOOST_AUTO_TEST_CASE(upper_case_is_normalised) {
  auto x = parse_uuid("01902F4E-8A3B-7C4D-9E5F-0123456789AB");
  BOOST_REQUIRE(x.has_value());
  BOOST_TEST(to_string(*x) == sample);
}

BOOST_AUTO_TEST_CASE(anything_else_is_refused) {
  for (auto text : {
         "",
         "01902f4e8a3b7c4d9e5f0123456789ab",
         "01902f4e-8a3b-7c4d-9e5f-0123456789a",
         "01902f4e-8a3b-7c4d-9e5f-0123456789abc",
         "{01902f4e-8a3b-7c4d-9e5f-0123456789ab}",
         "01902f4e-8a3b-7c4d-9e5f-0123456789ag",
         "01902f4e 8a3b-7c4d-9e5f-0123456789ab",
         "01902f4-e8a3b-7c4d-9e5f-0123456789ab",
         "01902f4e-8a3b-7c4d-9e5f--123456789ab",
         "01902f4e-8a3b-7c4d-9e5f-0123456789\xc3\xa4",
       })
    BOOST_TEST(!parse_uuid(text).has_value(), text);
  BOOST_TEST(!parse_uuid(std::string(36, '\0')).has_value());
}

BOOST_AUTO_TEST_CASE(version_and_variant_are_told_apart) {
  BOOST_TEST(is_uuid4(*parse_uuid("591c9a79-97cb-477f-b483-abf2425e0845")));
  BOOST_TEST(!is_uuid4(*parse_uuid("591c9a79-97cb-177f-b483-abf2425e0845")));
  BOOST_TEST(!is_uuid4(*parse_uuid("591c9a79-97cb-477f-7483-abf2425e0845")));
  BOOST_TEST(!is_uuid4(*parse_uuid("591c9a79-97cb-477f-c483-abf2425e0845")));
  BOOST_TEST(!is_uuid4(uuid{}));
  BOOST_TEST(is_uuid7(*parse_uuid(sample)));
  BOOST_TEST(!is_uuid7(*parse_uuid("591c9a79-97cb-477f-b483-abf2425e0845")));
}

BOOST_AUTO_TEST_CASE(made_uuids_have_their_version_and_differ) {
  uuid_source source;
  std::set<uuid> seen;
  for (int i = 0; i < 1000; ++i) {
    auto x = source.v4();
    BOOST_TEST(is_uuid4(x));
    seen.insert(x);
  }
  BOOST_TEST(seen.size() == 1000u);
}

BOOST_AUTO_TEST_CASE(a_seed_gives_the_same_uuids_again) {
  uuid_source a{7};
  uuid_source b{7};
  uuid_source c{8};
  auto first = a.v4();
  BOOST_TEST((first == b.v4()));
  BOOST_TEST((first != c.v4()));
  BOOST_TEST((a.v7(from_ms(5)) == b.v7(from_ms(5))));
}

BOOST_AUTO_TEST_CASE(version_7_carries_its_time) {
  uuid_source source{1};
  auto t = *parse_rfc3339("2026-11-23T04:05:06.789Z");
  auto x = source.v7(t);
  BOOST_TEST(is_uuid7(x));
  BOOST_TEST((uuid7_time(x) == t));
}

// 20,000 in one millisecond overflow the counter four times.
BOOST_AUTO_TEST_CASE(version_7_grows_within_a_millisecond) {
  uuid_source source{2};
  auto t = from_ms(1'700'000'000'000);
  auto last = source.v7(t);
  for (int i = 0; i < 20'000; ++i) {
    auto next = source.v7(t);
    BOOST_REQUIRE((last < next));
    BOOST_REQUIRE(is_uuid7(next));
    last = next;
  }
  auto drift = uuid7_time(last) - t;
  BOOST_TEST(drift.count() < 20);
  BOOST_TEST((last < source.v7(t + std::chrono::milliseconds{1})));
}

BOOST_AUTO_TEST_CASE(version_7_follows_a_clock_that_was_set_back) {
  uuid_source source{3};
  source.v7(from_ms(2'000'000));
  auto x = source.v7(from_ms(1'000'000));
  BOOST_TEST((uuid7_time(x) == from_ms(1'000'000)));
}

BOOST_AUTO_TEST_CASE(the_floor_is_below_all_of_its_millisecond) {
  uuid_source source{4};
  auto t = from_ms(1'700'000'000'000);
  auto floor = uuid7_floor(t);
  BOOST_TEST(is_uuid7(floor));
  BOOST_TEST((uuid7_time(floor) == t));
  for (int i = 0; i < 100; ++i)
    BOOST_TEST((floor <= source.v7(t)));
  BOOST_TEST((source.v7(t - std::chrono::milliseconds{1}) < floor));
}

BOOST_AUTO_TEST_CASE(the_order_is_that_of_the_text) {
  uuid_source source{5};
  for (int i = 0; i < 1000; ++i) {
    auto a = source.v4();
    auto b = source.v4();
    BOOST_TEST((a < b) == (to_string(a) < to_string(b)));
  }
}

BOOST_AUTO_TEST_CASE(hashes_spread) {
  uuid_source source{6};
  std::set<size_t> hashes;
  for (int i = 0; i < 1000; ++i)
    hashes.insert(std::hash<uuid>{}(source.v7(from_ms(1000 + i))));
  BOOST_TEST(hashes.size() > 990u);
}

BOOST_AUTO_TEST_SUITE_END()

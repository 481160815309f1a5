#include <boost/test/unit_test.hpp>

#include "actors/http/header_values.hpp"

using namespace tillstream;

namespace {

http_request with(const char* name, const char* value) {
  http_request result;
  result.headers.emplace_back(name, value);
  return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(header_values_suite)

BOOST_AUTO_TEST_CASE(gzip_is_accepted_by_name_or_by_star) {
  for (auto value : {"gzip", "GZip", "br, gzip", "gzip;q=0.5", "gzip ; q=1",
                     "deflate;q=0,gzip", "*", "br, *;q=0.1", ",, gzip"})
    BOOST_TEST(accepts_gzip(with("accept-encoding", value)), value);
}

BOOST_AUTO_TEST_CASE(gzip_is_not_accepted_otherwise) {
  for (auto value : {"", "br", "xgzip", "gzipx", "gzip;q=0", "gzip;Q=0.000",
                     "gzip;q=0.0, *", "*;q=0", "identity", ";gzip", "\"gzip\""})
    BOOST_TEST(!accepts_gzip(with("accept-encoding", value)), value);
  BOOST_TEST(!accepts_gzip(http_request{}));
}

BOOST_AUTO_TEST_CASE(json_is_known_by_its_media_type) {
  for (auto value :
       {"application/json", "Application/JSON", " application/json ",
        "application/json;", "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/json; profile=\"a;charset=latin-1\""})
    BOOST_TEST(is_json(with("content-type", value)), value);
  for (auto value :
       {"", "text/plain", "application/jsonx", "application / json",
        "application/json, text/plain",
        "application/json;charset=", "application/json; charset=latin-1",
        "application/json; a=b; charset=latin-1"})
    BOOST_TEST(!is_json(with("content-type", value)), value);
}

BOOST_AUTO_TEST_CASE(a_compressed_body_is_no_json) {
  auto request = with("content-type", "application/json");
  request.headers.emplace_back("content-encoding", "identity");
  BOOST_TEST(is_json(request));
  request.headers.back().second = "gzip";
  BOOST_TEST(!is_json(request));
}

BOOST_AUTO_TEST_CASE(words_are_compared_without_case) {
  BOOST_TEST(same_word("Bearer ", "bearer "));
  BOOST_TEST(!same_word("Bearer", "bearer "));
  BOOST_TEST(same_word("", ""));
  BOOST_TEST(lower_case("X-A\xC3\x84") == "x-a\xC3\x84");
}

BOOST_AUTO_TEST_SUITE_END()

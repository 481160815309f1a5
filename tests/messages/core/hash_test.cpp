#include "messages/core/hash.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;

BOOST_AUTO_TEST_SUITE(hash_suite)

// The vectors of draft-eastlake-fnv-21.
BOOST_AUTO_TEST_CASE(fnv1a_is_that_of_the_draft) {
  BOOST_TEST(fnv1a{}.value() == 0xcbf29ce484222325u);
  BOOST_TEST(fnv1a{}.add("a").value() == 0xaf63dc4c8601ec8cu);
  BOOST_TEST(fnv1a{}.add("foobar").value() == 0x85944171f73967e8u);
  // In pieces as in one.
  BOOST_TEST(fnv1a{}.add("foo").add("bar").value() == 0x85944171f73967e8u);
}

// The example of FIPS 180-2, B.1.
BOOST_AUTO_TEST_CASE(sha256_is_that_of_the_standard) {
  BOOST_TEST(
    to_hex(sha256("abc"))
    == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  BOOST_TEST(
    to_hex(sha256(""))
    == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

BOOST_AUTO_TEST_SUITE_END()

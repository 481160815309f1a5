#include <boost/test/unit_test.hpp>

/// The entry point of every test program. Written out, as
/// `BOOST_TEST_MODULE` does not work with a precompiled header.
int main(int argc, char* argv[]) {
  return boost::unit_test::unit_test_main([] { return true; }, argc, argv);
}

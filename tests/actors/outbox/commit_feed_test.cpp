#include <boost/test/unit_test.hpp>

#include "actors/outbox/commit_feed.hpp"
#include "messages/model/purchase.hpp"

#include <memory>
#include <string>
#include <vector>

using namespace tillstream;

namespace {

struct fixture {
  commit_feed::subscriber note(const std::string& who) {
    return [this, who](const commit_notices_ptr& x) {
      BOOST_TEST(x == notices);
      heard.push_back(who);
    };
  }

  void check(const std::vector<std::string>& expected) const {
    BOOST_TEST(heard == expected, boost::test_tools::per_element());
  }

  commit_notices_ptr notices
    = std::make_shared<const std::vector<commit_notice>>(1);
  std::vector<std::string> heard;
  commit_feed uut;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(commit_feed_suite, fixture)

BOOST_AUTO_TEST_CASE(without_subscribers_notices_are_dropped) {
  uut.publish_local(notices);
  uut.publish_remote(notices);
  check({});
}

// The relay subscribes before the shard manager is there.
BOOST_AUTO_TEST_CASE(the_shard_manager_hears_first_whoever_subscribed_first) {
  uut.subscribe_local(note("relay"));
  uut.subscribe_local(note("peers"));
  uut.subscribe_all(note("shards"));
  uut.publish_local(notices);
  check({"shards", "relay", "peers"});
}

BOOST_AUTO_TEST_CASE(notices_of_other_nodes_are_not_for_the_relay) {
  uut.subscribe_local(note("relay"));
  uut.subscribe_all(note("shards"));
  uut.publish_remote(notices);
  check({"shards"});
}

BOOST_AUTO_TEST_SUITE_END()

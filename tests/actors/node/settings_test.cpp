#include <boost/test/unit_test.hpp>

#include "actors/node/settings.hpp"
#include "storage/ports/event_stream.hpp"

#include <set>
#include <string>

using namespace tillstream;

namespace {

const setting& named(const std::string& flag) {
  for (const auto& x : setting_table())
    if (x.flag == flag)
      return x;
  BOOST_REQUIRE_MESSAGE(false, "no setting " << flag);
  return setting_table().front();
}

} // namespace

BOOST_AUTO_TEST_SUITE(settings_suite)

BOOST_AUTO_TEST_CASE(every_default_is_within_its_bounds) {
  std::set<std::string> flags;
  for (const auto& x : setting_table()) {
    BOOST_TEST(flags.insert(x.flag).second, x.flag);
    BOOST_TEST(!x.help.empty(), x.flag);
    settings copy;
    auto text = x.text(settings{});
    BOOST_TEST(x.read(copy, text), x.flag << ": " << text);
    BOOST_TEST(x.text(copy) == text, x.flag);
  }
}

BOOST_AUTO_TEST_CASE(what_is_out_of_bounds_is_not_read) {
  settings x;
  for (auto [flag, text] : {std::pair{"port", "65536"},
                            {"port", "-1"},
                            {"port", "80x"},
                            {"port", " 80"},
                            {"port", ""},
                            {"node-lease-ms", "499"},
                            {"rate-limit", "nan"},
                            {"rate-limit", "-0.5"},
                            {"stream-replicas", "6"},
                            {"log-level", "loud"},
                            {"roles", "intake,cooks"},
                            {"roles", ""}})
    BOOST_TEST(!named(flag).read(x, text), flag << " " << text);
  BOOST_TEST(!named("node-name").read(x, std::string(201, 'x')));
  BOOST_TEST(named("port").bounds == "0 to 65535");
  BOOST_TEST(named("stream-bytes-max").bounds == "1048576 or more");
}

BOOST_AUTO_TEST_CASE(what_is_read_is_what_the_node_gets) {
  settings x;
  BOOST_TEST(named("roles").read(x, "query,intake"));
  BOOST_TEST(x.roles.intake);
  BOOST_TEST(!x.roles.shards);
  BOOST_TEST(x.roles.query);
  BOOST_TEST(named("rate-limit").read(x, "2.5"));
  BOOST_TEST(x.rate_limit == 2.5);
  BOOST_TEST(named("retention-days").read(x, "3"));
  BOOST_TEST(named("stream-placement-tags").read(x, "a,,b"));
  auto broker = nats_settings_of(x);
  // Above the outbox's retention.
  BOOST_TEST(broker.stream.age_max_days == 4);
  BOOST_TEST(broker.stream.placement_tags.size() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

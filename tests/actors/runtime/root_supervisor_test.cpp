#include <boost/test/unit_test.hpp>

#include "actors/runtime/root_supervisor.hpp"
#include "actors/runtime/spawn.hpp"
#include "messages/protocol/runtime.hpp"
#include "tests/support/actor_fixture.hpp"

#include <caf/send.hpp>
#include <caf/system_messages.hpp>

#include <string>
#include <vector>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

using names = std::vector<std::string>;

using member_actor = caf::typed_actor<caf::reacts_to<atom::tick>>;

/// Records its end, ends by an error when ticked, and ignores exits if `deaf`.
member_actor::behavior_type
member(member_actor::pointer self, std::string name, names* ended, bool deaf) {
  self->set_exit_handler([=](caf::exit_msg& msg) {
    if (deaf)
      return;
    ended->push_back(name);
    self->quit(msg.reason);
  });
  return {
    [self](atom::tick) {
      self->quit(caf::make_error(errc::internal, "requested"));
    },
  };
}

struct fixture : tests::actor_fixture {
  ~fixture() {
    for (auto& x : members)
      caf::anon_send_exit(x, caf::exit_reason::kill);
    end(uut);
    members.clear();
  }

  member_actor add(const std::string& name, bool deaf = false) {
    members.push_back(spawn_actor(sys, member, name, &ended, deaf));
    return members.back();
  }

  void start(std::vector<std::vector<top_actor>> stages) {
    root_supervisor_options options;
    options.stages = std::move(stages);
    options.stage_grace = 2s;
    options.on_give_up
      = [this](const std::string& reason) { reasons.push_back(reason); };
    uut = spawn_actor(sys, root_supervisor, std::move(options));
    settle();
  }

  names ended;
  names reasons;
  std::vector<member_actor> members;
  root_supervisor_actor uut;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(root_supervisor_suite, fixture)

BOOST_AUTO_TEST_CASE(
  an_actor_that_ends_unasked_is_reported_once_with_its_reason) {
  auto a = add("a");
  auto b = add("b");
  start({{top_actor{"a", a}}, {top_actor{"b", b}}});
  caf::anon_send(b, atom::tick_v);
  settle();
  caf::anon_send(a, atom::tick_v);
  settle();
  BOOST_TEST(reasons == names{"b ended: internal: requested"},
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(stages_end_in_order) {
  auto a = add("a");
  auto b = add("b");
  auto c = add("c");
  start({{top_actor{"c", c}}, {top_actor{"a", a}}, {top_actor{"b", b}}});
  auto answer = ask<bool>(uut, atom::close_v);
  BOOST_TEST((answer && *answer && **answer));
  BOOST_TEST(ended == (names{"c", "a", "b"}), boost::test_tools::per_element());
  BOOST_TEST(reasons.empty());
}

BOOST_AUTO_TEST_CASE(a_stage_that_is_late_is_killed_and_the_next_one_ends) {
  auto a = add("a", true);
  auto b = add("b");
  start({{top_actor{"a", a}}, {}, {top_actor{"b", b}}});
  auto pending = self->request(uut, 60min, atom::close_v);
  settle();
  advance(1999ms);
  BOOST_TEST(ended.empty());
  advance(1ms);
  BOOST_TEST(ended == names{"b"}, boost::test_tools::per_element());
  bool in_time = true;
  pending.receive([&](bool x) { in_time = x; },
                  [](caf::error& err) { BOOST_FAIL(describe(err)); });
  BOOST_TEST(!in_time);
}

BOOST_AUTO_TEST_CASE(after_giving_up_the_others_still_end_in_order) {
  auto a = add("a");
  auto b = add("b");
  auto c = add("c");
  start({{top_actor{"a", a}}, {top_actor{"b", b}}, {top_actor{"c", c}}});
  caf::anon_send(b, atom::tick_v);
  settle();
  auto answer = ask<bool>(uut, atom::close_v);
  BOOST_TEST((answer && *answer && **answer));
  BOOST_TEST(ended == (names{"a", "c"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(whoever_waits_is_answered_when_it_is_killed_itself) {
  auto a = add("a", true);
  start({{top_actor{"a", a}}});
  auto pending = self->request(uut, 60min, atom::close_v);
  settle();
  caf::anon_send_exit(uut, caf::exit_reason::kill);
  settle();
  bool in_time = true;
  pending.receive([&](bool x) { in_time = x; },
                  [](caf::error& err) { BOOST_FAIL(describe(err)); });
  BOOST_TEST(!in_time);
}

BOOST_AUTO_TEST_SUITE_END()

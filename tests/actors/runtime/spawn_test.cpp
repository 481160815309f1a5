#include <boost/test/unit_test.hpp>

#include "actors/runtime/spawn.hpp"
#include "messages/protocol/runtime.hpp"
#include "tests/support/actor_fixture.hpp"

#include <stdexcept>

using namespace tillstream;

namespace {

/// Installs nothing itself; `close` throws when told so.
root_supervisor_actor::behavior_type
child(root_supervisor_actor::pointer, bool throws) {
  return {
    [throws](atom::close) {
      if (throws)
        throw std::runtime_error{"boom"};
      return true;
    },
  };
}

struct fixture : tests::actor_fixture {
  void start(bool throws) {
    subject = spawn_actor(sys, child, throws);
    self->monitor(subject);
    settle();
  }

  ~fixture() {
    end(subject);
  }

  root_supervisor_actor subject;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(spawn_suite, fixture)

BOOST_AUTO_TEST_CASE(a_stray_error_does_not_end_an_actor) {
  start(false);
  caf::anon_send(caf::actor_cast<caf::actor>(subject),
                 caf::make_error(errc::internal, "a stray answer"));
  settle();
  BOOST_TEST(!down_reason());
  BOOST_TEST((*ask<bool>(subject, atom::close_v) == true));
}

BOOST_AUTO_TEST_CASE(a_message_that_fits_no_handler_does_not_end_an_actor) {
  start(false);
  caf::anon_send(caf::actor_cast<caf::actor>(subject), std::string{"what?"});
  settle();
  BOOST_TEST(!down_reason());
}

BOOST_AUTO_TEST_CASE(an_exception_ends_an_actor_with_our_error) {
  start(true);
  ask<bool>(subject, atom::close_v);
  auto reason = down_reason();
  BOOST_REQUIRE(reason);
  BOOST_TEST((*reason == errc::internal));
}

BOOST_AUTO_TEST_SUITE_END()

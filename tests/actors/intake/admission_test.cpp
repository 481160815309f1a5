#include <boost/test/unit_test.hpp>

#include "actors/intake/admission.hpp"
#include "actors/runtime/fault_point.hpp"
#include "messages/core/metrics.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_purchase_store.hpp"

#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

using namespace tillstream;
using namespace tillstream::tests;
using namespace std::chrono_literals;

namespace {

/// A writer that answers when the test lets it.
struct slow_writer_state {
  slow_writer_state() = default;

  static inline const char* name = "slow-writer";

  std::vector<caf::typed_response_promise<record_result>> waiting;
};

using slow_writer_pointer
  = transaction_writer_actor::stateful_pointer<slow_writer_state>;

struct writer_log {
  std::set<std::string> branches;
  bool ready = true;
};

/// Keeps purchases until `flush`; forgets them unanswered when killed.
transaction_writer_actor::behavior_type
slow_writer(slow_writer_pointer self, writer_log* log) {
  install_handlers(self);
  return {
    [=](atom::submit, purchase_ptr& x) -> caf::result<record_result> {
      log->branches.insert(x->branch_id);
      auto promise = self->make_response_promise<record_result>();
      self->state.waiting.push_back(promise);
      return promise;
    },
    [=](atom::ready) {
      return readiness{"writer", log->ready, log->ready ? "" : "away"};
    },
    [=](atom::flush) {
      for (auto& x : std::exchange(self->state.waiting, {}))
        x.deliver(record_result{verdict::recorded, {}});
    },
    [](atom::reopen) { throw std::runtime_error{"boom"}; },
  };
}

struct fixture : actor_fixture {
  fixture() {
    admission_options options;
    for (auto& log : logs) {
      writers.push_back(sys.spawn(slow_writer, &log));
      arriving.push_back(std::make_shared<arrivals>());
      options.writers.push_back({writers.back(), arriving.back()});
    }
    options.in_flight_max = 4;
    uut = sys.spawn(admission, options);
    settle();
  }

  ~fixture() {
    end(uut);
    for (auto& x : writers)
      end(x);
    BOOST_TEST(metrics().get_gauge("tillstream_purchases_in_flight", "").value()
               == 0);
    BOOST_TEST(static_cast<bool>(arm_fault_points("")));
  }

  answer<record_result> submit(const std::string& branch_id = "b1") {
    auto result = post<record_result>(uut, atom::submit_v,
                                      make_purchase(++keys, 0, branch_id));
    settle();
    return result;
  }

  void let_writers_answer() {
    for (auto& x : writers)
      caf::anon_send(x, atom::flush_v);
    settle();
  }

  static bool failed(const answer<record_result>& x, errc code) {
    return x->count == 1 && !*x->value && x->value->error() == code;
  }

  static bool recorded(const answer<record_result>& x) {
    return x->count == 1 && *x->value
           && (*x->value)->outcome == verdict::recorded;
  }

  uint64_t keys = 0;
  std::vector<writer_log> logs{3};
  std::vector<transaction_writer_actor> writers;
  std::vector<arrivals_ptr> arriving;
  admission_actor uut;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(admission_suite, fixture)

BOOST_AUTO_TEST_CASE(what_a_writer_answers_is_passed_on) {
  auto a = submit();
  BOOST_TEST(a->count == 0u);
  let_writers_answer();
  BOOST_TEST(recorded(a));
}

BOOST_AUTO_TEST_CASE(each_writers_purchases_are_counted) {
  std::vector<uint64_t> expected(writers.size());
  for (auto branch : {"b1", "b2", "b1"}) {
    submit(branch);
    ++expected[writer_of(branch, writers.size())];
  }
  for (size_t i = 0; i < writers.size(); ++i)
    BOOST_TEST(arriving[i]->count() == expected[i]);
}

BOOST_AUTO_TEST_CASE(beyond_the_limit_purchases_are_refused_at_once) {
  std::vector<answer<record_result>> admitted;
  for (int i = 0; i < 4; ++i)
    admitted.push_back(submit());
  BOOST_TEST(failed(submit(), errc::overloaded));
  let_writers_answer();
  for (auto& x : admitted)
    BOOST_TEST(recorded(x));
  auto next = submit();
  BOOST_TEST(next->count == 0u);
}

BOOST_AUTO_TEST_CASE(a_branch_always_has_the_same_writer) {
  for (int i = 0; i < 30; ++i) {
    submit("branch-" + std::to_string(i % 10));
    let_writers_answer();
  }
  size_t branches = 0;
  for (auto& log : logs) {
    BOOST_TEST(!log.branches.empty());
    branches += log.branches.size();
  }
  BOOST_TEST(branches == 10u);
}

// The split is part of what nodes agree on: FNV-1a, 64 bits, with the vectors
// of its authors (their low halves).
BOOST_AUTO_TEST_CASE(the_hash_is_the_published_one) {
  constexpr auto low_half = size_t{1} << 32;
  BOOST_TEST(writer_of("", low_half) == 0x84222325u);
  BOOST_TEST(writer_of("a", low_half) == 0x8601ec8cu);
  BOOST_TEST(writer_of("foobar", low_half) == 0xf73967e8u);
}

BOOST_AUTO_TEST_CASE(places_come_back_when_a_writer_dies) {
  std::vector<answer<record_result>> waiting;
  // Queue behind a message that makes the writers throw.
  for (auto& x : writers)
    caf::anon_send(x, atom::reopen_v);
  for (int i = 0; i < 4; ++i)
    waiting.push_back(
      post<record_result>(uut, atom::submit_v, make_purchase(++keys)));
  settle();
  for (auto& x : waiting)
    BOOST_TEST(failed(x, errc::unavailable));
  BOOST_TEST(failed(submit(), errc::unavailable)); // Not overloaded.
}

BOOST_AUTO_TEST_CASE(a_lost_answer_costs_its_place_only_for_a_while) {
  auto a = submit();
  for (int i = 0; i < 3; ++i)
    submit();
  advance(4min);
  BOOST_TEST(failed(submit(), errc::overloaded));
  advance(1min);
  // Places are looked after when somebody wants one.
  BOOST_TEST(submit()->count == 0u);
  BOOST_TEST(failed(a, errc::in_doubt));
  // The answer comes in the end: nobody waits for it.
  let_writers_answer();
  BOOST_TEST(a->count == 1u);
}

BOOST_AUTO_TEST_CASE(a_drain_waits_for_what_was_admitted_and_admits_no_more) {
  auto a = submit();
  auto drained = post<bool>(uut, atom::drain_v);
  settle();
  BOOST_TEST(drained->count == 0u);
  BOOST_TEST(failed(submit(), errc::shutting_down));
  let_writers_answer();
  BOOST_TEST(recorded(a));
  BOOST_TEST((drained->count == 1 && *drained->value && **drained->value));
}

BOOST_AUTO_TEST_CASE(a_drain_with_nothing_in_flight_is_done_at_once) {
  auto drained = ask<bool>(uut, atom::drain_v);
  BOOST_TEST((drained && *drained && **drained));
}

// Each branch has its own writer.
BOOST_AUTO_TEST_CASE(it_is_ready_when_all_writers_are) {
  auto ready = [this] {
    auto x = ask<readiness>(uut, atom::ready_v);
    return x && *x && (*x)->ready;
  };
  BOOST_TEST(ready());
  logs[2].ready = false;
  auto x = ask<readiness>(uut, atom::ready_v);
  BOOST_REQUIRE((x && *x));
  BOOST_TEST(!(*x)->ready);
  BOOST_TEST((*x)->reason == "away");
}

BOOST_AUTO_TEST_CASE(writers_that_are_gone_are_not_ready) {
  for (auto& x : writers)
    caf::anon_send_exit(x, caf::exit_reason::kill);
  settle();
  auto x = ask<readiness>(uut, atom::ready_v);
  BOOST_REQUIRE((x && *x));
  BOOST_TEST(!(*x)->ready);
}

BOOST_AUTO_TEST_CASE(whoever_waits_is_answered_when_the_intake_throws) {
  auto a = submit();
  auto drained = post<bool>(uut, atom::drain_v);
  settle();
  BOOST_TEST(
    static_cast<bool>(arm_fault_points("request-intake.submit=throw:1")));
  auto b = submit();
  BOOST_TEST(failed(a, errc::in_doubt));
  BOOST_TEST(failed(b, errc::internal));
  BOOST_TEST((drained->count == 1 && *drained->value && !**drained->value));
}

BOOST_AUTO_TEST_SUITE_END()

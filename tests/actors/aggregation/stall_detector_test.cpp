#include "actors/aggregation/stall_detector.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

using step = stall_detector::step;

const stall_detector::time_point start{1000s};
const timestamp recorded = *parse_rfc3339("2026-03-10T12:00:00Z");

struct fixture {
  fixture() {
    detector.opened(start);
  }

  /// Whether the event is overdue this long after opening, and recording.
  bool is_overdue(std::chrono::milliseconds after) {
    return detector.is_overdue(start + after, recorded, recorded + after);
  }

  stall_detector detector;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(stall_detector_suite, fixture)

BOOST_AUTO_TEST_CASE(an_event_is_overdue_after_a_silence) {
  BOOST_TEST(!is_overdue(limits::stall_min - 1ms));
  BOOST_TEST(is_overdue(limits::stall_min));
  // The silence is long, the event is fresh.
  BOOST_TEST(!detector.is_overdue(start + 1h, recorded, recorded + 1s));
  detector.heard(start + 5s);
  BOOST_TEST(!is_overdue(limits::stall_min));
}

BOOST_AUTO_TEST_CASE(an_answer_counts_while_nothing_came) {
  detector.begin();
  BOOST_TEST(detector.still_silent());
  detector.heard(start + 1s);
  BOOST_TEST(!detector.still_silent());
}

BOOST_AUTO_TEST_CASE(while_the_relay_is_behind_there_is_nothing_to_do) {
  auto now = start + 1min;
  for (auto sent_for : {-1ms, 0ms, 2000ms}) {
    detector.begin();
    BOOST_TEST((detector.outbox_answered(sent_for, now, {}) == step::wait));
    BOOST_TEST(!is_overdue(1min));
    BOOST_TEST(is_overdue(1min + limits::stall_min));
  }
}

BOOST_AUTO_TEST_CASE(the_event_log_is_asked_before_the_stream) {
  detector.begin();
  BOOST_TEST((detector.outbox_answered(1h, start + 1min, start)
              == step::check_event_log));
  BOOST_TEST((detector.outbox_answered(1h, start + 1min, start + 1ms)
              == step::probe_stream));
}

BOOST_AUTO_TEST_CASE(opening_again_comes_before_publishing_again) {
  BOOST_TEST((detector.stream_answered(true) == step::reopen));
  detector.repaired();
  BOOST_TEST((detector.stream_answered(true) == step::republish));
  // What the stream has is never published again.
  BOOST_TEST((detector.stream_answered(false) == step::reopen));
  detector.heard(start + 1s);
  BOOST_TEST((detector.stream_answered(true) == step::reopen));
}

BOOST_AUTO_TEST_CASE(repairs_come_less_and_less_often) {
  detector.repaired();
  BOOST_TEST(!is_overdue(2 * limits::stall_min - 1ms));
  BOOST_TEST(is_overdue(2 * limits::stall_min));
  for (int i = 0; i < 20; ++i)
    detector.repaired();
  BOOST_TEST(!is_overdue(limits::stall_max - 1ms));
  BOOST_TEST(is_overdue(limits::stall_max));
}

BOOST_AUTO_TEST_CASE(a_probe_without_an_answer_begins_the_wait_anew) {
  detector.begin();
  detector.probe_failed(start + 20s);
  BOOST_TEST(!detector.still_silent());
  BOOST_TEST(!is_overdue(20s));
  BOOST_TEST(is_overdue(20s + limits::stall_min));
}

BOOST_AUTO_TEST_SUITE_END()

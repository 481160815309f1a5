#include <boost/test/unit_test.hpp>

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/supervisor.hpp"
#include "actors/upkeep/lake_archiver.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_outbox.hpp"
#include "tests/support/fake_purchase_store.hpp"

#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

using namespace tillstream;
using namespace tillstream::tests;
using namespace std::chrono_literals;

namespace {

/// The event log of one branch and the plan of its files. Event `n` has the
/// apply number and the outbox number `n`; three of them make a day.
struct fake_log {
  int64_t applied = 0;
  int64_t planned = 0;
  std::map<int64_t, lake_segment> open;
  bool down = false;
};

calendar_day day_of(int64_t apply_no) {
  return calendar_day{} + std::chrono::days{(apply_no - 1) / 3};
}

class fake_plan : public storage::lake_plan_store {
public:
  explicit fake_plan(fake_log& log) : log_(log) {
    // nop
  }

  caf::expected<std::vector<lake_segment>>
  plan(int64_t rows_max, int64_t, size_t segments_max) override {
    if (log_.down)
      return caf::make_error(errc::unavailable, "fake log is down");
    while (log_.planned < log_.applied) {
      lake_segment x{"b1", log_.planned + 1,
                     std::min(log_.planned + rows_max, log_.applied)};
      log_.planned = x.to_no;
      log_.open.emplace(x.from_no, x);
    }
    std::vector<lake_segment> result;
    for (auto& [from, x] : log_.open)
      if (result.size() < segments_max)
        result.push_back(x);
    return result;
  }

  caf::expected<std::vector<lake_entry>>
  entries(const lake_segment& segment) override {
    if (log_.down)
      return caf::make_error(errc::unavailable, "fake log is down");
    std::vector<lake_entry> result;
    for (auto no = segment.from_no; no <= segment.to_no; ++no)
      result.push_back(
        {no, numbered_uuid(static_cast<uint64_t>(no)), day_of(no)});
    return result;
  }

  caf::expected<void> finish(const lake_segment& segment) override {
    if (log_.down)
      return caf::make_error(errc::unavailable, "fake log is down");
    log_.open.erase(segment.from_no);
    return caf::unit;
  }

private:
  fake_log& log_;
};

/// A file's branch, day and range.
using file_name = std::tuple<std::string, calendar_day, int64_t, int64_t>;
using events = std::vector<std::string>;

struct fixture : actor_fixture {
  fixture() {
    options.open_plan
      = [this]() -> caf::expected<storage::lake_plan_store_ptr> {
      if (log.down)
        return caf::make_error(errc::unavailable, "fake log is down");
      return storage::lake_plan_store_ptr{std::make_unique<fake_plan>(log)};
    };
    options.open_outbox = [this] { return open_fake_outbox(table); };
    options.write
      = [this](const std::string& branch_id, calendar_day day, int64_t from_no,
               int64_t to_no, const events& xs) -> caf::expected<std::string> {
      if (disk_full)
        return caf::make_error(errc::unavailable, "no space left");
      auto name = file_name{branch_id, day, from_no, to_no};
      if (auto i = files.find(name); i != files.end())
        BOOST_TEST((i->second == xs)); // Replaced by itself.
      files[name] = xs;
      return "file";
    };
    options.rows_max = 5;
    options.segments_max = 2;
    options.seed = 1;
  }

  ~fixture() {
    if (uut)
      end(uut);
    BOOST_TEST(static_cast<bool>(arm_fault_points("")));
  }

  void start() {
    supervisor_options how;
    how.name = "lake-archiver";
    how.restarts_max = 1000;
    how.seed = 1;
    uut = spawn_supervisor<lake_archiver_actor>(
      sys, how, [this](caf::local_actor* parent) {
        return parent->spawn(lake_archiver, options);
      });
    settle();
  }

  void apply(int64_t count) {
    for (; count > 0; --count)
      table.commit("b1", ++log.applied);
  }

  /// Every applied event is in exactly one file, under its day.
  void check_complete() {
    std::multiset<std::string> found;
    for (auto& [name, xs] : files)
      for (auto& x : xs) {
        found.insert(x);
        auto no = std::stoll(x.substr(x.find('#') + 1));
        BOOST_TEST((std::get<1>(name) == day_of(no)));
        BOOST_TEST(std::get<2>(name) <= no);
        BOOST_TEST(no <= std::get<3>(name));
      }
    BOOST_TEST(found.size() == static_cast<size_t>(log.applied));
    for (int64_t no = 1; no <= log.applied; ++no)
      BOOST_TEST(found.count("b1#" + std::to_string(no)) == 1u);
    BOOST_TEST(log.open.empty());
  }

  bool is_ready() {
    auto x = ask<readiness>(uut, atom::ready_v);
    return x && *x && (*x)->ready;
  }

  fake_log log;
  fake_outbox table;
  bool disk_full = false;
  std::map<file_name, events> files;
  lake_archiver_options options;
  lake_archiver_actor uut;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(lake_archiver_suite, fixture)

BOOST_AUTO_TEST_CASE(applied_events_are_written_a_file_for_each_day) {
  apply(5);
  start();
  check_complete();
  BOOST_TEST(files.size() == 2u);
  auto first = file_name{"b1", day_of(1), 1, 5};
  BOOST_TEST(files.at(first) == (events{"b1#1", "b1#2", "b1#3"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_backlog_is_written_without_waiting) {
  apply(100);
  start();
  check_complete();
}

BOOST_AUTO_TEST_CASE(what_is_applied_later_is_written_with_the_next_round) {
  start();
  apply(7);
  advance(options.interval);
  check_complete();
}

BOOST_AUTO_TEST_CASE(a_throw_anywhere_leaves_no_event_out_and_none_twice) {
  for (auto point : {"tick", "write", "finish"}) {
    BOOST_TEST_CONTEXT(point) {
      log = {};
      table = {};
      files.clear();
      apply(12);
      BOOST_TEST(static_cast<bool>(
        arm_fault_points("lake-archiver." + std::string{point} + "=throw:2")));
      start();
      advance_in_steps(10s, 100ms);
      check_complete();
      end(uut);
    }
  }
}

BOOST_AUTO_TEST_CASE(servers_and_disks_that_fail_are_waited_for) {
  start();
  BOOST_TEST(is_ready());
  apply(8);
  disk_full = true;
  advance(options.interval);
  BOOST_TEST(!is_ready());
  disk_full = false;
  table.down = true;
  advance_in_steps(2min, 100ms);
  BOOST_TEST(!is_ready());
  table.down = false;
  log.down = true;
  advance_in_steps(2min, 100ms);
  BOOST_TEST(!is_ready());
  log.down = false;
  advance_in_steps(2min, 100ms);
  BOOST_TEST(is_ready());
  check_complete();
}

BOOST_AUTO_TEST_CASE(an_event_that_is_gone_does_not_hold_up_the_others) {
  apply(5);
  table.rows.erase(2);
  start();
  auto first = file_name{"b1", day_of(1), 1, 5};
  BOOST_TEST(files.at(first) == (events{"b1#1", "b1#3"}),
             boost::test_tools::per_element());
  BOOST_TEST(log.open.empty());
}

BOOST_AUTO_TEST_CASE(no_event_is_missing_or_twice_whatever_fails_when) {
  quiet_log quiet;
  for (unsigned seed = 0; seed < 300; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 prng{seed};
      log = {};
      table = {};
      files.clear();
      start();
      static const char* points[]
        = {"tick=throw:1", "write=throw:1", "finish=throw:1"};
      for (int i = 0; i < 60; ++i) {
        apply(prng() % 4);
        switch (prng() % 8) {
          case 0:
            log.down = !log.down;
            break;
          case 1:
            table.down = !table.down;
            break;
          case 2:
            disk_full = !disk_full;
            break;
          case 3:
            BOOST_TEST(static_cast<bool>(arm_fault_points(
              std::string{"lake-archiver."} + points[prng() % 3])));
            break;
          default:
            break;
        }
        advance(std::chrono::milliseconds{prng() % 5000});
      }
      BOOST_TEST(static_cast<bool>(arm_fault_points("")));
      log.down = table.down = disk_full = false;
      advance_in_steps(2min, 500ms);
      check_complete();
      end(uut);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

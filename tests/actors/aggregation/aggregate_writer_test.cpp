#include "actors/aggregation/aggregate_writer.hpp"

#include "messages/core/error.hpp"
#include "messages/core/metrics.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/made_up_events.hpp"
#include "tests/support/read_side.hpp"

#include <boost/test/unit_test.hpp>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

struct fixture : tests::actor_fixture {
  fixture() {
    for (const auto* id : {"branch-1", "branch-2", "branch-3"})
      tables->put_epoch(id, 1);
    aggregate_writer_options options;
    options.open_store
      = [this]() -> caf::expected<storage::aggregate_store_ptr> {
      ++opened;
      if (away)
        return caf::make_error(errc::unavailable, "told to be away");
      auto store = std::make_unique<picky_store>(tables, mood);
      store->poison = &poison;
      return storage::aggregate_store_ptr{std::move(store)};
    };
    options.batch_max = 5;
    options.seed = 1;
    writer = sys.spawn(aggregate_writer, options);
    settle();
  }

  ~fixture() {
    end(writer);
  }

  /// Refuses whatever has one branch in it.
  struct picky_store : test::model_store {
    using model_store::model_store;

    caf::expected<std::vector<apply_outcome>>
    apply(const std::vector<apply_request_ptr>& requests) override {
      for (const auto& x : requests)
        if (x->branch_id == *poison)
          return caf::make_error(errc::internal, "poison");
      return model_store::apply(requests);
    }

    const std::string* poison = nullptr;
  };

  apply_request_ptr make(const std::string& branch_id, size_t events) {
    std::vector<purchase_event> xs;
    for (size_t i = 0; i < events; ++i)
      xs.push_back(maker.make(branch_id));
    return test::make_request(branch_id, 1, tables->cursor(branch_id), xs);
  }

  auto submit(const apply_request_ptr& x) {
    return self->request(writer, caf::infinite, atom::apply_v, x);
  }

  template <class Handle>
  caf::expected<apply_outcome_ptr> outcome_of(Handle&& handle) {
    caf::expected<apply_outcome_ptr> result{caf::error{}};
    handle.receive([&](const apply_outcome_ptr& x) { result = x; },
                   [&](caf::error& err) { result = err; });
    return result;
  }

  timestamp now = *parse_rfc3339("2026-03-10T12:00:00Z");
  test::event_maker maker{5, {20, 5, 3, now}};
  test::table_model_ptr tables = std::make_shared<test::table_model>();
  std::shared_ptr<test::model_store::mood> mood
    = std::make_shared<test::model_store::mood>();
  std::string poison;
  bool away = false;
  size_t opened = 0;
  aggregate_writer_actor writer;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(aggregate_writer_suite, fixture)

BOOST_AUTO_TEST_CASE(batches_that_arrive_together_share_one_commit) {
  auto a = submit(make("branch-1", 2));
  auto b = submit(make("branch-2", 3));
  settle();
  BOOST_TEST(mood->batches == std::vector<size_t>{2},
             boost::test_tools::per_element());
  BOOST_TEST((*outcome_of(a))->applied.size() == 2u);
  BOOST_TEST((*outcome_of(b))->applied.size() == 3u);
}

BOOST_AUTO_TEST_CASE(a_commit_has_a_bounded_number_of_events) {
  auto a = submit(make("branch-1", 4));
  auto b = submit(make("branch-2", 3));
  auto c = submit(make("branch-3", 1));
  settle();
  BOOST_TEST(mood->batches == (std::vector<size_t>{2, 1}),
             boost::test_tools::per_element());
  for (auto* x : {&a, &b, &c})
    BOOST_TEST((*outcome_of(*x))->owned);
}

BOOST_AUTO_TEST_CASE(a_batch_above_the_bound_goes_alone) {
  auto a = submit(make("branch-1", 9));
  settle();
  BOOST_TEST((*outcome_of(a))->applied.size() == 9u);
}

BOOST_AUTO_TEST_CASE(two_batches_of_a_branch_never_share_a_commit) {
  auto first = make("branch-1", 1);
  auto a = submit(first);
  auto b = submit(make("branch-1", 1)); // from before the first was applied
  settle();
  BOOST_TEST(mood->batches == (std::vector<size_t>{1, 1}),
             boost::test_tools::per_element());
  BOOST_TEST((*outcome_of(a))->owned);
  BOOST_TEST((*outcome_of(b))->moved);
}

BOOST_AUTO_TEST_CASE(a_lost_session_answers_everybody_and_is_opened_anew) {
  for (auto code : {errc::unavailable, errc::in_doubt}) {
    mood->apply_error = code;
    auto a = submit(make("branch-1", 3));
    auto b = submit(make("branch-2", 1));
    auto c = submit(make("branch-3", 4)); // not in the first commit
    settle();
    BOOST_TEST((outcome_of(a).error() == code));
    BOOST_TEST((outcome_of(b).error() == code));
    BOOST_TEST((outcome_of(c).error() == errc::unavailable));
    advance_in_steps(10s, 100ms);
    auto again = submit(make("branch-1", 1));
    settle();
    BOOST_TEST((*outcome_of(again))->owned);
  }
  BOOST_TEST(opened == 3u);
}

BOOST_AUTO_TEST_CASE(while_the_database_is_away_the_answer_comes_at_once) {
  away = true;
  mood->apply_error = errc::unavailable;
  auto a = submit(make("branch-1", 1));
  settle();
  BOOST_TEST((outcome_of(a).error() == errc::unavailable));
  auto b = submit(make("branch-1", 1));
  settle();
  BOOST_TEST((outcome_of(b).error() == errc::unavailable));
  auto tell = ask<readiness>(writer, atom::ready_v);
  BOOST_TEST(!(*tell)->ready);
  advance_in_steps(60s, 100ms);
  BOOST_TEST(opened > 10u);
  BOOST_TEST(opened < 60u);
  away = false;
  advance_in_steps(6s, 100ms);
  BOOST_TEST((*ask<readiness>(writer, atom::ready_v))->ready);
}

BOOST_AUTO_TEST_CASE(what_the_store_refuses_costs_no_neighbour) {
  poison = "branch-2";
  auto a = submit(make("branch-1", 1));
  auto b = submit(make("branch-2", 1));
  auto c = submit(make("branch-3", 1));
  settle();
  BOOST_TEST((*outcome_of(a))->owned);
  BOOST_TEST((outcome_of(b).error() == errc::internal));
  BOOST_TEST((*outcome_of(c))->owned);
  BOOST_TEST(opened == 1u);
}

BOOST_AUTO_TEST_CASE(a_killed_writer_answers_whoever_waits) {
  auto a = submit(make("branch-1", 1));
  self->send_exit(writer, caf::exit_reason::kill);
  settle();
  BOOST_TEST((outcome_of(a).error() == errc::unavailable));
  BOOST_TEST(mood->batches.empty());
}

BOOST_AUTO_TEST_CASE(what_was_done_is_counted) {
  auto& stale
    = metrics().get_counter("tillstream_stale_epochs_refused_total", "");
  auto& applied = metrics().get_counter("tillstream_events_applied_total", "");
  auto stale_before = stale.value();
  auto applied_before = applied.value();
  auto a = submit(make("branch-1", 4));
  settle();
  tables->put_epoch("branch-1", 2);
  auto b = submit(make("branch-1", 1));
  settle();
  BOOST_TEST((*outcome_of(a))->owned);
  BOOST_TEST(!(*outcome_of(b))->owned);
  BOOST_TEST(applied.value() - applied_before == 4u);
  BOOST_TEST(stale.value() - stale_before == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

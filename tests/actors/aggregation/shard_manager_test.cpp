#include "actors/aggregation/shard_manager.hpp"

#include "messages/core/error.hpp"
#include "messages/model/queries.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/made_up_events.hpp"
#include "tests/support/read_side.hpp"

#include <caf/actor_cast.hpp>

#include <boost/test/unit_test.hpp>

#include <map>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

/// What fake shards saw and do.
struct shard_script {
  /// In order of their start.
  std::vector<aggregate_shard_options> started;
  std::map<std::string, aggregate_shard_actor> living;
  /// Shards that are told to end wait for `finish`.
  bool linger = false;
  std::map<std::string, aggregate_shard_actor> lingering;
  /// Shards that have not loaded keep their first query.
  bool loading = false;
  /// A branch whose shard keeps its queries.
  std::string slow;
  std::vector<test::late_promise<shard_answer_ptr>> held;
  std::map<std::string, size_t> deliveries;
  std::map<std::string, size_t> notices;
  bool payload_seen = false;
  /// How often shards were told that notices may be missing.
  size_t polls = 0;
  /// The next one that is told so throws.
  bool crash = false;

  void finish(const std::string& id) {
    auto i = lingering.find(id);
    if (i == lingering.end())
      return;
    caf::anon_send_exit(i->second, caf::exit_reason::kill);
    lingering.erase(i);
  }

  void load_one() {
    auto x = held.front();
    held.erase(held.begin());
    x.deliver(std::make_shared<const shard_answer>());
  }
};

using shard_script_ptr = std::shared_ptr<shard_script>;

aggregate_shard_actor::behavior_type
fake_shard(aggregate_shard_actor::pointer self, std::string id,
           shard_script_ptr script) {
  self->set_exception_handler([](std::exception_ptr&) -> caf::error {
    return caf::make_error(errc::internal, "bug");
  });
  self->set_exit_handler([self, id, script](caf::exit_msg& msg) {
    if (script->linger)
      script->lingering[id] = caf::actor_cast<aggregate_shard_actor>(self);
    else
      self->quit(std::move(msg.reason));
  });
  return {
    [id, script](atom::deliver, const delivery_ptr&) {
      ++script->deliveries[id];
    },
    [id, script](atom::committed, const commit_notices_ptr& xs) {
      script->notices[id] += xs->size();
      for (const auto& x : *xs)
        script->payload_seen = script->payload_seen || x.payload != nullptr;
    },
    [self, id, script](
      atom::ask, const shard_query_ptr& x) -> caf::result<shard_answer_ptr> {
      auto held = x->what == shard_query::kind::status ? script->loading
                                                       : id == script->slow;
      if (held) {
        test::late_promise<shard_answer_ptr> promise{self};
        script->held.push_back(promise);
        return promise.get();
      }
      auto result = std::make_shared<shard_answer>();
      result->branch_id = id;
      return shard_answer_ptr{std::move(result)};
    },
    [](atom::after, const uuid&) { return true; },
    [script](atom::poll) {
      if (std::exchange(script->crash, false))
        throw std::runtime_error("told to throw");
      ++script->polls;
    },
  };
}

struct fixture : tests::actor_fixture {
  fixture() {
    set_chain(test::made_up_chain());
    reader->tables = std::make_shared<test::table_model>();
    reader_actor = sys.spawn(test::scripted_reader, reader);
  }

  ~fixture() {
    script->linger = false;
    while (!script->lingering.empty())
      script->finish(std::string{script->lingering.begin()->first});
    end(shard_manager_handle);
    script->held.clear();
    script->living.clear();
    script->lingering.clear();
    script->started.clear();
    end(reader_actor);
    end(consumer);
  }

  void set_chain(const tillstream::chain& chain) {
    storage::directory_snapshot snapshot;
    snapshot.chain = chain;
    view->set(std::make_shared<const directory>(snapshot));
  }

  void start(const std::vector<std::string>& ids) {
    spawn_shards();
    lease->renew(1, lease_now + 1h);
    update(ids);
  }

  void spawn_shards() {
    shard_manager_options options;
    options.view = view;
    options.lease = lease;
    options.load = load;
    options.reader = reader_actor;
    options.start_consumer = [this](shard_manager_actor) {
      consumer = sys.spawn(test::scripted_consumer, stream);
      return consumer;
    };
    options.start_shard
      = [this](caf::local_actor* parent, aggregate_shard_options shard) {
          auto id = shard.branch_id;
          auto handle = parent->spawn(fake_shard, id, script);
          script->started.push_back(std::move(shard));
          script->living[id] = handle;
          return handle;
        };
    options.starts_max = 2;
    options.pending_max = 900;
    options.restarts.restarts_max = 3;
    options.seed = 1;
    shard_manager_handle = sys.spawn(shard_manager, options);
    self->monitor(shard_manager_handle);
  }

  /// What OWNERSHIP tells: these branches, all with the same epoch.
  void update(const std::vector<std::string>& ids, int64_t epoch = 1,
              int64_t incarnation = 1) {
    auto owned = std::make_shared<std::vector<ownership>>();
    for (const auto& id : ids)
      owned->push_back({id, "n1", epoch});
    caf::anon_send(shard_manager_handle, atom::update_v, incarnation,
                   ownerships_ptr{std::move(owned)});
    settle();
  }

  auto close(const std::vector<std::string>& ids) {
    return post<bool>(shard_manager_handle, atom::close_v,
                      std::make_shared<const std::vector<std::string>>(ids));
  }

  caf::expected<shard_answer_ptr> ask_branch(const std::string& id) {
    shard_query x;
    x.what = shard_query::kind::days;
    return *ask<shard_answer_ptr>(shard_manager_handle, atom::ask_v, id,
                                  std::make_shared<const shard_query>(x));
  }

  auto ask_many(const std::vector<std::string>& ids) {
    shard_query what;
    what.what = shard_query::kind::days;
    auto query = std::make_shared<const shard_query>(what);
    shard_queries xs;
    xs.timeout = 2s;
    for (const auto& id : ids)
      xs.branches.push_back({id, query});
    return post<shard_answers_ptr>(
      shard_manager_handle, atom::request_v,
      std::make_shared<const shard_queries>(std::move(xs)));
  }

  bool is_ready() {
    return (*ask<readiness>(shard_manager_handle, atom::ready_v))->ready;
  }

  void crash(const std::string& id) {
    script->crash = true;
    caf::anon_send(script->living[id], atom::poll_v);
    settle();
  }

  tillstream::lease::time_point lease_now{1h};
  lease_ptr lease
    = std::make_shared<tillstream::lease>([this] { return lease_now; });
  snapshot_holder_ptr<shard_load> load
    = std::make_shared<snapshot_holder<shard_load>>();
  directory_view_ptr view = std::make_shared<directory_view>();
  test::reader_script_ptr reader = std::make_shared<test::reader_script>();
  test::stream_script_ptr stream = std::make_shared<test::stream_script>();
  shard_script_ptr script = std::make_shared<shard_script>();
  aggregate_reader_actor reader_actor;
  stream_consumer_actor consumer;
  shard_manager_actor shard_manager_handle;
};

const std::vector<std::string> all{"branch-1", "branch-2", "branch-3"};

} // namespace

BOOST_FIXTURE_TEST_SUITE(shard_manager_suite, fixture)

BOOST_AUTO_TEST_CASE(every_branch_that_is_ours_gets_a_shard) {
  start(all);
  BOOST_REQUIRE(script->started.size() == 3u);
  for (const auto& x : script->started) {
    BOOST_TEST(x.epoch == 1);
    BOOST_TEST(x.fetch_max == 300u);
  }
  BOOST_TEST(is_ready());
  BOOST_TEST(static_cast<bool>(ask_branch("branch-2")));
  update(all);
  BOOST_TEST(script->started.size() == 3u);
}

BOOST_AUTO_TEST_CASE(only_a_few_shards_load_at_once) {
  script->loading = true;
  start(all);
  BOOST_TEST(script->started.size() == 2u);
  BOOST_TEST(!is_ready());
  script->load_one();
  settle();
  BOOST_TEST(script->started.size() == 3u);
  script->load_one();
  script->load_one();
  settle();
  BOOST_TEST(is_ready());
}

BOOST_AUTO_TEST_CASE(a_shard_that_cannot_load_gives_up_its_slot) {
  script->loading = true;
  start(all);
  for (int i = 0; i < 2; ++i) {
    auto x = script->held.front();
    script->held.erase(script->held.begin());
    x.deliver(caf::make_error(errc::unavailable, "no database"));
    settle();
  }
  BOOST_TEST(script->started.size() == 3u);
  BOOST_TEST(!is_ready());
  while (!script->held.empty()) {
    script->load_one();
    settle();
  }
  BOOST_TEST(is_ready());
}

BOOST_AUTO_TEST_CASE(before_ownership_speaks_nothing_is_ready_nor_answered) {
  spawn_shards();
  BOOST_TEST(!is_ready());
  BOOST_TEST((ask_branch("branch-1").error() == errc::not_owner));
  // A node that owns nothing is as ready as it can be.
  update({});
  BOOST_TEST(is_ready());
}

BOOST_AUTO_TEST_CASE(nothing_is_answered_once_the_lease_ran_out) {
  start(all);
  BOOST_TEST(static_cast<bool>(ask_branch("branch-1")));
  lease_now += 2h;
  BOOST_TEST((ask_branch("branch-1").error() == errc::not_owner));
  // A lease of another incarnation says nothing of these branches.
  lease->renew(2, lease_now + 1h);
  BOOST_TEST((ask_branch("branch-1").error() == errc::not_owner));
  update(all, 2, 2);
  advance_in_steps(1s, 100ms);
  BOOST_TEST(static_cast<bool>(ask_branch("branch-1")));
}

BOOST_AUTO_TEST_CASE(branches_that_are_not_ours_any_more_lose_their_shards) {
  start(all);
  update({"branch-1"});
  BOOST_TEST((ask_branch("branch-2").error() == errc::not_owner));
  BOOST_TEST(static_cast<bool>(ask_branch("branch-1")));
  BOOST_TEST(stream->closed.size() == 2u);
  BOOST_TEST(is_ready());
  update(all, 2);
  // branch-1 has another epoch, so it starts anew, too.
  BOOST_TEST(script->started.size() == 6u);
  for (size_t i = 3; i < 6; ++i)
    BOOST_TEST(script->started[i].epoch == 2);
  BOOST_TEST(is_ready());
}

BOOST_AUTO_TEST_CASE(closing_is_answered_when_the_shards_are_gone) {
  start(all);
  script->linger = true;
  auto closed = close({"branch-1", "branch-3"});
  settle();
  BOOST_TEST(closed->count == 0u);
  // Not ours from the moment that we were asked.
  BOOST_TEST((ask_branch("branch-1").error() == errc::not_owner));
  script->finish("branch-1");
  settle();
  BOOST_TEST(closed->count == 0u);
  script->finish("branch-3");
  settle();
  BOOST_TEST(closed->count == 1u);
  BOOST_TEST(static_cast<bool>(ask_branch("branch-2")));
  auto nothing = close({"branch-1", "unknown"});
  settle();
  BOOST_TEST(nothing->count == 1u);
}

BOOST_AUTO_TEST_CASE(a_branch_that_comes_back_waits_for_its_last_shard) {
  start(all);
  script->linger = true;
  update({"branch-1", "branch-3"});
  update(all, 2);
  BOOST_TEST(script->started.size() == 3u);
  script->linger = false;
  for (const auto& id : all)
    script->finish(id);
  settle();
  BOOST_TEST(script->started.size() == 6u);
  BOOST_TEST(is_ready());
}

BOOST_AUTO_TEST_CASE(deliveries_and_notices_reach_the_shard_of_their_branch) {
  start(all);
  std::vector<delivery> xs(3);
  xs[0].branch_id = "branch-1";
  xs[1].branch_id = "branch-3";
  xs[2].branch_id = "nobody";
  caf::anon_send(shard_manager_handle, atom::deliver_v,
                 std::make_shared<const std::vector<delivery>>(xs));
  std::vector<commit_notice> notices(4);
  notices[0].branch_id = notices[2].branch_id = "branch-2";
  notices[1].branch_id = "branch-1";
  notices[3].branch_id = "nobody";
  notices[0].payload = std::make_shared<const std::string>("{}");
  caf::anon_send(shard_manager_handle, atom::committed_v,
                 std::make_shared<const std::vector<commit_notice>>(notices));
  settle();
  BOOST_TEST(script->deliveries["branch-1"] == 1u);
  BOOST_TEST(script->deliveries["branch-3"] == 1u);
  BOOST_TEST(script->deliveries.count("branch-2") == 0u);
  BOOST_TEST(script->notices["branch-2"] == 2u);
  BOOST_TEST(script->notices["branch-1"] == 1u);
  BOOST_TEST(!script->payload_seen);
}

BOOST_AUTO_TEST_CASE(what_concerns_all_branches_reaches_all_shards) {
  start(all);
  std::vector<delivery> xs(1);
  xs[0].lost = "the connection was lost";
  caf::anon_send(shard_manager_handle, atom::deliver_v,
                 std::make_shared<const std::vector<delivery>>(xs));
  settle();
  for (const auto& id : all)
    BOOST_TEST(script->deliveries[id] == 1u);
}

BOOST_AUTO_TEST_CASE(a_query_about_a_branch_that_is_not_ours_is_an_error) {
  start({"branch-1"});
  BOOST_TEST((ask_branch("branch-2").error() == errc::not_owner));
}

BOOST_AUTO_TEST_CASE(queries_of_many_branches_are_answered_in_one_message) {
  start({"branch-1", "branch-2"});
  auto reply = ask_many({"branch-2", "branch-3", "branch-1"});
  settle();
  BOOST_REQUIRE((reply->value && *reply->value));
  const auto& parts = (**reply->value)->branches;
  BOOST_REQUIRE(parts.size() == 3u);
  BOOST_TEST(parts[0].answer->branch_id == "branch-2");
  BOOST_TEST((parts[1].error == errc::not_owner));
  BOOST_TEST(parts[2].answer->branch_id == "branch-1");
  auto nothing = ask_many({});
  settle();
  BOOST_TEST((**nothing->value)->branches.empty());
}

BOOST_AUTO_TEST_CASE(a_slow_branch_is_left_out_when_the_time_is_over) {
  script->slow = "branch-1";
  start(all);
  auto reply = ask_many(all);
  advance_in_steps(1900ms, 100ms);
  BOOST_TEST(!reply->value);
  advance_in_steps(200ms, 100ms);
  BOOST_REQUIRE((reply->value && *reply->value));
  const auto& parts = (**reply->value)->branches;
  BOOST_TEST((parts[0].error == errc::unavailable));
  BOOST_TEST(parts[1].answer->branch_id == "branch-2");
  // What comes late hurts nobody.
  script->load_one();
  settle();
  BOOST_TEST(reply->count == 1u);
}

BOOST_AUTO_TEST_CASE(a_shard_that_ends_leaves_no_query_without_an_answer) {
  script->slow = "branch-1";
  start(all);
  auto reply = ask_many(all);
  settle();
  crash("branch-1");
  // The fake keeps its promise for ever: the deadline answers.
  advance_in_steps(2100ms, 100ms);
  BOOST_REQUIRE((reply->value && *reply->value));
  BOOST_TEST(((**reply->value)->branches[0].error == errc::unavailable));
}

BOOST_AUTO_TEST_CASE(a_shard_that_ends_is_replaced_and_its_neighbours_live_on) {
  start(all);
  auto first = script->started[1].generation;
  crash("branch-2");
  BOOST_TEST((ask_branch("branch-2").error() == errc::unavailable));
  BOOST_TEST(static_cast<bool>(ask_branch("branch-1")));
  BOOST_TEST(stream->closed == std::vector<std::string>{"branch-2"},
             boost::test_tools::per_element());
  advance_in_steps(1s, 50ms);
  BOOST_REQUIRE(script->started.size() == 4u);
  BOOST_TEST(script->started[3].branch_id == "branch-2");
  BOOST_TEST(script->started[3].epoch == 1);
  // Deliveries of the first one never look like its own.
  BOOST_TEST(script->started[3].generation >= first + (uint64_t{1} << 32));
  BOOST_TEST(static_cast<bool>(ask_branch("branch-2")));
}

BOOST_AUTO_TEST_CASE(a_branch_that_fails_again_and_again_ends_us) {
  start(all);
  for (int i = 0; i < 3; ++i) {
    crash("branch-2");
    advance_in_steps(5s, 100ms);
  }
  BOOST_TEST(self->mailbox().empty());
  crash("branch-2");
  caf::error reason;
  self->receive([&](caf::down_msg& x) { reason = x.reason; });
  BOOST_TEST((reason == errc::internal));
}

BOOST_AUTO_TEST_CASE(a_stale_epoch_is_not_tried_again) {
  start(all);
  self->send_exit(script->living["branch-2"],
                  caf::make_error(errc::not_owner, "branch-2"));
  settle();
  BOOST_TEST((ask_branch("branch-2").error() == errc::not_owner));
  // OWNERSHIP has not heard of it yet.
  update(all);
  advance_in_steps(6s, 100ms);
  BOOST_TEST(script->started.size() == 3u);
  update(all, 3);
  BOOST_REQUIRE(script->started.size() == 6u);
  BOOST_TEST(static_cast<bool>(ask_branch("branch-2")));
}

BOOST_AUTO_TEST_CASE(draining_ends_the_shards_and_starts_no_others) {
  start(all);
  auto done = ask<bool>(shard_manager_handle, atom::drain_v);
  BOOST_REQUIRE(done.has_value());
  BOOST_TEST(**done);
  BOOST_TEST((ask_branch("branch-1").error() == errc::shutting_down));
  update(all, 2);
  advance_in_steps(5s, 100ms);
  BOOST_TEST(script->started.size() == 3u);
}

BOOST_AUTO_TEST_CASE(the_lag_of_the_slowest_shard_is_published) {
  start(all);
  BOOST_TEST(load->get()->lag_ms == 0);
  *script->started[0].lag_ms = 40;
  *script->started[1].lag_ms = 900;
  advance_in_steps(1s, 100ms);
  BOOST_TEST(load->get()->lag_ms == 900);
  // A shard that ended says nothing of its branch any more.
  update({script->started[0].branch_id});
  advance_in_steps(1s, 100ms);
  BOOST_TEST(load->get()->lag_ms == 40);
}

BOOST_AUTO_TEST_CASE(an_exit_message_ends_shards_and_consumer_first) {
  start(all);
  for (auto& [id, shard] : script->living)
    self->monitor(shard);
  self->monitor(consumer);
  caf::anon_send_exit(shard_manager_handle, caf::exit_reason::user_shutdown);
  settle();
  for (int i = 0; i < 5; ++i)
    self->receive([](caf::down_msg&) {
      // One for each: three shards, the consumer, and us.
    });
  BOOST_TEST(self->mailbox().empty());
}

BOOST_AUTO_TEST_CASE(the_end_of_the_stream_consumer_is_ours) {
  start(all);
  caf::anon_send_exit(consumer, caf::exit_reason::kill);
  settle();
  bool ended = false;
  self->receive([&](caf::down_msg&) { ended = true; });
  BOOST_TEST(ended);
}

BOOST_AUTO_TEST_CASE(a_branch_without_a_clock_waits_for_the_directory) {
  auto chain = test::made_up_chain();
  auto later = chain;
  chain.branches.pop_back();
  set_chain(chain);
  start(all);
  BOOST_TEST(script->started.size() == 2u);
  set_chain(later);
  advance_in_steps(3s, 100ms);
  BOOST_TEST(script->started.size() == 3u);
}

BOOST_AUTO_TEST_CASE(three_thousand_branches_are_started_a_few_at_a_time) {
  tillstream::chain chain;
  std::vector<std::string> ids;
  for (int i = 0; i < 3000; ++i) {
    auto id = "b-" + std::to_string(10000 + i);
    chain.branches.push_back({id, id, "UTC", 0});
    ids.push_back(id);
  }
  set_chain(chain);
  start(ids);
  BOOST_TEST(script->started.size() == 3000u);
  BOOST_TEST(is_ready());
}

BOOST_AUTO_TEST_CASE(missed_notices_are_told_to_every_shard) {
  start(all);
  caf::anon_send(shard_manager_handle, atom::poll_v);
  settle();
  BOOST_TEST(script->polls == all.size());
}

BOOST_AUTO_TEST_SUITE_END()

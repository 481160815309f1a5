#include "actors/aggregation/stream_consumer.hpp"

#include "messages/core/error.hpp"
#include "tests/support/actor_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <memory>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

/// What the fake source saw, and what it does.
struct broker {
  bool away = false;
  bool connected = true;
  bool refuses = false;
  size_t connects = 0;
  size_t alive = 0;
  size_t state_calls = 0;
  stream_state state;
  std::vector<std::string> calls;
  storage::event_source::delivery_handler handler;
};

class fake_source : public storage::event_source {
public:
  explicit fake_source(broker& of) : of_(of) {
    of_.alive += 1;
  }

  ~fake_source() override {
    of_.alive -= 1;
    of_.handler = nullptr;
  }

  caf::expected<stream_state> state() override {
    ++of_.state_calls;
    if (!of_.connected)
      return caf::make_error(errc::unavailable, "not connected");
    return of_.state;
  }

  caf::expected<uint64_t> last_seq(const std::string& branch_id) override {
    of_.calls.push_back("last " + branch_id);
    if (of_.refuses)
      return caf::make_error(errc::unavailable, "told to refuse");
    return of_.state.last_seq;
  }

  caf::expected<void> open(const std::string& branch_id, uint64_t first_seq,
                           uint64_t generation) override {
    of_.calls.push_back("open " + branch_id + " " + std::to_string(first_seq)
                        + " " + std::to_string(generation));
    return answer();
  }

  void close(const std::string& branch_id) override {
    of_.calls.push_back("close " + branch_id);
  }

  caf::expected<void>
  fetch(const std::string& branch_id, size_t count) override {
    of_.calls.push_back("fetch " + branch_id + " " + std::to_string(count));
    return answer();
  }

  void ack(const std::vector<std::string>& replies) override {
    for (const auto& x : replies)
      of_.calls.push_back("ack " + x);
  }

  bool connected() const override {
    return of_.connected;
  }

private:
  caf::expected<void> answer() {
    if (of_.refuses)
      return caf::make_error(errc::unavailable, "told to refuse");
    return caf::unit;
  }

  broker& of_;
};

using seen_ptr = std::shared_ptr<std::vector<delivery>>;

delivery_sink_actor::behavior_type
listening_shards(delivery_sink_actor::pointer, seen_ptr seen) {
  return {
    [seen](atom::deliver, const deliveries_ptr& xs) {
      seen->insert(seen->end(), xs->begin(), xs->end());
    },
  };
}

struct fixture : tests::actor_fixture {
  fixture() {
    shards = sys.spawn(listening_shards, seen);
  }

  ~fixture() {
    end(consumer);
    end(shards);
    BOOST_TEST(remote.alive == 0u);
  }

  void start() {
    stream_consumer_options options;
    options.connect = [this](storage::event_source::delivery_handler handler)
      -> caf::expected<storage::event_source_ptr> {
      ++remote.connects;
      if (remote.away)
        return caf::make_error(errc::unavailable, "told to be away");
      remote.connected = true;
      remote.handler = std::move(handler);
      return storage::event_source_ptr{std::make_unique<fake_source>(remote)};
    };
    options.shards = shards;
    options.broker = broker_now;
    options.seed = 1;
    consumer = sys.spawn(stream_consumer, options);
    settle();
  }

  void open(const std::string& branch_id, uint64_t generation) {
    caf::anon_send(consumer, atom::open_v, branch_id, uint64_t{5}, generation);
    settle();
  }

  void fetch(const std::string& branch_id) {
    caf::anon_send(consumer, atom::fetch_v, branch_id, uint64_t{9});
    settle();
  }

  auto state() {
    return *ask<stream_state>(consumer, atom::state_v);
  }

  broker remote;
  snapshot_holder_ptr<broker_state> broker_now
    = std::make_shared<snapshot_holder<broker_state>>();
  seen_ptr seen = std::make_shared<std::vector<delivery>>();
  delivery_sink_actor shards;
  stream_consumer_actor consumer;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(stream_consumer_suite, fixture)

BOOST_AUTO_TEST_CASE(it_passes_calls_to_the_source_and_deliveries_to_shards) {
  start();
  open("a", 3);
  fetch("a");
  caf::anon_send(consumer, atom::ack_v,
                 std::make_shared<const std::vector<std::string>>(
                   std::vector<std::string>{"r1"}));
  caf::anon_send(consumer, atom::close_v, std::string{"a"});
  settle();
  BOOST_TEST(remote.calls
               == (std::vector<std::string>{"open a 5 3", "fetch a 9", "ack r1",
                                            "close a"}),
             boost::test_tools::per_element());
  seen->clear();
  delivery x;
  x.branch_id = "a";
  x.generation = 3;
  x.messages.resize(2);
  remote.handler({x});
  settle();
  BOOST_REQUIRE(seen->size() == 1u);
  BOOST_TEST(seen->front().messages.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_new_connection_tells_all_branches_that_they_are_lost) {
  start();
  BOOST_REQUIRE(seen->size() == 1u);
  BOOST_TEST(seen->front().branch_id == "");
  BOOST_TEST(seen->front().generation == 0u);
  BOOST_TEST(seen->front().lost != "");
}

BOOST_AUTO_TEST_CASE(a_connection_that_is_gone_is_made_again) {
  start();
  open("a", 3);
  seen->clear();
  remote.connected = false;
  remote.away = true;
  advance_in_steps(30s, 100ms);
  BOOST_TEST(remote.alive == 0u);
  BOOST_TEST(remote.connects > 4u);
  BOOST_TEST(remote.connects < 40u);
  BOOST_TEST(seen->size() == 1u);
  BOOST_TEST((state().error() == errc::unavailable));
  BOOST_TEST(!broker_now->get()->connected);
  BOOST_TEST(broker_now->get()->reason != "");
  remote.away = false;
  advance_in_steps(6s, 100ms);
  BOOST_TEST(remote.alive == 1u);
  BOOST_REQUIRE(seen->size() == 2u);
  BOOST_TEST(seen->back().lost != "");
  BOOST_TEST(broker_now->get()->connected);
  // The branch is not open in the new connection.
  remote.calls.clear();
  fetch("a");
  BOOST_TEST(remote.calls.empty());
}

BOOST_AUTO_TEST_CASE(a_failed_call_tells_the_branch_that_it_is_lost) {
  start();
  open("a", 3);
  open("b", 4);
  seen->clear();
  remote.refuses = true;
  fetch("a");
  BOOST_REQUIRE(seen->size() == 1u);
  BOOST_TEST(seen->front().branch_id == "a");
  BOOST_TEST(seen->front().generation == 3u);
  BOOST_TEST(seen->front().lost != "");
  BOOST_TEST(remote.alive == 1u);
}

BOOST_AUTO_TEST_CASE(opening_without_a_connection_is_lost_at_once) {
  remote.away = true;
  start();
  seen->clear();
  open("a", 8);
  BOOST_REQUIRE(seen->size() == 1u);
  BOOST_TEST(seen->front().generation == 8u);
}

BOOST_AUTO_TEST_CASE(the_stream_is_read_once_for_all_who_ask_in_a_second) {
  start();
  remote.state.incarnation = "t1";
  remote.state.last_seq = 4;
  for (int i = 0; i < 10; ++i)
    BOOST_TEST(state()->last_seq == 4u);
  BOOST_TEST(remote.state_calls == 1u);
  // It must never look shorter than what was delivered.
  delivery x;
  x.branch_id = "a";
  x.messages.resize(1);
  x.messages[0].stream_seq = 7;
  remote.handler({x});
  settle();
  BOOST_TEST(state()->last_seq == 7u);
  BOOST_TEST(remote.state_calls == 1u);
  advance(1500ms);
  remote.state.last_seq = 9;
  BOOST_TEST(state()->last_seq == 9u);
  BOOST_TEST(remote.state_calls == 2u);
}

BOOST_AUTO_TEST_CASE(what_was_known_of_the_stream_ends_with_its_connection) {
  start();
  remote.state.last_seq = 9;
  BOOST_TEST(state()->last_seq == 9u);
  delivery x;
  x.lost = "the connection was lost";
  remote.handler({x});
  settle();
  remote.state.last_seq = 2;
  BOOST_TEST(state()->last_seq == 2u);
}

BOOST_AUTO_TEST_CASE(the_state_of_the_broker_is_published_at_each_check) {
  start();
  auto first = broker_now->get();
  BOOST_TEST(first->connected);
  advance_in_steps(1s, 100ms);
  BOOST_TEST((broker_now->get()->checked_at - first->checked_at == 1s));
  remote.connected = false;
  remote.away = true;
  advance_in_steps(1s, 100ms);
  BOOST_TEST(!broker_now->get()->connected);
}

BOOST_AUTO_TEST_CASE(deliveries_do_not_pass_through_the_consumer) {
  start();
  seen->clear();
  delivery x;
  x.branch_id = "a";
  x.messages.resize(1);
  // It is gone, its connection not yet: the callback needs nobody else.
  auto handler = remote.handler;
  end(consumer);
  handler({x});
  settle();
  BOOST_TEST(seen->size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

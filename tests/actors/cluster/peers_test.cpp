#include "actors/cluster/peers.hpp"

#include "messages/core/error.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/late_promise.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <set>

using namespace tillstream;
using namespace std::chrono_literals;

using kind = peer_message::kind;

namespace {

/// A broker in memory: links by the name of their node.
struct fake_net {
  std::map<std::string, storage::peer_link::message_handler> nodes;
  /// Nodes that take messages and answer nothing: paused ones.
  std::set<std::string> silent;
  bool down = false;
  std::vector<std::string> told;
  std::vector<std::string> answers;

  void send(const std::string& node, peer_message msg) {
    if (nodes.count(node) > 0 && silent.count(node) == 0)
      nodes[node]({std::move(msg)});
  }
};

using fake_net_ptr = std::shared_ptr<fake_net>;

class fake_link : public storage::peer_link {
public:
  fake_link(fake_net_ptr net, std::string node)
    : net_(std::move(net)),
      node_(std::move(node)) {
    // nop
  }

  ~fake_link() override {
    net_->nodes.erase(node_);
  }

  caf::expected<void> ask(const std::string& node, uint64_t token,
                          std::string_view payload) override {
    if (net_->down)
      return caf::make_error(errc::unavailable, "down");
    peer_message msg;
    msg.payload = payload;
    msg.reply_to = node_ + "|" + std::to_string(token);
    if (net_->nodes.count(node) > 0) {
      net_->send(node, std::move(msg));
    } else {
      msg.what = kind::nobody;
      msg.token = token;
      net_->send(node_, std::move(msg));
    }
    return caf::unit;
  }

  caf::expected<void>
  answer(const std::string& reply_to, std::string_view payload) override {
    net_->answers.emplace_back(payload);
    auto bar = reply_to.find('|');
    peer_message msg;
    msg.what = kind::answer;
    msg.token = std::stoull(reply_to.substr(bar + 1));
    msg.payload = payload;
    net_->send(reply_to.substr(0, bar), std::move(msg));
    return caf::unit;
  }

  caf::expected<void> tell_all(std::string_view payload) override {
    if (net_->down)
      return caf::make_error(errc::unavailable, "down");
    net_->told.emplace_back(payload);
    auto nodes = net_->nodes;
    for (auto& [node, handler] : nodes) {
      peer_message msg;
      msg.what = kind::notice;
      msg.payload = payload;
      net_->send(node, std::move(msg));
    }
    return caf::unit;
  }

  bool connected() const override {
    return !net_->down;
  }

private:
  fake_net_ptr net_;
  std::string node_;
};

/// SHARD MANAGER of one of the nodes.
struct shard_manager_script {
  std::map<std::string, int64_t> owned;
  bool hold = false;
  bool has_event = false;
  /// A branch that does not answer in time.
  std::string slow;
  /// What the shards had for the last query.
  std::chrono::milliseconds timeout{0};
  std::vector<test::late_promise<shard_answers_ptr>> held;
  std::vector<commit_notice> notices;
  size_t polls = 0;
};

using shard_manager_script_ptr = std::shared_ptr<shard_manager_script>;

using local_shards = decltype(peers_options::shards);

local_shards::behavior_type
scripted_shards(local_shards::pointer self, shard_manager_script_ptr script) {
  return {
    [script](atom::committed, const commit_notices_ptr& xs) {
      script->notices.insert(script->notices.end(), xs->begin(), xs->end());
    },
    [script](atom::poll) { ++script->polls; },
    [](atom::ask, const std::string&,
       const shard_query_ptr&) -> caf::result<shard_answer_ptr> {
      return caf::make_error(errc::internal, "one message a node");
    },
    [self, script](atom::request, const shard_queries_ptr& xs)
      -> caf::result<shard_answers_ptr> {
      script->timeout = xs->timeout;
      auto result = std::make_shared<shard_answers>();
      for (const auto& x : xs->branches) {
        auto i = script->owned.find(x.branch_id);
        branch_answer part;
        if (x.branch_id == script->slow) {
          part.error = errc::unavailable;
        } else if (i == script->owned.end()) {
          part.error = errc::not_owner;
        } else {
          auto answer = std::make_shared<shard_answer>();
          answer->branch_id = x.branch_id;
          answer->pending_events = i->second;
          part.answer = std::move(answer);
        }
        result->branches.push_back(std::move(part));
      }
      if (script->hold) {
        script->held.emplace_back(self);
        return script->held.back().get();
      }
      return shard_answers_ptr{std::move(result)};
    },
    [script](atom::after, const std::string& id, const uuid&) {
      return script->has_event && id == "b-2";
    },
  };
}

struct fixture : tests::actor_fixture {
  fixture() {
    theirs->owned = {{"b-1", 1}, {"b-2", 2}};
    my_shards = sys.spawn(scripted_shards, mine);
    their_shards = sys.spawn(scripted_shards, theirs);
    me = sys.spawn(peers, options("me", my_shards));
    them = sys.spawn(peers, options("them", their_shards));
    settle();
  }

  ~fixture() {
    end(me);
    end(them);
    theirs->held.clear();
    end(my_shards);
    end(their_shards);
  }

  peers_options options(const std::string& node, local_shards shards) {
    peers_options result;
    result.node = node;
    result.shards = std::move(shards);
    result.queries_max = 3;
    result.connect
      = [net = net, node](storage::peer_link::message_handler handler)
      -> caf::expected<storage::peer_link_ptr> {
      if (net->down)
        return caf::make_error(errc::unavailable, "told to be down");
      net->nodes[node] = std::move(handler);
      return storage::peer_link_ptr{std::make_unique<fake_link>(net, node)};
    };
    return result;
  }

  peer_query_ptr query(std::vector<std::string> branches) {
    auto result = std::make_shared<peer_query>();
    result->timeout = 3s;
    result->branches = std::move(branches);
    result->queries.assign(result->branches.size(),
                           std::make_shared<const shard_query>());
    return result;
  }

  auto ask_them(std::vector<std::string> branches) {
    return post<peer_answer_ptr>(me, atom::ask_v, std::string{"them"},
                                 query(std::move(branches)));
  }

  bool failed_with(const tests::answer<peer_answer_ptr>& x, errc code) {
    return x->value && !*x->value && x->value->error() == code;
  }

  fake_net_ptr net = std::make_shared<fake_net>();
  shard_manager_script_ptr mine = std::make_shared<shard_manager_script>();
  shard_manager_script_ptr theirs = std::make_shared<shard_manager_script>();
  local_shards my_shards;
  local_shards their_shards;
  peers_actor me;
  peers_actor them;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(peers_suite, fixture)

BOOST_AUTO_TEST_CASE(a_node_answers_for_all_branches_in_one_go) {
  auto reply = ask_them({"b-1", "b-2", "b-3"});
  settle();
  BOOST_REQUIRE((reply->value && *reply->value));
  const auto& parts = (**reply->value)->parts;
  BOOST_REQUIRE(parts.size() == 3u);
  BOOST_TEST(parts.at("b-1").answer->pending_events == 1);
  BOOST_TEST(parts.at("b-2").answer->pending_events == 2);
  BOOST_TEST((parts.at("b-3").error == errc::not_owner));
  BOOST_TEST(net->answers.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_node_that_is_not_there_fails_at_once) {
  auto reply = post<peer_answer_ptr>(me, atom::ask_v, std::string{"nobody"},
                                     query({"b-1"}));
  settle();
  BOOST_TEST(failed_with(reply, errc::unavailable));
}

BOOST_AUTO_TEST_CASE(a_node_that_is_late_is_left_alone_for_a_while) {
  net->silent.insert("them");
  auto reply = ask_them({"b-1"});
  advance_in_steps(2900ms, 100ms);
  BOOST_TEST(!reply->value);
  advance_in_steps(200ms, 100ms);
  BOOST_TEST(failed_with(reply, errc::timeout));
  net->silent.clear();
  reply = ask_them({"b-1"});
  settle();
  BOOST_TEST(failed_with(reply, errc::timeout));
  advance_in_steps(2s, 100ms);
  reply = ask_them({"b-1"});
  settle();
  BOOST_TEST((reply->value && *reply->value));
}

BOOST_AUTO_TEST_CASE(a_slow_branch_does_not_make_the_others_late) {
  theirs->slow = "b-1";
  auto reply = ask_them({"b-1", "b-2"});
  settle();
  BOOST_REQUIRE((reply->value && *reply->value));
  // SHARD MANAGER answers without it early enough for our answer to be used.
  BOOST_TEST((theirs->timeout == 2400ms));
  const auto& parts = (**reply->value)->parts;
  BOOST_TEST((parts.at("b-1").error == errc::unavailable));
  BOOST_TEST(parts.at("b-2").answer->pending_events == 2);
}

BOOST_AUTO_TEST_CASE(an_event_is_waited_for_at_the_other_node) {
  auto x = std::make_shared<peer_query>(*query({"b-1", "b-2"}));
  x->what = peer_query::kind::after;
  auto ask_after = [&] {
    auto reply = post<peer_answer_ptr>(me, atom::ask_v, std::string{"them"},
                                       peer_query_ptr{x});
    settle();
    return (**reply->value)->applied;
  };
  BOOST_TEST(!ask_after());
  theirs->has_event = true;
  BOOST_TEST(ask_after());
}

BOOST_AUTO_TEST_CASE(queries_are_bounded_on_both_sides) {
  theirs->hold = true;
  std::vector<tests::answer<peer_answer_ptr>> waiting;
  for (int i = 0; i < 3; ++i)
    waiting.push_back(ask_them({"b-1"}));
  settle();
  auto reply = ask_them({"b-1"});
  settle();
  BOOST_TEST(failed_with(reply, errc::overloaded));
  // A third node asks as well.
  auto third = sys.spawn(peers, options("third", local_shards{}));
  settle();
  reply = post<peer_answer_ptr>(third, atom::ask_v, std::string{"them"},
                                query({"b-1"}));
  settle();
  BOOST_TEST(failed_with(reply, errc::overloaded));
  // Time frees the places.
  advance_in_steps(6s, 100ms);
  for (auto& x : waiting)
    BOOST_TEST((x->value && x->count == 1));
  theirs->hold = false;
  reply = ask_them({"b-1"});
  settle();
  BOOST_TEST((reply->value && *reply->value));
  end(third);
}

BOOST_AUTO_TEST_CASE(a_node_without_branches_says_so) {
  auto third = sys.spawn(peers, options("third", local_shards{}));
  settle();
  auto reply = post<peer_answer_ptr>(me, atom::ask_v, std::string{"third"},
                                     query({"b-1"}));
  settle();
  BOOST_TEST(failed_with(reply, errc::not_owner));
  end(third);
}

BOOST_AUTO_TEST_CASE(a_commit_is_one_message_that_all_but_the_sender_take) {
  auto notices = std::make_shared<std::vector<commit_notice>>();
  for (int64_t i = 0; i < 100; ++i)
    notices->push_back({"b-" + std::to_string(i), i, uuid{}, from_ms(5), 1,
                        std::make_shared<const std::string>("payload")});
  caf::anon_send(me, atom::committed_v, commit_notices_ptr{std::move(notices)});
  settle();
  BOOST_TEST(net->told.size() == 1u);
  BOOST_TEST(mine->notices.empty());
  BOOST_REQUIRE(theirs->notices.size() == 100u);
  BOOST_TEST(theirs->notices[7].branch_id == "b-7");
  BOOST_TEST(!theirs->notices[7].payload);
}

BOOST_AUTO_TEST_CASE(after_a_gap_the_shards_compare_with_the_outbox) {
  peer_message gap;
  gap.what = kind::gap;
  net->send("me", gap);
  settle();
  BOOST_TEST(mine->polls == 1u);
  BOOST_TEST(theirs->polls == 0u);
}

BOOST_AUTO_TEST_CASE(broken_messages_are_refused_and_harm_nobody) {
  tests::quiet_log quiet;
  for (const auto* payload : {"", "nonsense", R"({"v":9,"kind":"ask"})"}) {
    for (auto what : {kind::query, kind::answer, kind::notice}) {
      peer_message msg;
      msg.what = what;
      msg.payload = payload;
      msg.reply_to = "me|0";
      msg.token = 1;
      net->send("them", std::move(msg));
    }
    settle();
  }
  // Each query was answered with a refusal.
  BOOST_TEST(net->answers.size() == 3u);
  BOOST_TEST(theirs->notices.empty());
  auto reply = ask_them({"b-1"});
  settle();
  BOOST_TEST((reply->value && *reply->value));
}

BOOST_AUTO_TEST_CASE(a_broken_answer_fails_the_query_at_once) {
  tests::quiet_log quiet;
  net->silent.insert("them");
  auto reply = ask_them({"b-1"});
  settle();
  peer_message msg;
  msg.what = kind::answer;
  msg.token = 1;
  msg.payload = R"({"v":1,"chunk":3,"parts":[],"last":true})";
  net->send("me", std::move(msg));
  settle();
  BOOST_TEST(failed_with(reply, errc::internal));
}

BOOST_AUTO_TEST_CASE(without_a_broker_it_fails_at_once_and_connects_later) {
  end(me);
  net->down = true;
  me = sys.spawn(peers, options("me", my_shards));
  settle();
  auto reply = ask_them({"b-1"});
  settle();
  BOOST_TEST(failed_with(reply, errc::unavailable));
  net->down = false;
  advance_in_steps(10s, 500ms);
  reply = ask_them({"b-1"});
  settle();
  BOOST_TEST((reply->value && *reply->value));
}

BOOST_AUTO_TEST_CASE(when_it_ends_whoever_waits_is_answered) {
  net->silent.insert("them");
  auto reply = ask_them({"b-1"});
  settle();
  caf::anon_send_exit(me, caf::exit_reason::kill);
  settle();
  BOOST_TEST(failed_with(reply, errc::unavailable));
}

BOOST_AUTO_TEST_SUITE_END()

#include "actors/query/query.hpp"

#include "messages/codec/json.hpp"
#include "messages/codec/peer_codec.hpp"
#include "messages/core/error.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/dashboard.hpp"
#include "tests/support/read_side.hpp"

#include <boost/test/unit_test.hpp>

#include <functional>
#include <map>
#include <set>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

std::shared_ptr<shard_answer>
plain_answer(const std::string& id, int64_t revenue) {
  auto result = std::make_shared<shard_answer>();
  result->branch_id = id;
  result->lag_ms = 0;
  result->day.sales = {revenue, 1, 1};
  result->products = result->previous_products
    = std::make_shared<const std::vector<product_sums>>();
  result->heat = std::make_shared<const heat_map>();
  return result;
}

/// What a fake SHARD MANAGER is asked, and what it answers.
struct shard_manager_script {
  std::map<std::string, errc> errors;
  /// Branches that never answer.
  std::set<std::string> silent;
  /// Where the event is.
  std::string event_at;
  bool hold_after = false;
  size_t requests = 0;
  std::vector<std::pair<std::string, shard_query_ptr>> asked;
  std::vector<test::late_promise<shard_answers_ptr>> unanswered;
  std::map<std::string, test::late_promise<bool>> waiting;

  branch_answer answer(const branch_query& x) {
    asked.emplace_back(x.branch_id, x.query);
    if (auto i = errors.find(x.branch_id); i != errors.end())
      return {i->second, nullptr};
    return {errc::none, plain_answer(x.branch_id, 0)};
  }
};

using shard_manager_script_ptr = std::shared_ptr<shard_manager_script>;

branch_queries_actor::behavior_type
scripted_shards(branch_queries_actor::pointer self,
                shard_manager_script_ptr script) {
  return {
    [](atom::ask, const std::string& id,
       const shard_query_ptr&) -> caf::result<shard_answer_ptr> {
      BOOST_ERROR("asked for one branch: " << id);
      return caf::make_error(errc::internal);
    },
    [self, script](atom::request, const shard_queries_ptr& x)
      -> caf::result<shard_answers_ptr> {
      ++script->requests;
      auto result = std::make_shared<shard_answers>();
      bool is_silent = false;
      for (const auto& branch : x->branches) {
        is_silent |= script->silent.count(branch.branch_id) > 0;
        result->branches.push_back(script->answer(branch));
      }
      if (!is_silent)
        return shard_answers_ptr{std::move(result)};
      script->unanswered.emplace_back(self);
      return script->unanswered.back().get();
    },
    [self, script](atom::after, const std::string& id,
                   const uuid&) -> caf::result<bool> {
      if (!script->hold_after)
        return id == script->event_at;
      test::late_promise<bool> promise{self};
      script->waiting[id] = promise;
      return promise.get();
    },
  };
}

/// What the tables, or other nodes, say.
struct elsewhere_script {
  /// `none`: they answer.
  errc tables_error = errc::unavailable;
  std::vector<std::string> tables_asked;
  /// Branches whose event the tables were asked for.
  std::vector<strings_ptr> tables_waits;
  bool in_tables = false;

  /// Nodes that do not answer at all.
  std::set<std::string> dead;
  /// Branches that their node does not own any more.
  std::set<std::string> moved;
  bool at_peer = false;
  std::vector<std::pair<std::string, peer_query_ptr>> peers_asked;
  /// What a node of another version makes of its answers.
  std::function<void(shard_answer&)> spoil = [](shard_answer&) {};
};

using elsewhere_ptr = std::shared_ptr<elsewhere_script>;

fallback_reader_actor::behavior_type
scripted_fallback(fallback_reader_actor::pointer, elsewhere_ptr script) {
  return {
    [script](atom::ask, const std::string& id,
             const shard_query_ptr&) -> caf::result<shard_answer_ptr> {
      script->tables_asked.push_back(id);
      if (script->tables_error != errc::none)
        return caf::make_error(script->tables_error, "told to fail");
      return shard_answer_ptr{plain_answer(id, 300)};
    },
    [script](atom::after, const uuid&, const strings_ptr& branches) {
      script->tables_waits.push_back(branches);
      return script->in_tables;
    },
  };
}

peers_actor::behavior_type
scripted_peers(peers_actor::pointer, elsewhere_ptr script) {
  return {
    [script](atom::ask, const std::string& node,
             const peer_query_ptr& x) -> caf::result<peer_answer_ptr> {
      script->peers_asked.emplace_back(node, x);
      if (script->dead.count(node) > 0)
        return caf::make_error(errc::timeout, node);
      auto result = std::make_shared<peer_answer>();
      result->applied = script->at_peer;
      for (const auto& id : x->branches) {
        auto answer = plain_answer(id, 200);
        script->spoil(*answer);
        result->parts[id] = script->moved.count(id) > 0
                              ? peer_part{errc::not_owner, nullptr}
                              : peer_part{errc::none, answer};
      }
      return peer_answer_ptr{std::move(result)};
    },
    [](atom::committed, const commit_notices_ptr&) {
      // nop
    },
    [](atom::ready) { return readiness{}; },
  };
}

struct fixture : tests::actor_fixture {
  fixture() {
    view->set(test::directory_of(test::far_flung_chain()));
    reader->tables = std::make_shared<test::table_model>();
    shards = sys.spawn(scripted_shards, script);
    reader_actor = sys.spawn(test::scripted_reader, reader);
    fallback = sys.spawn(scripted_fallback, elsewhere);
    peers = sys.spawn(scripted_peers, elsewhere);
    query_options options;
    options.node = "me";
    options.shards = shards;
    options.peers = peers;
    options.fallback = fallback;
    options.owners = owners;
    options.reader = reader_actor;
    options.view = view;
    options.in_flight_max = 3;
    query_actor_handle = sys.spawn(query, options);
    settle();
  }

  ~fixture() {
    end(query_actor_handle);
    script->unanswered.clear();
    script->waiting.clear();
    end(shards);
    end(peers);
    end(fallback);
    end(reader_actor);
  }

  auto submit(std::string name, header_list params = {}) {
    return self->request(query_actor_handle, caf::infinite, atom::ask_v,
                         std::make_shared<const analytics_query>(
                           test::query(std::move(name), std::move(params))));
  }

  template <class Handle>
  http_reply reply_of(Handle&& handle) {
    http_reply result;
    handle.receive([&](const query_reply& x) { result = *x.reply; },
                   [&](caf::error& err) { BOOST_FAIL(describe(err)); });
    return result;
  }

  http_reply get(std::string name, header_list params = {}) {
    auto handle = submit(std::move(name), std::move(params));
    settle();
    return reply_of(handle);
  }

  std::string header(const http_reply& x, std::string_view name) {
    for (const auto& [key, value] : x.headers)
      if (key == name)
        return value;
    return "none";
  }

  directory_view_ptr view = std::make_shared<directory_view>();
  shard_manager_script_ptr script = std::make_shared<shard_manager_script>();
  test::reader_script_ptr reader = std::make_shared<test::reader_script>();
  elsewhere_ptr elsewhere = std::make_shared<elsewhere_script>();
  ownership_view_ptr owners = std::make_shared<ownership_view>();
  branch_queries_actor shards;
  peers_actor peers;
  fallback_reader_actor fallback;
  aggregate_reader_actor reader_actor;
  query_actor query_actor_handle;
};

const std::string event_id = "01890a5d-ac96-774b-bcce-b302099a8057";

} // namespace

BOOST_FIXTURE_TEST_SUITE(query_suite, fixture)

BOOST_AUTO_TEST_CASE(every_query_requests_the_parts_of_its_branches) {
  for (const auto* name : {"summary", "revenue", "top-products",
                           "loyal-customers", "unique-customers", "heatmap"}) {
    script->asked.clear();
    auto reply = get(name, {{"branch_id", "nyc"}});
    BOOST_TEST(reply.status == 200);
    BOOST_REQUIRE(script->asked.size() == 1u);
    BOOST_TEST(script->asked[0].first == "nyc");
    json_document document;
    BOOST_TEST(document.parse(reply.body) == "");
    BOOST_TEST(header(reply, "Applied-After") == "none");
  }
  BOOST_TEST(get("product", {{"product_id", "a"}}).status == 200);
}

BOOST_AUTO_TEST_CASE(without_a_branch_all_are_requested) {
  get("heatmap");
  BOOST_TEST(script->asked.size() == 4u);
}

BOOST_AUTO_TEST_CASE(one_message_asks_for_all_branches_of_this_node) {
  get("heatmap");
  BOOST_TEST(script->requests == 1u);
  BOOST_REQUIRE(script->asked.size() == 4u);
  BOOST_TEST(script->asked[0].second == script->asked[3].second);
}

BOOST_AUTO_TEST_CASE(a_version_is_there_where_it_is_wanted) {
  auto wanted = test::query("summary");
  wanted.wants_version = true;
  auto request = [&](analytics_query what) {
    auto slot = post<query_reply>(
      query_actor_handle, atom::ask_v,
      std::make_shared<const analytics_query>(std::move(what)));
    settle();
    BOOST_REQUIRE((slot->value && *slot->value));
    return **slot->value;
  };
  BOOST_TEST(request(wanted).version.size() == 16u);
  BOOST_TEST(request(test::query("summary")).version.empty());
  script->errors["kol"] = errc::unavailable;
  auto refused = request(wanted);
  BOOST_TEST(refused.reply->status == 503);
  BOOST_TEST(refused.version.empty());
}

BOOST_AUTO_TEST_CASE(one_branch_that_cannot_answer_fails_the_whole) {
  script->errors["kol"] = errc::unavailable;
  auto reply = get("revenue");
  BOOST_TEST(reply.status == 503);
  BOOST_TEST(header(reply, "Retry-After") == "1");
  BOOST_TEST(reply.content_type == "application/problem+json");
  BOOST_TEST(get("revenue", {{"branch_id", "nyc"}}).status == 200);
}

BOOST_AUTO_TEST_CASE(a_branch_that_does_not_reply_times_out) {
  script->silent.insert("kol");
  auto handle = submit("revenue");
  settle();
  BOOST_TEST(self->mailbox().empty());
  advance_in_steps(6s, 500ms);
  BOOST_TEST(reply_of(handle).status == 503);
}

BOOST_AUTO_TEST_CASE(a_bad_parameter_is_a_400_that_names_it) {
  auto reply = get("summary", {{"date", "yesterday"}});
  BOOST_TEST(reply.status == 400);
  BOOST_TEST(reply.body.find("\"parameter\":\"date\"") != std::string::npos);
  BOOST_TEST(reply.body.find("/problems/bad-parameter") != std::string::npos);
  BOOST_TEST(get("nonsense").status == 404);
  BOOST_TEST(script->asked.empty());
}

BOOST_AUTO_TEST_CASE(customers_of_some_branches_are_counted_in_the_tables) {
  auto reply
    = get("unique-customers", {{"branch_id", "nyc"}, {"branch_id", "ber"}});
  BOOST_TEST(reply.status == 200);
  BOOST_REQUIRE(reader->slices.size() == 1u);
  BOOST_TEST((reader->slices[0].what == slice_request::kind::subset_customers));
  reader->error = errc::unavailable;
  reply = get("unique-customers", {{"branch_id", "nyc"}, {"branch_id", "ber"}});
  BOOST_TEST(reply.status == 503);
}

BOOST_AUTO_TEST_CASE(the_branch_that_has_the_event_ends_the_wait) {
  script->event_at = "kol";
  auto reply = get("heatmap", {{"after", event_id}});
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(header(reply, "Applied-After") == "true");
  reply = get("heatmap", {{"after", event_id}, {"branch_id", "nyc"}});
  BOOST_TEST(header(reply, "Applied-After") == "false");
}

BOOST_AUTO_TEST_CASE(parts_are_requested_when_the_event_is_in_and_not_before) {
  script->hold_after = true;
  auto handle = submit("heatmap", {{"after", event_id}});
  settle();
  BOOST_TEST(script->waiting.size() == 4u);
  BOOST_TEST(script->asked.empty());
  script->waiting["ber"].deliver(false);
  settle();
  BOOST_TEST(script->asked.empty());
  script->waiting["nyc"].deliver(true);
  settle();
  BOOST_TEST(script->asked.size() == 4u);
  auto reply = reply_of(handle);
  BOOST_TEST(header(reply, "Applied-After") == "true");
  // The others' words come too late to matter.
  script->waiting["kol"].deliver(false);
  script->waiting["ber-night"].deliver(false);
  settle();
  BOOST_TEST(script->asked.size() == 4u);
}

BOOST_AUTO_TEST_CASE(an_event_that_nobody_has_ends_the_wait_with_false) {
  script->hold_after = true;
  auto handle = submit("heatmap", {{"after", event_id}});
  settle();
  advance_in_steps(3s, 500ms);
  auto reply = reply_of(handle);
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(header(reply, "Applied-After") == "false");
}

BOOST_AUTO_TEST_CASE(the_number_of_queries_is_bounded) {
  script->silent.insert("nyc");
  for (int i = 0; i < 3; ++i)
    caf::anon_send(
      query_actor_handle, atom::ask_v,
      std::make_shared<const analytics_query>(test::query("heatmap")));
  settle();
  auto reply = get("heatmap");
  BOOST_TEST(reply.status == 503);
  BOOST_TEST(header(reply, "Retry-After") == "1");
  advance_in_steps(6s, 500ms);
  script->silent.clear();
  BOOST_TEST(get("heatmap").status == 200);
}

BOOST_AUTO_TEST_CASE(before_the_first_directory_nothing_can_be_answered) {
  view->set(nullptr);
  BOOST_TEST(get("heatmap").status == 503);
}

BOOST_AUTO_TEST_CASE(when_it_ends_queries_in_flight_are_answered) {
  script->silent.insert("nyc");
  auto handle = submit("heatmap");
  settle();
  caf::anon_send_exit(query_actor_handle, caf::exit_reason::kill);
  settle();
  BOOST_TEST(reply_of(handle).status == 503);
}

// -- on several nodes ---------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_node_gets_one_request_for_all_of_its_branches) {
  owners->set({{"nyc", "a"}, {"ber", "b"}, {"kol", "a"}, {"ber-night", "me"}});
  BOOST_TEST(get("summary").status == 200);
  BOOST_REQUIRE(elsewhere->peers_asked.size() == 2u);
  auto& [node, query] = elsewhere->peers_asked[0];
  BOOST_TEST(node == "a");
  BOOST_TEST(query->branches == (std::vector<std::string>{"kol", "nyc"}),
             boost::test_tools::per_element());
  BOOST_TEST(query->queries.size() == 2u);
  BOOST_TEST((query->timeout > 0ms));
  BOOST_TEST((query->timeout <= limits::peer_answer_max));
  BOOST_TEST(elsewhere->peers_asked[1].first == "b");
  BOOST_REQUIRE(script->asked.size() == 1u);
  BOOST_TEST(script->asked[0].first == "ber-night");
  BOOST_TEST(elsewhere->tables_asked.empty());
}

BOOST_AUTO_TEST_CASE(the_parts_of_all_nodes_are_in_the_answer) {
  owners->set({{"nyc", "a"}, {"ber", "me"}, {"kol", "a"}});
  elsewhere->tables_error = errc::none;
  // 200 from `a` for each of two, 0 from here, 300 from the tables.
  auto reply = get("summary");
  json_document document;
  BOOST_REQUIRE(document.parse(reply.body) == "");
  BOOST_TEST(reply.body.find("\"7.00\"") != std::string::npos, reply.body);
}

BOOST_AUTO_TEST_CASE(the_tables_answer_for_a_node_that_is_away) {
  owners->set({{"nyc", "a"}, {"ber", "me"}, {"kol", "a"}, {"ber-night", "me"}});
  elsewhere->dead.insert("a");
  elsewhere->tables_error = errc::none;
  BOOST_TEST(get("summary").status == 200);
  BOOST_TEST(elsewhere->tables_asked
               == (std::vector<std::string>{"kol", "nyc"}),
             boost::test_tools::per_element());
  // Without them there is no answer, never a part of one.
  elsewhere->tables_error = errc::unavailable;
  BOOST_TEST(get("summary").status == 503);
}

BOOST_AUTO_TEST_CASE(the_tables_answer_for_branches_that_nobody_owns) {
  owners->set({{"ber", "me"}, {"kol", "a"}, {"ber-night", "me"}});
  elsewhere->tables_error = errc::none;
  BOOST_TEST(get("summary").status == 200);
  BOOST_TEST(elsewhere->tables_asked == (std::vector<std::string>{"nyc"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_tables_answer_for_a_shard_here_that_restarts) {
  script->errors["kol"] = errc::unavailable;
  elsewhere->tables_error = errc::none;
  BOOST_TEST(get("summary").status == 200);
  BOOST_TEST(elsewhere->tables_asked == (std::vector<std::string>{"kol"}),
             boost::test_tools::per_element());
  // Who has too much to do is not helped by more work.
  script->errors["kol"] = errc::overloaded;
  BOOST_TEST(get("summary").status == 503);
  BOOST_TEST(elsewhere->tables_asked.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_branch_that_moved_away_from_a_peer_is_requested_here) {
  owners->set({{"nyc", "a"}, {"ber", "me"}, {"kol", "a"}, {"ber-night", "me"}});
  elsewhere->moved.insert("kol");
  BOOST_TEST(get("summary").status == 200);
  BOOST_TEST(script->asked.size() == 3u);
  BOOST_TEST(elsewhere->tables_asked.empty());
  script->errors["kol"] = errc::not_owner;
  elsewhere->tables_error = errc::none;
  BOOST_TEST(get("summary").status == 200);
  BOOST_TEST(elsewhere->tables_asked == (std::vector<std::string>{"kol"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_event_is_waited_for_wherever_its_branch_is) {
  owners->set({{"nyc", "a"}, {"ber", "me"}, {"kol", "a"}, {"ber-night", "me"}});
  elsewhere->at_peer = true;
  auto reply = get("heatmap", {{"after", event_id}});
  BOOST_TEST(header(reply, "Applied-After") == "true");
  BOOST_REQUIRE(!elsewhere->peers_asked.empty());
  const auto& wait = *elsewhere->peers_asked[0].second;
  BOOST_TEST((wait.what == peer_query::kind::after));
  BOOST_TEST(to_string(wait.event_id) == event_id);
  BOOST_TEST(wait.branches == (std::vector<std::string>{"kol", "nyc"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_wait_in_the_tables_is_answered_from_the_tables) {
  owners->set({{"nyc", "a"}, {"ber", "me"}, {"kol", "a"}, {"ber-night", "me"}});
  elsewhere->dead.insert("a");
  elsewhere->tables_error = errc::none;
  elsewhere->in_tables = true;
  auto reply = get("heatmap", {{"after", event_id}});
  BOOST_TEST(reply.status == 200);
  BOOST_TEST(header(reply, "Applied-After") == "true");
  BOOST_REQUIRE(elsewhere->tables_waits.size() == 1u);
  BOOST_TEST(*elsewhere->tables_waits[0]
               == (std::vector<std::string>{"kol", "nyc"}),
             boost::test_tools::per_element());
  // The node may be back: but it was the tables that had the event.
  BOOST_TEST(elsewhere->peers_asked.size() == 1u);
  BOOST_TEST(elsewhere->tables_asked.size() == 2u);
}

// Goal: an answer that does not fit the query costs that node its say, and
// nothing else. Method: a peer leaves parts out, or tells of days that nobody
// asked for; the tables answer in its place.
BOOST_AUTO_TEST_CASE(a_part_that_does_not_fit_the_query_is_not_used) {
  owners->set(
    {{"nyc", "a"}, {"ber", "me"}, {"kol", "me"}, {"ber-night", "me"}});
  auto far_day = *parse_day("1901-01-01");
  struct wrong_part {
    std::string name;
    header_list params;
    std::function<void(shard_answer&)> spoil;
  };
  std::vector<wrong_part> wrong{
    {"heatmap", {}, [](auto& x) { x.heat.reset(); }},
    {"top-products", {}, [](auto& x) { x.products.reset(); }},
    {"top-products", {}, [](auto& x) { x.previous_products.reset(); }},
    {"unique-customers",
     {},
     [=](auto& x) {
       x.days = {{far_day, {}}};
     }},
    {"revenue",
     {},
     [=](auto& x) {
       x.days = {{far_day, {}}};
     }},
    {"product",
     {{"product_id", "a"}},
     [=](auto& x) {
       x.product_days = {{far_day, {}}};
     }},
  };
  for (auto& [name, params, spoil] : wrong) {
    BOOST_TEST_CONTEXT(name) {
      elsewhere->spoil = spoil;
      elsewhere->tables_error = errc::none;
      elsewhere->tables_asked.clear();
      BOOST_TEST(get(name, params).status == 200);
      BOOST_TEST(elsewhere->tables_asked == (std::vector<std::string>{"nyc"}),
                 boost::test_tools::per_element());
      elsewhere->tables_error = errc::unavailable;
      BOOST_TEST(get(name, params).status == 503);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

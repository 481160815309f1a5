#include "actors/cluster/peers.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/actor_cast.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>

#include <algorithm>
#include <cassert>
#include <utility>

namespace tillstream {

namespace {

using self_pointer = peers_impl::stateful_pointer<peers_state>;
using answering_ptr = peers_state::answering_ptr;
using time_point = peers_state::time_point;

using namespace std::chrono_literals;

constexpr std::string_view log_connected = "peers.connected";
constexpr std::string_view log_not_connected = "peers.not_connected";
constexpr std::string_view log_refused = "peers.message_refused";
constexpr std::string_view log_late = "peers.answer_late";
constexpr std::string_view log_not_answered = "peers.answer_not_sent";

/// Above the shard's own limit, so that it is the shard who answers.
constexpr auto after_answer_max = limits::after_wait_max + 250ms;

struct peer_metrics {
  counter& asked = metrics().get_counter(
    "tillstream_peer_queries_total", "Queries that other nodes were asked.");
  counter& failed = metrics().get_counter(
    "tillstream_peer_queries_failed_total",
    "Queries that another node did not answer whole and in time.");
  counter& answered
    = metrics().get_counter("tillstream_peer_answers_total",
                            "Queries of other nodes that were answered.");
  counter& refused = metrics().get_counter(
    "tillstream_peer_messages_refused_total",
    "Messages of other nodes that were broken or of another version.");
  counter& notices_sent
    = metrics().get_counter("tillstream_peer_notices_sent_total",
                            "Commits that were announced to the other nodes.");
  counter& notices_lost = metrics().get_counter(
    "tillstream_peer_notices_not_sent_total",
    "Commits that were not announced, for want of a connection.");
  counter& notices_taken
    = metrics().get_counter("tillstream_peer_notices_received_total",
                            "Commits that other nodes announced.");
};

peer_metrics& stats() {
  static peer_metrics instance;
  return instance;
}

time_point now_of(self_pointer self) {
  return self->clock().now();
}

void refuse_message(std::string_view what, const std::string& wrong) {
  stats().refused.add();
  log::warning(log_refused, {{"what", what}, {"why", wrong}});
}

// -- asking -------------------------------------------------------------------

void fail(self_pointer self, uint64_t token, const caf::error& why) {
  auto& waiting = self->state.waiting;
  auto i = waiting.find(token);
  if (i == waiting.end())
    return;
  stats().failed.add();
  i->second.promise.deliver(why);
  waiting.erase(i);
}

caf::result<peer_answer_ptr>
ask(self_pointer self, const std::string& node, const peer_query& what) {
  auto& state = self->state;
  if (state.waiting.size() >= state.options.queries_max)
    return caf::make_error(errc::overloaded, "queries to other nodes");
  if (auto i = state.suspects.find(node);
      i != state.suspects.end() && now_of(self) < i->second)
    return caf::make_error(errc::timeout, node + " was late a moment ago");
  if (!state.link.is_open())
    return caf::make_error(errc::unavailable, "no connection to other nodes");
  auto token = ++state.last_token;
  auto sent = state.link->ask(node, token, to_json(what));
  if (!sent)
    return sent.error();
  stats().asked.add();
  auto promise = self->make_response_promise<peer_answer_ptr>();
  auto& x = state.waiting[token];
  x.node = node;
  x.promise = promise;
  x.deadline = now_of(self) + what.timeout;
  self->scheduled_send(self, x.deadline, atom::tick_v);
  return promise;
}

/// Takes a part of an answer; the last one answers who asked.
void take_answer(self_pointer self, const peer_message& msg) {
  auto& waiting = self->state.waiting;
  auto i = waiting.find(msg.token);
  // Too late, or more than there should be.
  if (i == waiting.end())
    return;
  auto& answer = i->second.answer;
  if (auto wrong = answer.take(msg.payload); !wrong.empty()) {
    refuse_message("answer", wrong);
    fail(self, msg.token, caf::make_error(errc::internal, wrong));
    return;
  }
  if (!answer.complete())
    return;
  if (answer.refused() != errc::none) {
    fail(self, msg.token, caf::make_error(answer.refused(), i->second.node));
    return;
  }
  i->second.promise.deliver(
    std::make_shared<const peer_answer>(answer.finish()));
  waiting.erase(i);
}

void expire(self_pointer self) {
  auto& state = self->state;
  auto now = now_of(self);
  std::vector<uint64_t> late;
  for (const auto& [token, x] : state.waiting)
    if (x.deadline <= now)
      late.push_back(token);
  for (auto token : late) {
    const auto& node = state.waiting.at(token).node;
    log::warning(log_late, {{"node", node}});
    state.suspects[node] = now + state.options.suspect_max;
    fail(self, token, caf::make_error(errc::timeout, node));
  }
  std::erase_if(state.suspects,
                [now](const auto& x) { return x.second <= now; });
}

// -- answering ----------------------------------------------------------------

void send_answer(self_pointer self, const std::string& reply_to,
                 const std::vector<std::string>& documents) {
  auto& link = self->state.link;
  if (!link.is_open())
    return;
  for (const auto& document : documents)
    if (auto sent = link->answer(reply_to, document); !sent) {
      log::warning(log_not_answered, {{"error", describe(sent.error())}});
      return;
    }
  stats().answered.add();
}

void refuse(self_pointer self, const std::string& reply_to, errc why) {
  send_answer(self, reply_to, {peer_refusal(why)});
}

void finish(self_pointer self, const answering_ptr& x) {
  if (std::exchange(x->done, true))
    return;
  --self->state.working;
  auto documents = to_json(x->answer);
  if (documents.size() > limits::peer_message_parts_max)
    refuse(self, x->reply_to, errc::overloaded);
  else
    send_answer(self, x->reply_to, documents);
}

/// What our shards get of the other node's timeout: a branch that is slow must
/// not make the others late.
std::chrono::milliseconds shards_timeout(const peer_query& x) {
  return std::max(x.timeout * 4 / 5, std::chrono::milliseconds{1});
}

void answer_parts(self_pointer self, const answering_ptr& x) {
  auto queries = std::make_shared<shard_queries>();
  queries->timeout = shards_timeout(x->query);
  for (size_t i = 0; i < x->query.branches.size(); ++i)
    queries->branches.push_back({x->query.branches[i], x->query.queries[i]});
  // SHARD MANAGER answers by the timeout; it is ours only should it end.
  self
    ->request(self->state.options.shards, x->query.timeout, atom::request_v,
              shard_queries_ptr{std::move(queries)})
    .then(
      [self, x](const shard_answers_ptr& answers) {
        for (size_t i = 0; i < answers->branches.size(); ++i) {
          const auto& part = answers->branches[i];
          x->answer.parts[x->query.branches[i]] = {part.error, part.answer};
        }
        finish(self, x);
      },
      [self, x](caf::error& err) {
        for (const auto& branch : x->query.branches)
          x->answer.parts[branch] = {code_of(err), nullptr};
        finish(self, x);
      });
}

void answer_after(self_pointer self, const answering_ptr& x) {
  auto take = [self, x](bool applied) {
    --x->missing;
    x->answer.applied = x->answer.applied || applied;
    if (applied || x->missing == 0)
      finish(self, x);
  };
  for (const auto& branch : x->query.branches)
    self
      ->request(self->state.options.shards, after_answer_max, atom::after_v,
                branch, x->query.event_id)
      .then([take](bool applied) { take(applied); },
            [take](caf::error&) { take(false); });
}

void take_query(self_pointer self, const peer_message& msg) {
  fault_point("peers.query");
  auto& state = self->state;
  auto x = std::make_shared<peers_state::answering>();
  if (auto wrong = read_peer_query(msg.payload, x->query); !wrong.empty()) {
    refuse_message("query", wrong);
    refuse(self, msg.reply_to, errc::invalid);
    return;
  }
  if (!state.options.shards) {
    refuse(self, msg.reply_to, errc::not_owner);
    return;
  }
  if (state.working >= state.options.queries_max) {
    refuse(self, msg.reply_to, errc::overloaded);
    return;
  }
  ++state.working;
  x->reply_to = msg.reply_to;
  x->missing = x->query.branches.size();
  if (x->missing == 0)
    finish(self, x);
  else if (x->query.what == peer_query::kind::ask)
    answer_parts(self, x);
  else
    answer_after(self, x);
}

// -- notices ------------------------------------------------------------------

void tell_all(self_pointer self, const std::vector<commit_notice>& notices) {
  auto& state = self->state;
  for (const auto& document : to_json(state.options.node, notices)) {
    if (state.link.is_open() && state.link->tell_all(document))
      stats().notices_sent.add();
    else
      stats().notices_lost.add();
  }
}

void take_notices(self_pointer self, const peer_message& msg) {
  auto& state = self->state;
  peer_notices x;
  if (auto wrong = read_peer_notices(msg.payload, x); !wrong.empty()) {
    refuse_message("notice", wrong);
    return;
  }
  if (x.node == state.options.node || !state.options.shards)
    return;
  stats().notices_taken.add();
  self->send(
    state.options.shards, atom::committed_v,
    std::make_shared<const std::vector<commit_notice>>(std::move(x.notices)));
}

// -- the link -----------------------------------------------------------------

void take(self_pointer self, const peer_message& msg) {
  auto& state = self->state;
  switch (msg.what) {
    case peer_message::kind::query:
      take_query(self, msg);
      break;
    case peer_message::kind::answer:
      take_answer(self, msg);
      break;
    case peer_message::kind::nobody:
      fail(self, msg.token, caf::make_error(errc::unavailable, "nobody there"));
      break;
    case peer_message::kind::notice:
      take_notices(self, msg);
      break;
    case peer_message::kind::gap:
      if (state.options.shards)
        self->send(state.options.shards, atom::poll_v);
      break;
  }
}

void check_link(self_pointer self) {
  auto& link = self->state.link;
  if (link.is_open())
    return;
  auto& away = self->state.away;
  if (link.open(now_of(self))) {
    away = false;
    log::info(log_connected, {{"node", self->state.options.node}});
  } else if (!std::exchange(away, true)) {
    log::warning(log_not_connected, {{"error", describe(link.error())}});
  }
}

void tick(self_pointer self) {
  auto& state = self->state;
  expire(self);
  // Other ticks come for a deadline; this one comes in turn.
  if (auto now = now_of(self); now >= state.next_tick) {
    state.next_tick = now + state.options.check_interval;
    check_link(self);
    self->scheduled_send(self, state.next_tick, atom::tick_v);
  }
}

readiness readiness_of(const peers_state& state) {
  if (!state.link.is_open())
    return {state.name, false, describe(state.link.error())};
  auto connected = state.link->connected();
  return {state.name, connected, connected ? "" : "not connected"};
}

/// Runs on a thread of the link.
storage::peer_link::message_handler make_callback(peers_impl whom) {
  return [whom](std::vector<peer_message> xs) {
    caf::anon_send(
      whom, atom::deliver_v,
      std::make_shared<const std::vector<peer_message>>(std::move(xs)));
  };
}

} // namespace

peers_state::~peers_state() {
  for (auto& [token, x] : waiting)
    x.promise.deliver(caf::make_error(errc::unavailable, "peers ended"));
}

peers_impl::behavior_type peers(self_pointer self, peers_options options) {
  assert(options.connect && !options.node.empty());
  install_handlers(self);
  auto& state = self->state;
  state.options = std::move(options);
  state.link = {[self] {
                  return self->state.options.connect(
                    make_callback(caf::actor_cast<peers_impl>(self)));
                },
                state.options.seed};
  state.next_tick = now_of(self);
  tick(self);
  return {
    [self](atom::ask, const std::string& node, const peer_query_ptr& what) {
      return ask(self, node, *what);
    },
    [self](atom::committed, const commit_notices_ptr& xs) {
      tell_all(self, *xs);
    },
    [self](atom::ready) { return readiness_of(self->state); },
    [self](atom::deliver, const peer_messages_ptr& xs) {
      for (const auto& x : *xs)
        take(self, x);
    },
    [self](atom::tick) { tick(self); },
  };
}

} // namespace tillstream

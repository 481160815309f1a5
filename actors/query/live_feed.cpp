#include "actors/query/live_feed.hpp"

#include "actors/runtime/system_config.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"
#include "messages/core/metrics.hpp"
#include "messages/model/purchase.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

namespace tillstream {

namespace {

using self_pointer = live_feed_actor::stateful_pointer<live_feed_state>;
using listener = live_feed_state::listener;

/// A little more than the query's own bound, so that it answers by itself.
constexpr auto answer_max = limits::query_answer_max + std::chrono::seconds{1};

gauge& listener_gauge() {
  static auto& instance = metrics().get_gauge(
    "tillstream_live_listeners", "Pages that are told what changes.");
  return instance;
}

// -- reading a summary --------------------------------------------------------

/// Fields that move while nothing is sold.
bool is_volatile(std::string_view name) {
  return name == "as_of" || name == "pending_events" || name == "lag_ms"
         || name == "until";
}

/// Appends what a value says, names and order included.
void collect(const json_value& x, std::string& out) {
  out += static_cast<char>('a' + static_cast<int>(x.type));
  out += x.text;
  out += x.boolean ? '1' : '0';
  for (const auto& element : x.elements)
    collect(element, out);
  for (const auto& [name, value] : x.members) {
    if (is_volatile(name))
      continue;
    out += name;
    out += '=';
    collect(value, out);
  }
  out += ';';
}

std::string digest_of(const json_value& root) {
  std::string text;
  collect(root, text);
  auto digest = sha256(text);
  std::string result;
  for (size_t i = 0; i < 8; ++i)
    result += fmt::format("{:02x}", digest[i]);
  return result;
}

void copy_number(json_writer& out, const json_value& root,
                 std::string_view name) {
  const auto* x = root.find(name);
  out.key(name);
  if (x != nullptr && x->is(json_value::kind::number))
    out.raw(x->text);
  else
    out.null();
}

// -- telling ------------------------------------------------------------------

std::string
event(std::string_view kind, std::string_view id, std::string_view data) {
  std::string result = fmt::format("event: {}\n", kind);
  if (!id.empty())
    result += fmt::format("id: {}\n", id);
  return result + fmt::format("data: {}\n\n", data);
}

void send(self_pointer self, listener& to, std::string bytes) {
  if (to.who->stream->send(std::move(bytes)))
    to.told = self->clock().now();
}

/// Tells one page what it does not know yet.
void tell(self_pointer self, listener& to) {
  auto& state = self->state;
  auto is_due = self->clock().now() - to.told >= state.options.heartbeat;
  if (!state.trouble.empty()) {
    if (is_due)
      send(self, to, event("trouble", {}, state.trouble));
    return;
  }
  if (to.who->known_id != state.id) {
    // What a slow page does not take now it gets with a later state.
    if (to.who->stream->send(event("summary", state.id, state.summary))) {
      to.who->known_id = state.id;
      to.told = self->clock().now();
    }
    return;
  }
  if (is_due || state.is_pending)
    send(self, to, event("progress", {}, state.progress));
}

/// Lets go of pages that are closed, and of those that may not listen any more.
void drop_gone(self_pointer self) {
  auto& state = self->state;
  auto now = state.options.view->now();
  auto directory = state.options.view->get();
  std::erase_if(state.listeners, [&](listener& x) {
    if (x.who->stream->closed())
      return true;
    if (directory == nullptr || directory->still_allows(x.who->who, now))
      return false;
    x.who->stream->send(event("over", {}, "{}"));
    return true;
  });
  listener_gauge().set(static_cast<int64_t>(state.listeners.size()));
}

void tell_all(self_pointer self) {
  for (auto& x : self->state.listeners)
    tell(self, x);
}

// -- asking -------------------------------------------------------------------

/// How long to wait for the next state: a large one costs each page more.
caf::timespan pace(const live_feed_state& state) {
  auto seconds = static_cast<int64_t>(state.summary.size()
                                      / limits::live_bytes_per_second);
  return std::max<caf::timespan>(state.options.interval,
                                 std::chrono::seconds{seconds});
}

void take_answer(self_pointer self, const http_reply_ptr& reply) {
  auto& state = self->state;
  auto read = reply != nullptr && reply->status == 200
                ? read_summary(reply->body)
                : std::nullopt;
  if (!read) {
    state.trouble = R"({"reason":"not-ready"})";
    return;
  }
  state.trouble.clear();
  state.id = std::move(read->id);
  state.progress = std::move(read->progress);
  state.is_pending = read->is_pending;
  state.summary = reply->body;
}

void schedule(self_pointer self) {
  auto& state = self->state;
  auto next = state.asked + pace(state);
  auto wait = next - self->clock().now();
  self->delayed_send(self, std::max<caf::timespan>(wait, caf::timespan{0}),
                     atom::tick_v);
}

analytics_query_ptr summary_query() {
  auto request = std::make_shared<http_request>();
  request->method = "GET";
  request->path = "/analytics/summary";
  auto result = std::make_shared<analytics_query>();
  result->trace_id = take_trace(*request).trace_id;
  result->request = std::move(request);
  result->name = "summary";
  return result;
}

void ask(self_pointer self) {
  auto& state = self->state;
  state.asked = self->clock().now();
  auto finish = [self] {
    drop_gone(self);
    tell_all(self);
    schedule(self);
  };
  self
    ->request(state.options.query, caf::duration{answer_max}, atom::ask_v,
              summary_query())
    .then(
      [self, finish](const http_reply_ptr& reply) {
        take_answer(self, reply);
        finish();
      },
      [self, finish](const caf::error&) {
        take_answer(self, nullptr);
        finish();
      });
}

void tick(self_pointer self) {
  auto& state = self->state;
  drop_gone(self);
  state.busy = !state.listeners.empty();
  if (state.busy)
    ask(self);
  else
    state.id.clear(); // It grows old now.
}

void open(self_pointer self, const live_listener_ptr& who) {
  auto& state = self->state;
  auto now = self->clock().now();
  // Its heartbeat is due at once: a page must not wait for a change to know
  // that it is connected.
  state.listeners.push_back({who, now - state.options.heartbeat});
  listener_gauge().set(static_cast<int64_t>(state.listeners.size()));
  if (state.busy) {
    if (!state.id.empty())
      tell(self, state.listeners.back());
    return;
  }
  state.busy = true;
  // Nobody listened for a while: what is known is old.
  if (now - state.asked < state.options.interval && !state.id.empty()) {
    tell(self, state.listeners.back());
    schedule(self);
  } else {
    ask(self);
  }
}

} // namespace

std::optional<live_summary> read_summary(std::string_view json) {
  json_document document;
  if (!document.parse(json).empty())
    return std::nullopt;
  const auto& root = document.root();
  const auto* as_of = root.find("as_of");
  if (as_of == nullptr || root.find("total") == nullptr)
    return std::nullopt;
  live_summary result;
  result.id = digest_of(root);
  json_writer out{result.progress};
  out.begin_object().field("as_of", as_of->text);
  copy_number(out, root, "pending_events");
  copy_number(out, root, "lag_ms");
  out.end_object();
  const auto* pending = root.find("pending_events");
  result.is_pending = pending != nullptr && pending->text != "0";
  return result;
}

live_feed_actor::behavior_type
live_feed(self_pointer self, live_feed_options options) {
  assert(options.view != nullptr && options.query);
  install_handlers(self);
  self->state.options = std::move(options);
  return {
    [self](atom::open, const live_listener_ptr& who) { open(self, who); },
    [self](atom::tick) { tick(self); },
  };
}

} // namespace tillstream

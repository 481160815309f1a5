#include "actors/query/live_feed.hpp"

#include "actors/runtime/system_config.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"
#include "messages/core/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

namespace tillstream {

namespace {

using self_pointer = live_feed_impl::stateful_pointer<live_feed_state>;
using listener = live_feed_state::listener;

/// A little more than the query's own bound, so that it answers by itself.
constexpr auto answer_max = limits::query_answer_max + std::chrono::seconds{1};

gauge& listener_gauge() {
  static auto& instance = metrics().get_gauge(
    "tillstream_live_listeners", "Pages that are told what changes.");
  return instance;
}

// -- events -------------------------------------------------------------------

std::string
event(std::string_view kind, std::string_view id, std::string_view data) {
  std::string result = fmt::format("event: {}\n", kind);
  if (!id.empty())
    result += fmt::format("id: {}\n", id);
  return result + fmt::format("data: {}\n\n", data);
}

std::string progress_event(const query_progress& x) {
  std::string data;
  json_writer out{data};
  out.begin_object()
    .field("as_of", to_rfc3339(x.as_of))
    .field("pending_events", x.pending_events)
    .key("lag_ms");
  if (x.lag_ms)
    out.integer(*x.lag_ms);
  else
    out.null();
  out.end_object();
  return event("progress", {}, data);
}

/// @returns false when a slow page did not take it.
bool send(self_pointer self, listener& to, std::string bytes) {
  if (!to.who->stream->send(std::move(bytes)))
    return false;
  to.sent_at = self->clock().now();
  return true;
}

/// Sends one page what it does not know yet.
void announce(self_pointer self, listener& to) {
  auto& state = self->state;
  if (to.is_over)
    return;
  const auto& latest = state.latest;
  auto is_due = self->clock().now() - to.sent_at >= state.options.heartbeat;
  if (state.failing) {
    if (is_due)
      send(self, to, event("trouble", {}, R"({"reason":"not-ready"})"));
  } else if (to.who->known_id != latest.version) {
    // What a slow page does not take now it gets with a later state.
    if (send(self, to, event("summary", latest.version, latest.reply->body)))
      to.who->known_id = latest.version;
  } else if (is_due || latest.progress.pending_events > 0) {
    send(self, to, progress_event(latest.progress));
  }
}

/// Drops pages that are closed, and those that may not listen any more once
/// they took the news: the end of a stream alone would have them come again.
void drop_gone(self_pointer self) {
  auto& state = self->state;
  auto now = state.options.view->now();
  auto directory = state.options.view->get();
  std::erase_if(state.listeners, [&](listener& x) {
    if (x.who->stream->closed())
      return true;
    if (directory && !directory->still_allows(x.who->who, now))
      x.is_over = true;
    return x.is_over && send(self, x, event("over", {}, "{}"));
  });
  listener_gauge().set(static_cast<int64_t>(state.listeners.size()));
}

void announce_all(self_pointer self) {
  drop_gone(self);
  for (auto& x : self->state.listeners)
    announce(self, x);
}

// -- queries ------------------------------------------------------------------

/// How long to wait for the next state: a large one costs each page more.
caf::timespan pace(const live_feed_state& state) {
  auto bytes = state.latest.reply ? state.latest.reply->body.size() : 0;
  auto seconds = static_cast<int64_t>(bytes / limits::live_bytes_per_second);
  return std::max<caf::timespan>(state.options.interval,
                                 std::chrono::seconds{seconds});
}

void schedule(self_pointer self) {
  auto& state = self->state;
  auto wait = state.requested_at + pace(state) - self->clock().now();
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
  result->wants_version = true;
  return result;
}

void request_summary(self_pointer self) {
  auto& state = self->state;
  state.requested_at = self->clock().now();
  self
    ->request(state.options.query, caf::duration{answer_max}, atom::ask_v,
              summary_query())
    .then(
      [self](const query_reply& x) {
        self->state.failing = x.version.empty();
        if (!x.version.empty())
          self->state.latest = x;
        announce_all(self);
        schedule(self);
      },
      [self](const caf::error&) {
        self->state.failing = true;
        announce_all(self);
        schedule(self);
      });
}

void tick(self_pointer self) {
  auto& state = self->state;
  drop_gone(self);
  state.busy = !state.listeners.empty();
  if (state.busy)
    request_summary(self);
  else
    state.latest = {}; // It grows old now.
}

void open(self_pointer self, const live_listener_ptr& who) {
  auto& state = self->state;
  auto now = self->clock().now();
  // Its heartbeat is due at once: a page must not wait for a change to know
  // that it is connected.
  state.listeners.push_back({who, now - state.options.heartbeat});
  listener_gauge().set(static_cast<int64_t>(state.listeners.size()));
  if (!state.busy) {
    state.busy = true;
    request_summary(self);
  } else if (!state.latest.version.empty()) {
    announce(self, state.listeners.back());
  }
}

} // namespace

live_feed_impl::behavior_type
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

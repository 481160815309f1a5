#include "actors/directory/refresher.hpp"

#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/result.hpp>

#include <algorithm>
#include <cassert>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = directory_impl::stateful_pointer<directory_refresher_state>;
using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr auto offset_metric = "tillstream_database_clock_offset_ms";
constexpr auto reloads_metric = "tillstream_directory_reloads_total";
constexpr auto ready_metric = "tillstream_directory_ready";

/// Asks the database for its time. The answer belongs to the middle of the
/// round trip, so a short one is worth more than a long one (Cristian, 1989).
caf::error measure_offset(directory_refresher_state& state) {
  auto sent = std::chrono::steady_clock::now();
  auto before = wall_clock_now();
  auto theirs = state.store->now();
  if (!theirs)
    return theirs.error();
  auto round_trip
    = duration_cast<microseconds>(std::chrono::steady_clock::now() - sent);
  // What was measured long ago loses its worth: clocks drift, and are set.
  state.best_round_trip += state.best_round_trip / 4 + microseconds{50};
  if (round_trip > state.best_round_trip)
    return caf::none;
  state.best_round_trip = round_trip;
  auto offset
    = *theirs - (before + duration_cast<milliseconds>(round_trip / 2));
  state.options.view->set_offset(offset);
  metrics()
    .get_gauge(offset_metric, "Database clock minus ours, in milliseconds.")
    .set(offset.count());
  return caf::none;
}

void publish(directory_refresher_state& state,
             const storage::directory_snapshot& snapshot) {
  auto last = state.options.view->get();
  auto next = std::make_shared<const directory>(snapshot);
  state.options.view->set(next);
  metrics()
    .get_counter(reloads_metric, "Readings of chain, keys and catalogue.")
    .add();
  log::info("directory.read", {{"version", snapshot.version},
                               {"branches", snapshot.chain.branches.size()},
                               {"keys", snapshot.keys.size()},
                               {"products", snapshot.catalog.size()}});
  auto moved
    = last == nullptr || last->chain()->branches != next->chain()->branches;
  if (moved && state.options.on_change)
    state.options.on_change(*next);
}

caf::error reload_if_changed(directory_refresher_state& state) {
  auto version = state.store->version();
  if (!version)
    return version.error();
  auto known = state.options.view->get();
  if (known != nullptr && known->version() == *version)
    return caf::none;
  auto snapshot = state.store->load();
  if (!snapshot)
    return snapshot.error();
  publish(state, *snapshot);
  return caf::none;
}

/// Measures and reads on an open connection, which is dropped when it fails.
caf::error refresh(self_pointer self) {
  auto& state = self->state;
  if (!state.store.open(self->clock().now()))
    return state.store.error();
  auto err = measure_offset(state);
  if (!err)
    err = reload_if_changed(state);
  if (err)
    state.store.drop(self->clock().now(), err);
  return err;
}

/// Keeps the outcome of a reading; one log line when it changes.
void record_outcome(directory_refresher_state& state, const caf::error& err) {
  auto trouble = err ? describe(err) : std::string{};
  if (err && state.trouble != trouble)
    log::warning("directory.stale", {{"reason", trouble}});
  state.trouble = std::move(trouble);
  metrics()
    .get_gauge(ready_metric, "1 when the last reading of the directory worked.")
    .set(err ? 0 : 1);
}

/// When to read again: after the interval, or as soon as the database may be
/// tried again.
caf::timespan next_wait(self_pointer self) {
  auto& state = self->state;
  if (state.store.is_open())
    return state.options.interval;
  auto wait = state.store.retry_at() - self->clock().now();
  return std::max(caf::timespan{wait}, caf::timespan{0});
}

/// One attempt; a connection that breaks is replaced after a backoff.
template <class T, class F>
caf::result<T> with_store(self_pointer self, F f) {
  auto& store = self->state.store;
  if (!store.open(self->clock().now()))
    return store.error();
  auto result = f(*store);
  if (result)
    return std::move(*result);
  if (result.error() != errc::not_found)
    store.drop(self->clock().now(), result.error());
  return std::move(result.error());
}

caf::result<bool> end_session(self_pointer self, const session_end& x) {
  return with_store<bool>(self, [&](auto& store) -> caf::expected<bool> {
    auto ended = store.end_page_session(x.session_id, x.expires_at);
    if (!ended)
      return ended.error();
    if (auto err = reload_if_changed(self->state))
      return err;
    return true;
  });
}

} // namespace

directory_impl::behavior_type
directory_refresher(self_pointer self, directory_refresher_options options) {
  assert(options.open_store != nullptr);
  assert(options.view != nullptr);
  auto& state = self->state;
  state.store = {options.open_store, options.seed};
  state.options = std::move(options);
  self->send(self, atom::tick_v);
  return {
    [self](atom::ready) -> readiness {
      const auto& trouble = self->state.trouble;
      return {"directory", trouble.empty(), trouble};
    },
    [self](atom::open, const sign_in_link& link) {
      return with_store<uuid>(self, [&](auto& store) {
        return store.take_sign_in_link(link.digest);
      });
    },
    [self](atom::close, const session_end& x) { return end_session(self, x); },
    [self](atom::tick) {
      record_outcome(self->state, refresh(self));
      self->delayed_send(self, next_wait(self), atom::tick_v);
    },
  };
}

} // namespace tillstream

#include "actors/directory/refresher.hpp"

#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/result.hpp>

#include <cassert>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = directory_actor::stateful_pointer<directory_refresher_state>;
using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr auto offset_metric = "tillstream_database_clock_offset_ms";
constexpr auto reloads_metric = "tillstream_directory_reloads_total";
constexpr auto ready_metric = "tillstream_directory_ready";

caf::error open_store(directory_refresher_state& state) {
  if (state.store != nullptr)
    return caf::none;
  auto opened = state.options.open_store();
  if (!opened)
    return opened.error();
  state.store = std::move(*opened);
  assert(state.store != nullptr);
  return caf::none;
}

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

caf::error refresh(directory_refresher_state& state) {
  if (auto err = open_store(state))
    return err;
  if (auto err = measure_offset(state))
    return err;
  return reload_if_changed(state);
}

/// Notices how the reading went; one log line when that changes.
void notice_outcome(directory_refresher_state& state, const caf::error& err) {
  auto trouble = err ? describe(err) : std::string{};
  if (err) {
    state.store.reset();
    if (state.trouble != trouble)
      log::warning("directory.stale", {{"reason", trouble}});
  }
  state.trouble = std::move(trouble);
  metrics()
    .get_gauge(ready_metric, "1 when the last reading of the directory worked.")
    .set(err ? 0 : 1);
}

/// One attempt; a session that breaks is replaced at the next tick.
template <class T, class F>
caf::result<T> with_store(directory_refresher_state& state, F f) {
  if (auto err = open_store(state))
    return err;
  auto result = f(*state.store);
  if (result)
    return std::move(*result);
  if (result.error() != errc::not_found)
    state.store.reset();
  return std::move(result.error());
}

caf::result<bool>
end_session(directory_refresher_state& state, const session_end& x) {
  return with_store<bool>(state, [&](auto& store) -> caf::expected<bool> {
    auto ended = store.end_page_session(x.session_id, x.expires_at);
    if (!ended)
      return ended.error();
    if (auto err = reload_if_changed(state))
      return err;
    return true;
  });
}

} // namespace

directory_actor::behavior_type
directory_refresher(self_pointer self, directory_refresher_options options) {
  assert(options.open_store != nullptr);
  assert(options.view != nullptr);
  self->state.options = std::move(options);
  self->send(self, atom::tick_v);
  return {
    [self](atom::ready) -> readiness {
      const auto& trouble = self->state.trouble;
      return {"directory", trouble.empty(), trouble};
    },
    [self](atom::open, const sign_in_link& link) {
      return with_store<uuid>(self->state, [&](auto& store) {
        return store.take_sign_in_link(link.digest);
      });
    },
    [self](atom::close, const session_end& x) {
      return end_session(self->state, x);
    },
    [self](atom::tick) {
      notice_outcome(self->state, refresh(self->state));
      self->delayed_send(self, self->state.options.interval, atom::tick_v);
    },
  };
}

} // namespace tillstream

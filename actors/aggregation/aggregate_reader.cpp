#include "actors/aggregation/aggregate_reader.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/core/metrics.hpp"

#include <caf/stateful_actor.hpp>

#include <cassert>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = aggregate_reader_actor::stateful_pointer<aggregate_reader_state>;

constexpr std::string_view log_lost = "aggregate_reader.session_lost";
constexpr std::string_view log_replica_lost = "aggregate_reader.replica_session_lost";

histogram& latency() {
  static auto& instance = metrics().get_histogram(
    "tillstream_analytics_read_seconds", "Reads of the analytics tables.", 1e6);
  return instance;
}

/// Runs `f` on an open store; a session that failed is thrown away.
template <class F>
auto with_store(self_pointer self, F f) -> decltype(f(*self->state.store)) {
  fault_point("aggregate-reader.read");
  auto& store = self->state.store;
  if (!store.open(self->clock().now()))
    return caf::make_error(errc::unavailable, describe(store.error()));
  auto begin = std::chrono::steady_clock::now();
  auto result = f(*store);
  auto took = std::chrono::steady_clock::now() - begin;
  latency().observe(static_cast<uint64_t>(
    std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  if (!result
      && (result.error() == errc::unavailable
          || result.error() == errc::in_doubt)) {
    log::warning(log_lost, {{"error", describe(result.error())}});
    store.drop(self->clock().now(), result.error());
  }
  return result;
}

struct replica_metrics {
  counter& hits = metrics().get_counter("tillstream_replica_reads_total",
                                        "Pieces that a read replica gave.");
  counter& behind = metrics().get_counter(
    "tillstream_replica_behind_total",
    "Pieces that the primary gave because the replica stood elsewhere.");
};

replica_metrics& replica_stats() {
  static replica_metrics instance;
  return instance;
}

/// Reads a piece from the replica. @returns nothing when it can't be had there.
std::optional<slice>
read_replica(self_pointer self, const slice_request& what) {
  auto& replica = self->state.replica;
  auto now = self->clock().now();
  if (!self->state.options.open_replica || what.apply_no < 0
      || !replica.open(now))
    return std::nullopt;
  auto piece = replica->load_slice(what);
  if (!piece) {
    log::warning(log_replica_lost, {{"error", describe(piece.error())}});
    replica.drop(now, piece.error());
    return std::nullopt;
  }
  if (piece->apply_no != what.apply_no) {
    replica_stats().behind.add();
    return std::nullopt;
  }
  replica_stats().hits.add();
  return std::move(*piece);
}

caf::expected<slice> read_piece(self_pointer self, const slice_request& what) {
  if (auto piece = read_replica(self, what))
    return std::move(*piece);
  return with_store(self, [&](storage::aggregate_store& store) {
    return store.load_slice(what);
  });
}

/// Moves what a store gave into a message.
template <class T>
caf::result<std::shared_ptr<const T>> share(caf::expected<T> x) {
  if (!x)
    return std::move(x.error());
  return std::make_shared<const T>(std::move(*x));
}

using storage::aggregate_store;

readiness tell(self_pointer self) {
  auto& store = self->state.store;
  auto is_open = store.open(self->clock().now());
  return {self->state.name, is_open, is_open ? "" : describe(store.error())};
}

} // namespace

aggregate_reader_actor::behavior_type
aggregate_reader(self_pointer self, aggregate_reader_options options) {
  assert(options.open_store);
  install_handlers(self);
  self->state.options = std::move(options);
  self->state.store
    = {self->state.options.open_store, self->state.options.seed};
  self->state.replica
    = {self->state.options.open_replica, self->state.options.seed + 1};
  return {
    [self](atom::load, const std::string& branch_id) {
      return share(with_store(
        self, [&](aggregate_store& store) { return store.load(branch_id); }));
    },
    [self](atom::load, const slice_request& what) {
      return share(read_piece(self, what));
    },
    [self](atom::ready) { return tell(self); },
  };
}

} // namespace tillstream

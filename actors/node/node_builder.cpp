#include "actors/node/node_builder.hpp"

#include "actors/aggregation/aggregate_reader.hpp"
#include "actors/aggregation/aggregate_writer.hpp"
#include "actors/aggregation/shard_manager.hpp"
#include "actors/aggregation/stream_consumer.hpp"
#include "actors/cluster/ownership.hpp"
#include "actors/cluster/ownership_view.hpp"
#include "actors/cluster/peers.hpp"
#include "actors/directory/refresher.hpp"
#include "actors/gateway/gateway.hpp"
#include "actors/intake/admission.hpp"
#include "actors/intake/backlog_reader.hpp"
#include "actors/intake/purchase_lookup.hpp"
#include "actors/intake/transaction_writer.hpp"
#include "actors/outbox/commit_feed.hpp"
#include "actors/outbox/relay.hpp"
#include "actors/query/fallback_reader.hpp"
#include "actors/query/live_feed.hpp"
#include "actors/query/query.hpp"
#include "actors/runtime/pacing.hpp"
#include "actors/runtime/spawn.hpp"
#include "actors/runtime/supervisor.hpp"
#include "actors/upkeep/janitor.hpp"
#include "actors/upkeep/lake_archiver.hpp"
#include "actors/upkeep/retention.hpp"
#include "storage/ports/peer_link.hpp"
#include "storage/postgres/partitions.hpp"
#include "storage/postgres/stores.hpp"

#include <caf/send.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

namespace tillstream {

namespace {

using namespace std::chrono_literals;

/// Purchases in flight from which on the branches are dealt out to all
/// writers. Two that have little to do write twice as many transactions, each
/// half as large: dearer for everybody (benchmarks/LOG.md).
constexpr size_t spread_min = 96;

/// When an actor ends: who asks before who answers.
enum class stage : size_t { edge, queries, work, storage };
constexpr size_t stages = 4;

strings_ptr branch_ids(const tillstream::chain& chain) {
  std::vector<std::string> result;
  for (const auto& where : chain.branches)
    result.push_back(where.id);
  return std::make_shared<const std::vector<std::string>>(std::move(result));
}

supervisor_options supervised(const char* name, size_t children) {
  supervisor_options result;
  result.name = name;
  result.children = children;
  return result;
}

/// Sends commit notices to an actor.
template <class Handle>
commit_feed::subscriber notify(Handle whom) {
  return [whom](const commit_notices_ptr& x) {
    caf::anon_send(whom, atom::committed_v, x);
  };
}

stream_consumer_actor
start_consumer(caf::actor_system& sys, const storage::nats_settings& broker,
               snapshot_holder_ptr<broker_state> state,
               shard_manager_actor owner) {
  stream_consumer_options options;
  options.shards = std::move(owner);
  options.broker = std::move(state);
  options.connect
    = [broker](storage::event_source::delivery_handler on_delivery)
    -> caf::expected<storage::event_source_ptr> {
    if (auto stream = storage::ensure_stream(broker); !stream)
      return stream.error();
    return storage::connect_source(broker, std::move(on_delivery));
  };
  return spawn_supervisor<stream_consumer_actor>(
    sys, supervised("stream-consumer", 1),
    [options](caf::local_actor* parent) -> stream_consumer_actor {
      return spawn_actor<caf::detached>(*parent, stream_consumer, options);
    });
}

/// Spawns everybody, receivers before senders.
class node_builder {
public:
  node_builder(caf::actor_system& sys, const node_resources& from)
    : sys_(sys),
      from_(from),
      how_(from.how) {
    all_.stages.resize(stages);
  }

  node_actors build() {
    spawn_relay();
    spawn_purchase_readers();
    if (how_.roles.shards || how_.roles.query)
      spawn_aggregate_reader();
    if (how_.roles.shards)
      spawn_shards();
    spawn_ownership();
    spawn_peers();
    if (how_.roles.query)
      spawn_query();
    if (how_.roles.intake)
      spawn_intake();
    spawn_directory();
    spawn_janitor();
    if (from_.lake)
      spawn_archiver();
    spawn_gateway();
    return std::move(all_);
  }

private:
  template <class Handle>
  void ends_in(stage when, const char* name, const Handle& handle) {
    all_.stages[static_cast<size_t>(when)].emplace_back(name, handle);
  }

  /// Spawns on threads of their own: what blocks.
  template <class Handle, class Function, class Options>
  Handle detached(stage when, const char* name, Function function,
                  Options options, size_t children = 1) {
    auto result = spawn_supervisor<Handle>(
      sys_, supervised(name, children),
      [function, options](caf::local_actor* parent) -> Handle {
        return spawn_actor<caf::detached>(*parent, function, options);
      });
    ends_in(when, name, result);
    return result;
  }

  /// Spawns on the scheduler: what never blocks.
  template <class Handle, class Function, class Options>
  Handle cooperative(stage when, const char* name, Function function,
                     Options options) {
    auto result = spawn_supervisor<Handle>(
      sys_, supervised(name, 1),
      [function, options](caf::local_actor* parent) -> Handle {
        return spawn_actor(*parent, function, options);
      });
    ends_in(when, name, result);
    return result;
  }

  void spawn_relay() {
    outbox_relay_options options;
    options.open_store
      = [dsn = how_.oltp_dsn] { return storage::open_outbox_store(dsn); };
    options.connect
      = [broker = from_.broker](storage::event_publisher::ack_handler on_ack)
      -> caf::expected<storage::event_publisher_ptr> {
      // A broker that lost its disk has no stream any more.
      if (auto stream = storage::ensure_stream(broker); !stream)
        return stream.error();
      return storage::connect_publisher(broker, std::move(on_ack));
    };
    options.feed = feed_;
    all_.relay = detached<outbox_relay_actor>(stage::storage, "outbox-relay",
                                              outbox_relay, options);
    feed_->subscribe_local(notify(all_.relay));
  }

  void spawn_purchase_readers() {
    purchase_lookup_options looking_up;
    looking_up.open_store = [dsn = how_.oltp_dsn] {
      return storage::open_purchase_lookup_store(dsn);
    };
    readers_.purchases = detached<purchase_lookup_actor>(
      stage::storage, "purchase-lookup", purchase_lookup, looking_up,
      how_.readers);
    if (!how_.roles.shards && !how_.roles.query)
      return;
    // The backlog has a reader of its own: after a start it is long, and no
    // till waits behind it. Only one, as a session that reads a page of the
    // server's memory for the first time takes longer to get at it than to
    // read it.
    backlog_reader_options options;
    options.open_store
      = [dsn = how_.oltp_dsn] { return storage::open_backlog_store(dsn); };
    readers_.backlog = detached<backlog_reader_actor>(
      stage::storage, "backlog-reader", backlog_reader, options);
  }

  void spawn_aggregate_reader() {
    aggregate_reader_options options;
    options.open_store = [dsn = how_.analytics_dsn] {
      return storage::open_aggregate_store(dsn);
    };
    if (!how_.analytics_replica_dsn.empty())
      options.open_replica = [dsn = how_.analytics_replica_dsn] {
        return storage::open_aggregate_store(dsn);
      };
    readers_.aggregates = detached<aggregate_reader_actor>(
      stage::storage, "aggregate-reader", aggregate_reader, options,
      how_.readers);
  }

  void spawn_shards() {
    aggregate_writer_options writing;
    writing.open_store = [dsn = how_.analytics_dsn] {
      return storage::open_aggregate_store(dsn);
    };
    writing.batch_window = pacing::apply_batch_window;
    for (size_t i = 0; i < how_.aggregate_writers; ++i)
      aggregate_writers_.push_back(detached<aggregate_writer_actor>(
        stage::storage, "aggregate-writer", aggregate_writer, writing));
    shard_manager_options options;
    options.lease = published_.own_lease;
    options.load = published_.load;
    options.view = from_.directory;
    options.writers = std::make_shared<writer_pool>(aggregate_writers_);
    options.reader = readers_.aggregates;
    options.purchases = readers_.backlog;
    options.relay = all_.relay;
    options.start_consumer
      = [sys = &sys_, broker = from_.broker,
         state = published_.broker](shard_manager_actor owner) {
          return start_consumer(*sys, broker, state, std::move(owner));
        };
    shards_ = spawn_actor(sys_, shard_manager, std::move(options));
    ends_in(stage::work, "shards", shards_);
    feed_->subscribe_all(notify(shards_));
  }

  /// No supervisor: a new one would not know which branches are being handed
  /// over, and what SHARD MANAGER knows of them.
  void spawn_ownership() {
    ownership_options options;
    options.who.name = from_.name;
    options.who.process = uuid_source{}.v4();
    options.who.roles = to_string(how_.roles);
    options.who.version = TILLSTREAM_VERSION;
    options.lease_duration = std::chrono::milliseconds{how_.node_lease_ms};
    options.open_store = [dsn = how_.analytics_dsn] {
      return storage::open_ownership_store(dsn);
    };
    options.shards = shards_;
    if (shards_)
      options.broker = published_.broker;
    options.load = published_.load;
    options.own_lease = published_.own_lease;
    options.view = published_.owners;
    options.leave_max = shutdown_share(how_);
    all_.ownership
      = spawn_actor<caf::detached>(sys_, ownership_manager, std::move(options));
    ends_in(stage::work, "ownership", all_.ownership);
    caf::anon_send(all_.ownership, atom::update_v,
                   branch_ids(*from_.directory->get()->chain()));
  }

  void spawn_peers() {
    peers_options options;
    options.node = from_.name;
    options.shards = shards_;
    options.connect = [broker = from_.broker, node = from_.name](
                        storage::peer_link::message_handler on_message) {
      return storage::connect_peers(broker, node, std::move(on_message));
    };
    peers_
      = detached<peers_actor>(stage::work, "peers", tillstream::peers, options);
    feed_->subscribe_local(notify(peers_));
  }

  void spawn_query() {
    fallback_reader_options reading;
    reading.reader = readers_.aggregates;
    reading.purchases = readers_.backlog;
    reading.view = from_.directory;
    auto tables = cooperative<fallback_reader_actor>(
      stage::work, "fallback-reader", fallback_reader, reading);
    query_options options;
    options.node = from_.name;
    options.peers = peers_;
    options.fallback = tables;
    options.owners = published_.owners;
    options.view = from_.directory;
    options.shards = shards_;
    options.reader = readers_.aggregates;
    query_ = cooperative<query_actor>(stage::queries, "query",
                                      tillstream::query, options);
    live_feed_options feeding;
    feeding.query = query_;
    feeding.view = from_.directory;
    live_ = cooperative<live_feed_actor>(stage::edge, "live-feed", live_feed,
                                         feeding);
  }

  void spawn_intake() {
    transaction_writer_options writing;
    writing.batch_max = how_.write_batch_max;
    writing.open_store = [dsn = how_.oltp_dsn, view = from_.directory] {
      return storage::open_purchase_store(dsn, [view] {
        auto now = view->get();
        return storage::reference_data{now->chain(), now->products()};
      });
    };
    writing.on_committed = [feed = feed_](const commit_notices_ptr& notices) {
      feed->publish_local(notices);
    };
    admission_options options;
    for (size_t i = 0; i < how_.writers; ++i)
      options.writers.push_back(spawn_writer(writing));
    options.in_flight_max = how_.purchases_in_flight_max;
    options.spread_min = spread_min;
    all_.admission = std::make_shared<admission>(std::move(options));
  }

  /// A writer under a supervisor, and the slot in which its clients find it.
  writer_slot_ptr spawn_writer(transaction_writer_options options) {
    auto slot = std::make_shared<writer_slot>();
    slot->pacer = std::make_shared<commit_pacer>(pacing::commit_window_max);
    options.pacer = slot->pacer;
    auto result = spawn_supervisor<transaction_writer_actor>(
      sys_, supervised("transaction-writer", 1),
      publish_child<transaction_writer_actor>(
        {slot, &slot->current},
        [options](caf::local_actor* parent) -> transaction_writer_actor {
          return spawn_actor<caf::detached>(*parent, transaction_writer,
                                            options);
        }));
    ends_in(stage::work, "transaction-writer", result);
    writers_.push_back(result);
    return slot;
  }

  void spawn_directory() {
    directory_refresher_options options;
    options.view = from_.directory;
    options.open_store
      = [dsn = how_.oltp_dsn] { return storage::open_directory_store(dsn); };
    options.on_change = [ownership = all_.ownership](const directory& now) {
      caf::anon_send(ownership, atom::update_v, branch_ids(*now.chain()));
    };
    directory_ = detached<directory_actor>(stage::edge, "directory",
                                           directory_refresher, options);
  }

  void spawn_janitor() {
    retention_options rules;
    rules.open_aggregates = [dsn = how_.analytics_dsn] {
      return storage::open_aggregate_store(dsn);
    };
    rules.maintain_partitions
      = [oltp = how_.oltp_dsn, analytics = how_.analytics_dsn,
         days = how_.retention_days](const std::string& schema) {
          return storage::maintain_partitions(
            schema == "oltp" ? oltp : analytics, schema, days);
        };
    janitor_options options;
    options.maintain = [rules](const std::string& schema) {
      return apply_retention(rules, schema);
    };
    detached<janitor_actor>(stage::edge, "janitor", janitor, options);
  }

  void spawn_archiver() {
    lake_archiver_options options;
    options.open_plan = [dsn = how_.analytics_dsn] {
      return storage::open_lake_plan_store(dsn);
    };
    options.open_outbox
      = [dsn = how_.oltp_dsn] { return storage::open_outbox_store(dsn); };
    options.age_max = std::chrono::seconds{how_.lake_age_s};
    // A longer interval would make every event wait longer.
    options.interval
      = std::min<caf::timespan>(options.interval, options.age_max);
    options.write
      = [lake = from_.lake](const std::string& branch_id, calendar_day day,
                            int64_t from_no, int64_t to_no,
                            const std::vector<std::string>& events) {
          return lake->write(branch_id, day, from_no, to_no, events);
        };
    detached<lake_archiver_actor>(stage::edge, "lake-archiver", lake_archiver,
                                  options);
  }

  void spawn_gateway() {
    gateway_options options;
    options.directory = from_.directory;
    options.intake = all_.admission;
    options.reader = readers_.purchases;
    options.query = query_;
    options.live = live_;
    options.refresher = directory_;
    options.loopback_only = from_.server->loopback_only();
    options.rate_limit = how_.rate_limit;
    options.page = from_.page;
    options.parts
      = {part_of("directory", directory_), part_of("outbox-relay", all_.relay),
         part_of("ownership", all_.ownership)};
    if (all_.admission)
      options.parts.push_back(part_of_all("transaction-writer", writers_));
    if (shards_)
      options.parts.push_back(part_of("shards", shards_));
    for (size_t i = 0; i < aggregate_writers_.size(); ++i)
      options.parts.push_back(
        part_of("aggregate-writer" + (i > 0 ? fmt::format("-{}", i + 1) : ""),
                aggregate_writers_[i]));
    all_.gateway_now = std::make_shared<snapshot_holder<gateway_actor>>();
    all_.gateway = spawn_supervisor<gateway_actor>(
      sys_, supervised("gateway", 1),
      publish_child<gateway_actor>(
        all_.gateway_now, [options](caf::local_actor* parent) -> gateway_actor {
          return spawn_actor(*parent, gateway, options);
        }));
    ends_in(stage::edge, "gateway", all_.gateway);
  }

  caf::actor_system& sys_;
  const node_resources& from_;
  const settings& how_;
  commit_feed_ptr feed_ = std::make_shared<commit_feed>();
  /// What one actor publishes and others read.
  struct {
    lease_ptr own_lease = std::make_shared<lease>();
    ownership_view_ptr owners = std::make_shared<ownership_view>();
    snapshot_holder_ptr<broker_state> broker
      = std::make_shared<snapshot_holder<broker_state>>();
    snapshot_holder_ptr<shard_load> load
      = std::make_shared<snapshot_holder<shard_load>>();
  } published_;
  struct {
    purchase_lookup_actor purchases;
    backlog_reader_actor backlog;
    aggregate_reader_actor aggregates;
  } readers_;
  std::vector<transaction_writer_actor> writers_;
  std::vector<aggregate_writer_actor> aggregate_writers_;
  shard_manager_actor shards_;
  peers_actor peers_;
  query_actor query_;
  live_feed_actor live_;
  directory_actor directory_;
  node_actors all_;
};

} // namespace

std::chrono::milliseconds shutdown_share(const settings& how) {
  return std::chrono::milliseconds{how.shutdown_grace_s * 1000} / 4;
}

node_actors spawn_node(caf::actor_system& sys, const node_resources& from) {
  return node_builder{sys, from}.build();
}

} // namespace tillstream

#include "actors/node/node.hpp"

#include "actors/aggregation/aggregate_reader.hpp"
#include "actors/aggregation/aggregate_writer.hpp"
#include "actors/aggregation/shard_manager.hpp"
#include "actors/aggregation/stream_consumer.hpp"
#include "actors/cluster/ownership.hpp"
#include "actors/cluster/ownership_view.hpp"
#include "actors/cluster/peers.hpp"
#include "actors/directory/refresher.hpp"
#include "actors/directory/view.hpp"
#include "actors/gateway/gateway.hpp"
#include "actors/gateway/web_files.hpp"
#include "actors/http/server.hpp"
#include "actors/intake/admission.hpp"
#include "actors/intake/backlog_reader.hpp"
#include "actors/intake/purchase_lookup.hpp"
#include "actors/intake/transaction_writer.hpp"
#include "actors/outbox/commit_feed.hpp"
#include "actors/outbox/relay.hpp"
#include "actors/query/fallback_reader.hpp"
#include "actors/query/live_feed.hpp"
#include "actors/query/query.hpp"
#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/pacing.hpp"
#include "actors/runtime/root_supervisor.hpp"
#include "actors/runtime/supervisor.hpp"
#include "actors/runtime/system_config.hpp"
#include "actors/upkeep/janitor.hpp"
#include "actors/upkeep/lake_archiver.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "storage/lake/event_lake.hpp"
#include "storage/ports/event_stream.hpp"
#include "storage/ports/peer_link.hpp"
#include "storage/postgres/migrations.hpp"
#include "storage/postgres/stores.hpp"

#include <caf/actor_system.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

namespace tillstream {

namespace {

using namespace std::chrono_literals;

/// Purchases in flight from which on the branches are dealt out to all
/// writers. Two that have little to do write twice as many transactions, each
/// half as large: dearer for everybody (benchmarks/LOG.md).
constexpr size_t spread_min = 96;

// -- before anything starts ---------------------------------------------------

/// @returns `errc::invalid` with all that is wrong with a server.
caf::expected<void> check_database(const std::string& dsn, const char* schema,
                                   const char* setting) {
  if (dsn.empty())
    return caf::make_error(errc::invalid, std::string{setting} + " is not set");
  auto complaints = storage::check_server(dsn, schema);
  if (!complaints)
    return complaints.error();
  if (complaints->empty())
    return caf::unit;
  std::string all
    = std::string{"the "} + schema + " database is not safe to use:";
  for (const auto& complaint : *complaints)
    all += "\n  - " + complaint;
  return caf::make_error(errc::invalid, all);
}

/// A broker that is away is no reason not to sell; one that is wrong is.
caf::expected<void> check_broker(const storage::nats_settings& broker) {
  if (broker.url.empty())
    return caf::make_error(errc::invalid, std::string{"nats-url is not set"});
  auto stream = storage::ensure_stream(broker);
  if (stream)
    return caf::unit;
  if (stream.error() == errc::invalid)
    return stream.error();
  log::warning("broker-away", {{"why", describe(stream.error())}});
  return caf::unit;
}

caf::expected<directory_view_ptr> read_directory(const std::string& dsn) {
  auto store = storage::open_directory_store(dsn);
  if (!store)
    return store.error();
  auto snapshot = (*store)->load();
  if (!snapshot)
    return snapshot.error();
  auto result = std::make_shared<directory_view>();
  result->set(std::make_shared<const directory>(*snapshot));
  return result;
}

std::string node_name_of(const settings& how) {
  if (!how.node_name.empty())
    return how.node_name;
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0)
    host[0] = '\0';
  auto unique = how.port != 0 ? static_cast<long>(how.port)
                              : static_cast<long>(::getpid());
  return std::string{host.data()} + ":" + std::to_string(unique);
}

bool is_loopback(const std::string& address) {
  return address.rfind("127.", 0) == 0 || address == "::1";
}

storage::nats_settings broker_of(const settings& how, const std::string& name) {
  storage::nats_settings result;
  result.url = how.nats_url;
  result.client_name = "tillstream " + name;
  result.stream.replicas = how.stream_replicas;
  result.stream.placement_cluster = how.stream_placement_cluster;
  result.stream.placement_tags = split_list(how.stream_placement_tags);
  result.stream.bytes_max = how.stream_bytes_max;
  result.stream.age_max_days = how.retention_days + 1;
  return result;
}

/// Rows of one DELETE: a few milliseconds, so that applies hardly notice.
constexpr int64_t prune_rows_max = 5000;
/// DELETEs of one round; what is left waits for the next.
constexpr int prune_steps_max = 1000;

/// Deletes what no answer needs any more.
caf::expected<void> prune(const std::string& analytics_dsn) {
  auto store = storage::open_aggregate_store(analytics_dsn);
  if (!store)
    return store.error();
  for (int i = 0; i < prune_steps_max; ++i) {
    auto rows = (*store)->prune(prune_rows_max);
    if (!rows)
      return rows.error();
    if (*rows < prune_rows_max)
      break;
  }
  return caf::unit;
}

/// Part of the grace period for giving branches away in order.
std::chrono::milliseconds leave_share(const settings& how) {
  return std::chrono::milliseconds{how.shutdown_grace_s * 1000} / 4;
}

supervisor_options supervised(const char* name, size_t children = 1) {
  supervisor_options result;
  result.name = name;
  result.children = children;
  return result;
}

strings_ptr branch_ids(const tillstream::chain& chain) {
  std::vector<std::string> result;
  for (const auto& where : chain.branches)
    result.push_back(where.id);
  return std::make_shared<const std::vector<std::string>>(std::move(result));
}

// -- the picture --------------------------------------------------------------

/// The actors of a node, drawn as in the README.
struct picture {
  outbox_relay_actor relay;
  purchase_lookup_actor purchases;
  backlog_reader_actor backlog;
  std::vector<aggregate_writer_actor> aggregate_writers;
  aggregate_reader_actor aggregate_reader;
  shard_manager_actor shards;
  peers_actor peers;
  fallback_reader_actor tables;
  ownership_actor ownership;
  query_actor query;
  live_feed_actor live;
  std::vector<transaction_writer_actor> writers;
  admission_ptr intake;
  directory_actor keeper;
  janitor_actor cleaner;
  lake_archiver_actor archiver;
  gateway_actor door;
  /// The gateway that runs now: requests save the hop over its supervisor.
  std::shared_ptr<published<gateway_actor>> gateway_now;
};

/// Passes commit notices on to an actor.
template <class Handle>
commit_feed::subscriber notify(Handle whom) {
  return [whom](const commit_notices_ptr& notices) {
    caf::anon_send(whom, atom::committed_v, notices);
  };
}

/// Draws the picture: spawns everybody, from those who are told to those who
/// tell.
class painter {
public:
  painter(caf::actor_system& sys, const settings& how, std::string name,
          directory_view_ptr view)
    : sys_(sys),
      how_(how),
      name_(std::move(name)),
      view_(std::move(view)),
      broker_(broker_of(how, name_)) {
    // nop
  }

  /// @returns an error only for the dashboard's files.
  caf::expected<picture> draw() {
    draw_relay();
    draw_purchase_readers();
    if (how_.roles.shards || how_.roles.query)
      draw_aggregate_reader();
    if (how_.roles.shards)
      draw_shards();
    draw_ownership();
    draw_peers();
    if (how_.roles.query)
      draw_query();
    if (how_.roles.intake)
      draw_intake();
    draw_housekeeping();
    if (auto drawn = draw_gateway(); !drawn)
      return drawn.error();
    return std::move(all_);
  }

private:
  /// Spawns on a thread of its own: what blocks.
  template <class Handle, class Function, class Options>
  Handle
  detached(supervisor_options supervision, Function function, Options options) {
    return spawn_supervisor<Handle>(
      sys_, std::move(supervision),
      [function, options](caf::local_actor* parent) -> Handle {
        return parent->spawn<caf::detached>(function, options);
      });
  }

  /// Spawns on the scheduler: what never blocks.
  template <class Handle, class Function, class Options>
  Handle cooperative(supervisor_options supervision, Function function,
                     Options options) {
    return spawn_supervisor<Handle>(
      sys_, std::move(supervision),
      [function, options](caf::local_actor* parent) -> Handle {
        return parent->spawn(function, options);
      });
  }

  void draw_relay() {
    outbox_relay_options options;
    options.open_store
      = [dsn = how_.oltp_dsn] { return storage::open_outbox_store(dsn); };
    options.connect
      = [broker = broker_](storage::event_publisher::ack_handler on_ack)
      -> caf::expected<storage::event_publisher_ptr> {
      // A broker that lost its disk has no stream any more.
      if (auto stream = storage::ensure_stream(broker); !stream)
        return stream.error();
      return storage::connect_publisher(broker, std::move(on_ack));
    };
    options.feed = feed_;
    all_.relay = detached<outbox_relay_actor>(supervised("outbox-relay"),
                                              outbox_relay, options);
    feed_->subscribe_local(notify(all_.relay));
  }

  void draw_purchase_readers() {
    purchase_lookup_options looking;
    looking.open_store
      = [dsn = how_.oltp_dsn] { return storage::open_purchase_reader(dsn); };
    all_.purchases = detached<purchase_lookup_actor>(
      supervised("purchase-lookup", how_.readers), purchase_lookup, looking);
    if (!how_.roles.shards && !how_.roles.query)
      return;
    backlog_reader_options reading;
    reading.open_store
      = [dsn = how_.oltp_dsn] { return storage::open_outbox_store(dsn); };
    // Only one, as a session that reads a page of the server's memory for the
    // first time takes longer to get at it than to read it.
    all_.backlog = detached<backlog_reader_actor>(supervised("backlog-reader"),
                                                  backlog_reader, reading);
  }

  void draw_aggregate_reader() {
    aggregate_reader_options reading;
    reading.open_store = [dsn = how_.analytics_dsn] {
      return storage::open_aggregate_store(dsn);
    };
    if (!how_.analytics_replica_dsn.empty())
      reading.open_replica = [dsn = how_.analytics_replica_dsn] {
        return storage::open_aggregate_store(dsn);
      };
    all_.aggregate_reader = detached<aggregate_reader_actor>(
      supervised("aggregate-reader", how_.readers), aggregate_reader, reading);
  }

  void draw_shards() {
    aggregate_writer_options writing;
    writing.open_store = [dsn = how_.analytics_dsn] {
      return storage::open_aggregate_store(dsn);
    };
    writing.batch_window = pacing::apply_batch_window;
    for (size_t i = 0; i < how_.aggregate_writers; ++i)
      all_.aggregate_writers.push_back(detached<aggregate_writer_actor>(
        supervised("aggregate-writer"), aggregate_writer, writing));
    shard_manager_options options;
    options.lease = lease_;
    options.view = view_;
    options.writers = std::make_shared<writer_pool>(all_.aggregate_writers);
    options.reader = all_.aggregate_reader;
    options.purchases = all_.backlog;
    options.relay = all_.relay;
    options.start_consumer
      = [this_sys = &sys_, broker = broker_](shard_manager_actor owner) {
          return start_consumer(*this_sys, broker, std::move(owner));
        };
    all_.shards = sys_.spawn(tillstream::shards, std::move(options));
    feed_->subscribe_all(notify(all_.shards));
  }

  /// No supervisor: a new one would not know what is being given away, and
  /// what it had told SHARD MANAGER.
  void draw_ownership() {
    ownership_options options;
    options.who.name = name_;
    options.who.process = uuid_source{}.v4();
    options.who.roles = to_string(how_.roles);
    options.who.version = TILLSTREAM_VERSION;
    options.lease = std::chrono::milliseconds{how_.node_lease_ms};
    options.open_store = [dsn = how_.analytics_dsn] {
      return storage::open_ownership_store(dsn);
    };
    options.shards = all_.shards;
    options.own_lease = lease_;
    options.view = owners_;
    options.leave_max = leave_share(how_);
    all_.ownership = sys_.spawn<caf::detached>(tillstream::ownership_keeper,
                                               std::move(options));
    caf::anon_send(all_.ownership, atom::update_v,
                   branch_ids(*view_->get()->chain()));
  }

  static stream_consumer_actor
  start_consumer(caf::actor_system& sys, const storage::nats_settings& broker,
                 shard_manager_actor owner) {
    stream_consumer_options options;
    options.shards = std::move(owner);
    options.connect
      = [broker](storage::event_source::delivery_handler on_delivery)
      -> caf::expected<storage::event_source_ptr> {
      if (auto stream = storage::ensure_stream(broker); !stream)
        return stream.error();
      return storage::connect_source(broker, std::move(on_delivery));
    };
    return spawn_supervisor<stream_consumer_actor>(
      sys, supervised("stream-consumer"),
      [options](caf::local_actor* parent) -> stream_consumer_actor {
        return parent->spawn<caf::detached>(stream_consumer, options);
      });
  }

  void draw_peers() {
    peers_options options;
    options.node = name_;
    options.shards = all_.shards;
    options.connect = [broker = broker_, node = name_](
                        storage::peer_link::message_handler on_message) {
      return storage::connect_peers(broker, node, std::move(on_message));
    };
    all_.peers
      = detached<peers_actor>(supervised("peers"), tillstream::peers, options);
    feed_->subscribe_local(notify(all_.peers));
  }

  void draw_query() {
    fallback_reader_options reading;
    reading.reader = all_.aggregate_reader;
    reading.purchases = all_.backlog;
    reading.view = view_;
    all_.tables = cooperative<fallback_reader_actor>(
      supervised("table-answerer"), fallback_reader, reading);
    query_options options;
    options.node = name_;
    options.peers = all_.peers;
    options.tables = all_.tables;
    options.owners = owners_;
    options.view = view_;
    options.shards = all_.shards;
    options.reader = all_.aggregate_reader;
    all_.query = cooperative<query_actor>(supervised("query"),
                                          tillstream::query, options);
    live_feed_options feeding;
    feeding.query = all_.query;
    feeding.view = view_;
    all_.live = cooperative<live_feed_actor>(supervised("live-feed"), live_feed,
                                             feeding);
  }

  void draw_intake() {
    transaction_writer_options writing;
    writing.batch_max = how_.write_batch_max;
    writing.open_store = [dsn = how_.oltp_dsn, view = view_] {
      return storage::open_purchase_store(dsn, [view] {
        auto now = view->get();
        return storage::reference_data{now->chain(), now->products()};
      });
    };
    writing.on_committed = [feed = feed_](const commit_notices_ptr& notices) {
      feed->publish_local(notices);
    };
    admission_options options;
    for (size_t i = 0; i < how_.writers; ++i) {
      auto slot = std::make_shared<writer_slot>();
      slot->pacer = std::make_shared<commit_pacer>(pacing::commit_window_max);
      writing.pacer = slot->pacer;
      all_.writers.push_back(spawn_writer(writing, slot));
      options.writers.push_back(std::move(slot));
    }
    options.in_flight_max = how_.purchases_in_flight_max;
    options.spread_min = spread_min;
    all_.intake = std::make_shared<admission>(std::move(options));
  }

  transaction_writer_actor spawn_writer(const transaction_writer_options& how,
                                        const writer_slot_ptr& slot) {
    return spawn_supervisor<transaction_writer_actor>(
      sys_, supervised("transaction-writer"),
      publish_child<transaction_writer_actor>(
        {slot, &slot->current},
        [how](caf::local_actor* parent) -> transaction_writer_actor {
          return parent->spawn<caf::detached>(transaction_writer, how);
        }));
  }

  void draw_housekeeping() {
    draw_keeper();
    janitor_options cleaning;
    cleaning.maintain =
      [oltp = how_.oltp_dsn, analytics = how_.analytics_dsn,
       days = how_.retention_days](
        const std::string& schema) -> caf::expected<std::vector<std::string>> {
      if (schema == "oltp")
        return storage::maintain_partitions(oltp, schema, days);
      if (auto pruned = prune(analytics); !pruned)
        return pruned.error();
      return storage::maintain_partitions(analytics, schema, days);
    };
    all_.cleaner
      = detached<janitor_actor>(supervised("janitor"), janitor, cleaning);
    if (!how_.lake_dir.empty() && how_.roles.shards)
      draw_archiver();
  }

  void draw_keeper() {
    directory_refresher_options options;
    options.view = view_;
    options.open_store
      = [dsn = how_.oltp_dsn] { return storage::open_directory_store(dsn); };
    options.on_change = [ownership = all_.ownership](const directory& now) {
      caf::anon_send(ownership, atom::update_v, branch_ids(*now.chain()));
    };
    all_.keeper = detached<directory_actor>(supervised("directory"),
                                            directory_refresher, options);
  }

  void draw_archiver() {
    lake_archiver_options options;
    options.open_plan = [dsn = how_.analytics_dsn] {
      return storage::open_lake_plan_store(dsn);
    };
    options.open_outbox
      = [dsn = how_.oltp_dsn] { return storage::open_outbox_store(dsn); };
    options.age_max = std::chrono::seconds{how_.lake_age_s};
    // Looking less often than that would make every event wait longer.
    options.interval
      = std::min<caf::timespan>(options.interval, options.age_max);
    options.write
      = [lake = std::make_shared<storage::event_lake>(how_.lake_dir)](
          const std::string& branch_id, calendar_day day, int64_t from_no,
          int64_t to_no, const std::vector<std::string>& events) {
          return lake->write(branch_id, day, from_no, to_no, events);
        };
    all_.archiver = detached<lake_archiver_actor>(supervised("lake-archiver"),
                                                  lake_archiver, options);
  }

  caf::expected<void> draw_gateway() {
    gateway_options options;
    options.directory = view_;
    options.intake = all_.intake;
    options.reader = all_.purchases;
    options.query = all_.query;
    options.live = all_.live;
    options.refresher = all_.keeper;
    options.loopback_only = is_loopback(how_.listen_address);
    options.rate_limit = how_.rate_limit;
    auto web_dir = how_.web_dir.empty() ? default_web_dir() : how_.web_dir;
    if (!web_dir.empty()) {
      auto page = web_files::load(web_dir);
      if (!page)
        return page.error();
      options.page = *page;
    }
    options.parts
      = {part_of("directory", all_.keeper), part_of("outbox-relay", all_.relay),
         part_of("ownership", all_.ownership)};
    if (all_.intake)
      options.parts.push_back(part_of_all("transaction-writer", all_.writers));
    if (all_.shards) {
      options.parts.push_back(part_of("shards", all_.shards));
      for (size_t i = 0; i < all_.aggregate_writers.size(); ++i)
        options.parts.push_back(
          part_of("aggregate-writer" + (i > 0 ? fmt::format("-{}", i + 1) : ""),
                  all_.aggregate_writers[i]));
    }
    all_.gateway_now = std::make_shared<published<gateway_actor>>();
    all_.door = spawn_supervisor<gateway_actor>(
      sys_, supervised("gateway"),
      publish_child<gateway_actor>(
        all_.gateway_now, [options](caf::local_actor* parent) -> gateway_actor {
          return parent->spawn(gateway, options);
        }));
    return caf::unit;
  }

  caf::actor_system& sys_;
  const settings& how_;
  std::string name_;
  directory_view_ptr view_;
  storage::nats_settings broker_;
  commit_feed_ptr feed_ = std::make_shared<commit_feed>();
  node_lease_ptr lease_ = std::make_shared<node_lease>();
  ownership_view_ptr owners_ = std::make_shared<ownership_view>();
  picture all_;
};

/// Who ends with whom: those who ask before those who answer.
std::vector<std::vector<top_actor>> stages_of(const picture& x) {
  std::vector<std::vector<top_actor>> result(4);
  auto add = [&result](size_t stage, const char* name, const auto& handle) {
    if (handle)
      result[stage].emplace_back(name, handle);
  };
  add(0, "gateway", x.door);
  add(0, "directory", x.keeper);
  add(0, "janitor", x.cleaner);
  add(0, "lake-archiver", x.archiver);
  add(0, "live-feed", x.live);
  add(1, "query", x.query);
  add(2, "table-answerer", x.tables);
  for (const auto& writer : x.writers)
    add(2, "transaction-writer", writer);
  add(2, "peers", x.peers);
  add(2, "ownership", x.ownership);
  add(2, "shards", x.shards);
  add(3, "outbox-relay", x.relay);
  add(3, "purchase-lookup", x.purchases);
  add(3, "backlog-reader", x.backlog);
  for (const auto& writer : x.aggregate_writers)
    add(3, "aggregate-writer", writer);
  add(3, "aggregate-reader", x.aggregate_reader);
  return result;
}

// -- the node -----------------------------------------------------------------

/// Asks one actor to finish its work. @returns whether it did within
/// `timeout`.
template <class Handle>
bool drained(caf::scoped_actor& self, const Handle& whom, const char* name,
             std::chrono::milliseconds timeout) {
  if (!whom)
    return true;
  bool result = false;
  self->request(whom, caf::duration{timeout}, atom::drain_v)
    .receive(
      [&](bool done) { result = done; },
      [&](caf::error& err) {
        log::warning("drain-failed", {{"actor", name}, {"why", describe(err)}});
      });
  return result;
}

/// Owns the actor system and everything in it.
class running_node : public node {
public:
  running_node(const settings& how, directory_view_ptr view, std::string name)
    : how_(how),
      name_(std::move(name)),
      view_(std::move(view)),
      config_(how.scheduler_threads),
      sys_(config_) {
    // nop
  }

  ~running_node() override {
    if (!stopped_)
      stop();
  }

  caf::expected<void> open(std::function<void(std::string)> on_give_up) {
    auto drawn = painter{sys_, how_, name_, view_}.draw();
    if (!drawn)
      return drawn.error();
    all_ = std::move(*drawn);
    root_supervisor_options options;
    options.stages = stages_of(all_);
    options.on_give_up
      = [on_give_up](const std::string& reason) { on_give_up(reason); };
    root_ = sys_.spawn(root_supervisor, std::move(options));
    http_server_options edge;
    edge.address = how_.listen_address;
    edge.port = how_.port;
    edge.on_request = [now = all_.gateway_now](http_exchange_ptr exchange) {
      // Without a gateway the exchange is dropped, and answers by itself.
      if (auto gateway = now->get())
        caf::anon_send(*gateway, atom::request_v, std::move(exchange));
    };
    auto server = http_server::start(std::move(edge));
    if (!server)
      return server.error();
    server_ = std::move(*server);
    caf::anon_send(all_.ownership, atom::open_v,
                   how_.listen_address + ":" + std::to_string(server_->port()));
    log::info("node-ready", {{"node", name_}, {"port", server_->port()}});
    return caf::unit;
  }

  uint16_t port() const override {
    return server_->port();
  }

  bool stop() override {
    stopped_ = true;
    auto share = std::chrono::milliseconds{how_.shutdown_grace_s * 1000} / 4;
    caf::scoped_actor self{sys_};
    // The door first: what was accepted is finished, nothing new comes in.
    if (server_) {
      caf::anon_send(all_.door, atom::drain_v);
      server_->stop(share);
    }
    if (all_.intake && !all_.intake->drain(share))
      log::warning("node.purchases_in_flight",
                   {{"purchases", all_.intake->in_flight()}});
    drained(self, all_.relay, "outbox-relay", share);
    // Ends the shards, too.
    drained(self, all_.ownership, "ownership", leave_share(how_) + share);
    auto in_time = closed(self);
    release();
    log::info("node-stopped", {{"node", name_}, {"in_time", in_time}});
    return in_time;
  }

private:
  bool closed(caf::scoped_actor& self) {
    if (!root_)
      return true;
    bool result = false;
    auto timeout = std::chrono::seconds{how_.shutdown_grace_s};
    self->request(root_, caf::duration{timeout}, atom::close_v)
      .receive([&](bool in_time) { result = in_time; },
               [&](caf::error& err) {
                 log::error("shutdown-failed", {{"why", describe(err)}});
               });
    return result;
  }

  /// A detached actor must lose its last handle before the actor system goes.
  void release() {
    server_.reset();
    all_ = picture{};
    root_ = nullptr;
  }

  settings how_;
  std::string name_;
  directory_view_ptr view_;
  node_config config_;
  caf::actor_system sys_;
  picture all_;
  root_supervisor_actor root_;
  std::unique_ptr<http_server> server_;
  bool stopped_ = false;
};

log::level level_of(const std::string& name) {
  if (name == "debug")
    return log::level::debug;
  if (name == "warning")
    return log::level::warning;
  return name == "error" ? log::level::error : log::level::info;
}

} // namespace

caf::expected<std::unique_ptr<node>>
node::start(const settings& how, std::function<void(std::string)> on_give_up) {
  log::set_level(level_of(how.log_level));
  if (auto armed = arm_fault_points(how.fault_points); !armed)
    return armed.error();
  if (auto safe = check_database(how.oltp_dsn, "oltp", "oltp-dsn"); !safe)
    return safe.error();
  if (auto safe
      = check_database(how.analytics_dsn, "analytics", "analytics-dsn");
      !safe)
    return safe.error();
  auto name = node_name_of(how);
  if (auto usable = check_broker(broker_of(how, name)); !usable)
    return usable.error();
  auto view = read_directory(how.oltp_dsn);
  if (!view)
    return view.error();
  auto result = std::make_unique<running_node>(how, *view, name);
  if (auto opened = result->open(std::move(on_give_up)); !opened)
    return opened.error();
  return std::unique_ptr<node>{std::move(result)};
}

} // namespace tillstream

#include "actors/node/node.hpp"

#include "actors/node/node_builder.hpp"
#include "actors/node/node_resources.hpp"
#include "actors/runtime/spawn.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "storage/postgres/call_limit.hpp"

#include <caf/actor_system.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>

#include <chrono>
#include <optional>
#include <utility>

namespace tillstream {

namespace {

constexpr std::string_view log_ready = "node.ready";
constexpr std::string_view log_stopped = "node.stopped";
constexpr std::string_view log_in_flight = "node.purchases_in_flight";
constexpr std::string_view log_drain_failed = "node.drain_failed";
constexpr std::string_view log_shutdown_failed = "node.shutdown_failed";

/// Asks one actor to finish its work, and waits at most `timeout` for it.
template <class Handle>
void drain(caf::scoped_actor& self, const Handle& whom, const char* name,
           std::chrono::milliseconds timeout) {
  if (!whom)
    return;
  self->request(whom, caf::duration{timeout}, atom::drain_v)
    .receive([](bool) {},
             [&](caf::error& err) {
               log::warning(log_drain_failed,
                            {{"actor", name}, {"why", describe(err)}});
             });
}

/// Owns the actor system and everything in it.
class running_node : public node {
public:
  running_node(node_resources from, std::function<void(std::string)> on_give_up)
    : from_(std::move(from)),
      config_(from_.how.scheduler_threads),
      sys_(config_),
      actors_(spawn_node(sys_, from_)) {
    root_supervisor_options options;
    options.stages = std::move(actors_.stages);
    options.on_give_up = std::move(on_give_up);
    root_ = spawn_actor(sys_, root_supervisor, std::move(options));
    from_.server->serve([now = actors_.gateway_now,
                         supervisor = actors_.gateway](http_exchange_ptr x) {
      // Its supervisor may not have started it yet, and then keeps the request.
      auto running = now->get();
      caf::anon_send(running ? *running : supervisor, atom::request_v,
                     std::move(x));
    });
    caf::anon_send(actors_.ownership, atom::open_v,
                   from_.how.listen_address + ":" + std::to_string(port()));
    log::info(log_ready, {{"node", from_.name}, {"port", port()}});
  }

  ~running_node() override {
    if (!stopped_)
      stop();
  }

  uint16_t port() const override {
    return from_.server->port();
  }

  bool stop() override {
    stopped_ = true;
    auto share = shutdown_share(from_.how);
    call_limit_.emplace(share);
    caf::scoped_actor self{sys_};
    // The gateway first: what was accepted is finished, nothing new comes in.
    caf::anon_send(actors_.gateway, atom::drain_v);
    from_.server->stop(share);
    if (actors_.admission && !actors_.admission->drain(share))
      log::warning(log_in_flight,
                   {{"purchases", actors_.admission->in_flight()}});
    drain(self, actors_.relay, "outbox-relay", share);
    // Ends the shards, too.
    drain(self, actors_.ownership, "ownership", 2 * share);
    auto in_time = closed(self);
    // A detached actor must lose its last handle before the actor system goes.
    from_.server.reset();
    actors_ = node_actors{};
    root_ = nullptr;
    log::info(log_stopped, {{"node", from_.name}, {"in_time", in_time}});
    return in_time;
  }

private:
  /// Ends all actors in order. @returns whether they ended in time.
  bool closed(caf::scoped_actor& self) {
    bool result = false;
    auto timeout = std::chrono::seconds{from_.how.shutdown_grace_s};
    self->request(root_, caf::duration{timeout}, atom::close_v)
      .receive([&](bool in_time) { result = in_time; },
               [&](caf::error& err) {
                 log::error(log_shutdown_failed, {{"why", describe(err)}});
               });
    return result;
  }

  node_resources from_;
  node_config config_;
  /// A server that says nothing must not outlast the grace period. Until the
  /// last actor is gone.
  std::optional<storage::call_limit> call_limit_;
  caf::actor_system sys_;
  node_actors actors_;
  root_supervisor_actor root_;
  bool stopped_ = false;
};

} // namespace

caf::expected<std::unique_ptr<node>>
node::start(const settings& how, std::function<void(std::string)> on_give_up) {
  auto loaded = load_node_resources(how);
  if (!loaded)
    return loaded.error();
  return std::unique_ptr<node>{
    new running_node(std::move(*loaded), std::move(on_give_up))};
}

} // namespace tillstream

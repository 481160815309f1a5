#pragma once

#include "actors/directory/view.hpp"
#include "actors/gateway/rate_limiter.hpp"
#include "actors/gateway/routes.hpp"
#include "actors/gateway/sign_in_guard.hpp"
#include "actors/gateway/web_files.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/metrics.hpp"
#include "messages/protocol/directory.hpp"
#include "messages/protocol/gateway.hpp"
#include "messages/protocol/intake.hpp"
#include "messages/protocol/query.hpp"

#include <caf/actor_clock.hpp>
#include <caf/duration.hpp>
#include <caf/sec.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tillstream {

/// A part that `/readyz` asks.
struct gateway_part {
  std::string name;
  /// Asks on behalf of the gateway; calls back once, in the gateway.
  std::function<void(gateway_actor::pointer, std::function<void(readiness)>)>
    ask;
};

/// Makes a part of an actor that answers `atom::ready`.
template <class Handle>
gateway_part part_of(std::string name, Handle whom) {
  auto ask = [name, whom](gateway_actor::pointer self,
                          const std::function<void(readiness)>& answer) {
    self->request(whom, caf::duration{limits::ready_wait_max}, atom::ready_v)
      .then([answer](readiness& x) { answer(std::move(x)); },
            [answer, name](caf::error& err) {
              auto late = err == caf::sec::request_timeout;
              answer({name, false,
                      late ? "does not answer in time" : describe(err)});
            });
  };
  return {std::move(name), std::move(ask)};
}

/// Tuning of the GATEWAY.
struct gateway_options {
  directory_view_ptr directory;

  /// Null where the node does not have the role: such requests get a 503.
  admission_actor intake;
  purchase_reader_actor reader;
  query_actor query;
  live_feed_actor live;

  /// Takes sign-in links and ends sessions.
  directory_actor keeper;

  /// Who is asked for `/readyz`.
  std::vector<gateway_part> parts;

  /// Only this machine can connect: `/metrics` then needs no key.
  bool loopback_only = false;

  /// Purchases a second and key; 0: no limit.
  double rate_limit = 0;

  /// The dashboard; null: a line of text in its place.
  web_files_ptr page;
};

struct gateway_call;
using gateway_call_ptr = std::shared_ptr<gateway_call>;

/// State of the GATEWAY.
struct gateway_state {
  gateway_state() = default;

  static inline const char* name = "gateway";

  gateway_options options;

  rate_limiter limiter;

  sign_in_guard guard;

  /// Names the sessions that this node opens.
  uuid_source ids;

  /// Set by `atom::drain`.
  bool draining = false;

  /// Purchases that ADMISSION has, in the order of their deadlines. A
  /// time-out of each request wakes the clock's thread for every sale.
  struct submitted {
    caf::actor_clock::time_point deadline;
    gateway_call_ptr call;
  };
  std::map<uint64_t, submitted> submits;
  uint64_t last_submit = 0;
  /// A `tick` is on its way.
  bool tick_sent = false;

  /// Requests for `/readyz` that wait for the round under way.
  std::vector<gateway_call_ptr> ready_calls;

  /// What the parts said in this round.
  std::vector<readiness> ready_parts;

  /// Counters by route and status, so that the registry is asked once for each.
  std::map<std::pair<const route*, int>, counter*> request_counters;
  std::map<const route*, histogram*> request_seconds;
};

/// Answers HTTP requests. It alone speaks to intake, readers and query, and
/// clients never hold any of them.
///
/// A request goes through `gateway_routes()`, then key and role, then its
/// endpoint; what is checked first answers (CONTRACT, 'Intake'). Trouble of
/// ours is a 5xx, never a 4xx.
///
/// The owner's page has a session in the place of a key: a cookie that no
/// script reads and no other site's request carries. Whatever changes something
/// also has to come from the page itself, by the browser's own word.
///
/// - Thread: cooperative; no handler blocks.
/// - Limits: one request a connection, and those are bounded by the edge. Every
///   wait has a time-out.
/// - Failure: ending for any reason drops the exchanges it holds, and a dropped
///   exchange answers 500 by itself.
gateway_actor::behavior_type
gateway(gateway_actor::stateful_pointer<gateway_state> self,
        gateway_options options);

} // namespace tillstream

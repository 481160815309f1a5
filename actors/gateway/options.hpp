#pragma once

#include "actors/directory/view.hpp"
#include "actors/gateway/web_files.hpp"
#include "actors/intake/admission.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/readiness.hpp"
#include "messages/protocol/directory.hpp"
#include "messages/protocol/gateway.hpp"
#include "messages/protocol/intake.hpp"
#include "messages/protocol/query.hpp"

#include <caf/duration.hpp>
#include <caf/sec.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tillstream {

/// The GATEWAY with what it sends to itself.
using gateway_impl = gateway_actor::extend<
  // Time to fail the purchases whose deadline has passed.
  caf::reacts_to<atom::tick>>;

/// A part of the node that `/readyz` reports.
struct gateway_part {
  std::string name;
  /// Sends the request as the gateway; calls back once, in the gateway.
  std::function<void(gateway_impl::pointer, std::function<void(readiness)>)>
    request_readiness;
};

/// Makes a part of an actor that answers `atom::ready`.
template <class Handle>
gateway_part part_of(std::string name, Handle whom) {
  auto request = [name, whom](gateway_impl::pointer self,
                              const std::function<void(readiness)>& answer) {
    self->request(whom, caf::duration{limits::ready_wait_max}, atom::ready_v)
      .then([answer](readiness& x) { answer(std::move(x)); },
            [answer, name](caf::error& err) {
              auto late = err == caf::sec::request_timeout;
              answer({name, false,
                      late ? "does not answer in time" : describe(err)});
            });
  };
  return {std::move(name), std::move(request)};
}

/// Makes one part of several actors of a kind: ready when all are; the first
/// that is not answers for all.
template <class Handle>
gateway_part
part_of_all(const std::string& name, const std::vector<Handle>& actors) {
  std::vector<gateway_part> parts;
  for (const auto& x : actors)
    parts.push_back(part_of(name, x));
  auto request = [parts](gateway_impl::pointer self,
                         const std::function<void(readiness)>& answer) {
    auto open = std::make_shared<size_t>(parts.size());
    for (const auto& part : parts)
      part.request_readiness(self, [open, answer](readiness x) {
        if (*open == 0 || (x.ready && --*open > 0))
          return;
        *open = 0;
        answer(std::move(x));
      });
  };
  return {name, std::move(request)};
}

/// Tuning of the GATEWAY.
struct gateway_options {
  directory_view_ptr directory;

  /// Null where the node does not have the role: such requests get a 503.
  admission_ptr intake;
  purchase_lookup_actor reader;
  query_actor query;
  live_feed_actor live;

  /// Takes sign-in links and ends sign-ins.
  directory_actor refresher;

  /// The parts that `/readyz` reports.
  std::vector<gateway_part> parts;

  /// Only this machine can connect: `/metrics` then needs no key.
  bool loopback_only = false;

  /// Purchases a second and key; 0: no limit.
  double rate_limit = 0;

  /// The dashboard; null: a line of text in its place.
  web_files_ptr page;
};

} // namespace tillstream

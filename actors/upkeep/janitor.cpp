#include "actors/upkeep/janitor.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"

#include <caf/stateful_actor.hpp>

#include <cassert>
#include <utility>

namespace tillstream {

namespace {

using self_pointer = janitor_actor::stateful_pointer<janitor_state>;

constexpr std::string_view log_change = "janitor.partition_changed";
constexpr std::string_view log_failure = "janitor.round_failed";

/// @returns whether it worked.
bool maintain(const janitor_options& options, const std::string& schema) {
  auto changes = options.maintain(schema);
  if (!changes) {
    log::error(log_failure,
               {{"schema", schema}, {"error", describe(changes.error())}});
    return false;
  }
  for (auto& change : *changes)
    log::info(log_change, {{"schema", schema}, {"change", change}});
  return true;
}

void do_round(self_pointer self) {
  fault_point("janitor.tick");
  auto& options = self->state.options;
  auto well = true;
  for (auto& schema : options.schemas)
    well = maintain(options, schema) && well;
  self->delayed_send(self, well ? options.interval : options.retry_interval,
                     atom::tick_v);
}

} // namespace

janitor_actor::behavior_type
janitor(self_pointer self, janitor_options options) {
  assert(options.maintain);
  install_handlers(self);
  self->state.options = std::move(options);
  self->send(self, atom::tick_v);
  return {
    [self](atom::tick) { do_round(self); },
  };
}

} // namespace tillstream

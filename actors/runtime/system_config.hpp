#pragma once

#include <caf/actor_system_config.hpp>
#include <caf/atom.hpp>
#include <caf/fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace tillstream {

/// How this program sets CAF up: our message types and errors, fair
/// scheduling, no log and no configuration file of CAF's own. Settings of the
/// node never pass through CAF.
struct node_config : caf::actor_system_config {
  /// @param threads_max Workers for cooperative actors; 0: one a core.
  explicit node_config(size_t threads_max = 0);
};

/// Renders an error of our category for CAF, e.g. `unavailable: no route`.
/// Stands in for `add_error_category<errc>`, which does not compile in 0.17.6.
std::string render_errc(uint8_t code, caf::atom_value category,
                        const caf::message& context);

/// Replaces CAF's handlers that print to standard output: an exception ends
/// the actor with `errc::internal` and one line in the log; a message that
/// fits no handler, a stray error and the end of an actor that is not monitored
/// are logged and dropped. `spawn_actor` calls it for each of our actors.
void install_handlers(caf::scheduled_actor* self);

} // namespace tillstream

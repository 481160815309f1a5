#pragma once

#include "actors/runtime/system_config.hpp"

#include <caf/spawn_options.hpp>

#include <type_traits>
#include <utility>

namespace tillstream {

/// Starts an actor with our handlers, so that neither a stray error nor an
/// unexpected message ends it. No other code in actors/ calls `spawn`: a test
/// (`style.spawn`) looks for it.
/// @param where The actor system, or the actor that becomes the parent.
template <caf::spawn_options Os = caf::no_spawn_options, class Spawner,
          class Behavior, class Self, class... Ts>
auto spawn_actor(Spawner& where, Behavior (*run)(Self, Ts...),
                 std::type_identity_t<Ts>... xs) {
  auto start = [run](Self self, Ts... ys) -> Behavior {
    install_handlers(self);
    return run(self, std::forward<Ts>(ys)...);
  };
  return where.template spawn<Os>(std::move(start), std::forward<Ts>(xs)...);
}

} // namespace tillstream

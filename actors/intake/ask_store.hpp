#pragma once

#include "actors/runtime/reconnecting.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"

#include <string_view>

namespace tillstream {

/// Asks a store; once more if its session turns out to be broken and a new one
/// can be had at once.
/// @param lost The log event of a session that is lost.
template <class Self, class Store, class Query>
auto ask_store(Self self, session<Store>& store, std::string_view lost,
               Query query) -> decltype(query(*store)) {
  while (store.open(self->clock().now())) {
    auto result = query(*store);
    // A held key is an answer, and no fault of the session.
    if (result || result.error() == errc::in_progress)
      return result;
    log::warning(lost, {{"error", describe(result.error())}});
    store.drop(self->clock().now(), result.error());
  }
  return store.error();
}

} // namespace tillstream

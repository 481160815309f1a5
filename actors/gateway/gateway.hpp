#pragma once

#include "actors/gateway/state.hpp"

namespace tillstream {

/// Answers HTTP requests. It alone speaks to intake, readers and query, and
/// clients never hold any of them.
///
/// A request goes through `gateway_routes()`, then key and role, then its
/// endpoint; what is checked first answers (CONTRACT, 'Intake'). Trouble of
/// ours is a 5xx, never a 4xx.
///
/// The owner's page has a sign-in in the place of a key: a cookie that no
/// script reads and no other site's request carries. Whatever changes something
/// also has to come from the page itself, by the browser's own word.
///
/// - Thread: cooperative; no handler blocks.
/// - Limits: one request a connection, and those are bounded by the edge. Every
///   wait has a timeout.
/// - Failure: ending for any reason drops the exchanges it holds, and a dropped
///   exchange answers 500 by itself.
gateway_impl::behavior_type
gateway(gateway_pointer self, gateway_options options);

} // namespace tillstream

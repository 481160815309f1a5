#pragma once

#include "actors/gateway/state.hpp"

#include <string>

/// @file actors/gateway/page.hpp
/// The dashboard's files. Between the gateway's own files only.

namespace tillstream {

void answer_page(gateway_pointer self, const gateway_call& call);

/// Answers what fits no route: a file of the page, or 404 or 405.
/// @param allow Methods of the path, if it has a route.
void serve_unrouted(gateway_pointer self, const gateway_call& call,
                    std::string allow);

} // namespace tillstream

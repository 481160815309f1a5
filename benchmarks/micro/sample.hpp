#pragma once

#include "messages/codec/event_codec.hpp"
#include "messages/codec/purchase_codec.hpp"
#include "messages/model/chain.hpp"

#include <string>

/// @file benchmarks/micro/sample.hpp
/// The purchase of three items that all benchmarks sell.

namespace tillstream::bench {

/// Three branches.
const chain& sample_chain();

/// A body of POST /purchases.
const std::string& sample_body();

/// What the edge knows beside the body.
purchase_context sample_context();

/// The same purchase, recorded. @param n Tells customers and events apart.
purchase_event sample_event(uint64_t n = 0);

} // namespace tillstream::bench

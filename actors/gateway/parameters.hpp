#pragma once

#include "messages/codec/problem.hpp"
#include "messages/model/http.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tillstream {

/// A query parameter that an endpoint knows.
struct parameter {
  std::string_view name;
  std::optional<std::string> value;
};

/// Fills in the values. @returns what is wrong: a garbled or unknown parameter,
/// or one that comes twice.
std::optional<problem>
take_parameters(const http_request& request, std::span<parameter> known);

} // namespace tillstream

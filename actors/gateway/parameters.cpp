#include "actors/gateway/parameters.hpp"

#include "actors/gateway/problems.hpp"

#include <algorithm>

namespace tillstream {

std::optional<problem>
take_parameters(const http_request& request, std::span<parameter> known) {
  if (request.garbled_parameter)
    return problems::bad_parameter(
      *request.garbled_parameter,
      "Must be percent-encoded UTF-8 without U+0000.");
  for (const auto& [name, value] : request.query) {
    // A named capture: clang 14 cannot capture a structured binding.
    auto i = std::find_if(
      known.begin(), known.end(),
      [&wanted = name](const auto& x) { return x.name == wanted; });
    if (i == known.end())
      return problems::bad_parameter(name, "There is no such parameter here.");
    if (i->value)
      return problems::bad_parameter(name, "The parameter may be given once.");
    i->value = value;
  }
  return std::nullopt;
}

} // namespace tillstream

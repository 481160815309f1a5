#pragma once

#include "messages/core/error.hpp"

#include <caf/expected.hpp>

#include <stdexcept>
#include <string>
#include <utility>

namespace tillstream::test {

/// The value, or a failed test with the error's text.
template <class T>
T must(caf::expected<T> x) {
  if (!x)
    throw std::runtime_error{describe(x.error())};
  return std::move(*x);
}

inline void must(const caf::expected<void>& x) {
  if (!x)
    throw std::runtime_error{describe(x.error())};
}

/// Why there is no value; empty when there is one.
template <class T>
std::string why(const caf::expected<T>& x) {
  return x ? std::string{} : describe(x.error());
}

} // namespace tillstream::test

#pragma once

#include "messages/core/error.hpp"

#include <caf/expected.hpp>

#include <stdexcept>
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

} // namespace tillstream::test

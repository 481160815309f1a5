#pragma once

#include <string>

namespace tillstream {

/// What an actor says of itself, for `/readyz`.
struct readiness {
  std::string part;
  bool ready = false;
  /// Why not.
  std::string reason;
};

} // namespace tillstream

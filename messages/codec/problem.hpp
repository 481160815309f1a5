#pragma once

#include "messages/model/http.hpp"

#include <string>
#include <string_view>

namespace tillstream {

/// An error of the contract's table (RFC 9457).
struct problem {
  int status = 500;
  /// Stable name: `type` is `/problems/<name>`.
  std::string name;
  std::string detail;
  /// Further members, as rendered JSON values, e.g. `errors`.
  header_list members;
  header_list headers;
};

/// Renders `application/problem+json`. `title` comes from the name.
http_reply render_problem(const problem& x, std::string_view trace_id);

} // namespace tillstream

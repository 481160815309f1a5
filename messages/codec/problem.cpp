#include "messages/codec/problem.hpp"

#include "messages/codec/json.hpp"

#include <algorithm>

namespace tillstream {

namespace {

/// `idempotency-key-reused` becomes `Idempotency key reused`.
std::string title_of(std::string_view name) {
  std::string result{name};
  std::replace(result.begin(), result.end(), '-', ' ');
  if (!result.empty() && result[0] >= 'a' && result[0] <= 'z')
    result[0] = static_cast<char>(result[0] - 'a' + 'A');
  return result;
}

} // namespace

http_reply render_problem(const problem& x, std::string_view trace_id) {
  http_reply result;
  result.status = x.status;
  result.content_type = "application/problem+json";
  result.headers = x.headers;
  json_writer out{result.body};
  out.begin_object()
    .field("type", "/problems/" + x.name)
    .field("title", title_of(x.name))
    .field("status", x.status)
    .field("detail", x.detail)
    .field("trace_id", trace_id);
  for (const auto& [name, json] : x.members)
    out.key(name).raw(json);
  out.end_object();
  return result;
}

} // namespace tillstream

#include "actors/http/header_values.hpp"

#include "messages/core/text.hpp"

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/rfc7230.hpp>

#include <algorithm>

namespace tillstream {

namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

/// `q=0`, `q=0.0` and so on.
bool is_refused(const http::param_list& parameters) {
  for (const auto& [name, value] : parameters)
    if (beast::iequals(name, "q"))
      return value.find_first_not_of("0.") == value.npos;
  return false;
}

} // namespace

bool same_word(std::string_view x, std::string_view y) {
  return beast::iequals({x.data(), x.size()}, {y.data(), y.size()});
}

std::string lower_case(std::string_view text) {
  std::string result{text};
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return beast::detail::ascii_tolower(c); });
  return result;
}

bool accepts_gzip(const http_request& request) {
  auto rest = request.header("accept-encoding").value_or(std::string_view{});
  auto by_star = false;
  // Not Beast's ext_list: it stops at a comma that follows a parameter.
  while (!rest.empty()) {
    auto part = next_part(rest, ',');
    auto coding = part.substr(0, part.find(';'));
    part.remove_prefix(coding.size());
    http::param_list parameters{{part.data(), part.size()}};
    if (same_word(trim(coding), "gzip"))
      return !is_refused(parameters);
    if (trim(coding) == "*")
      by_star = !is_refused(parameters);
  }
  return by_star;
}

bool is_json(const http_request& request) {
  auto encoding = request.header("content-encoding");
  if (encoding && *encoding != "identity")
    return false;
  auto value = request.header("content-type").value_or(std::string_view{});
  auto end = std::min(value.find(';'), value.size());
  if (!same_word(trim(value.substr(0, end)), "application/json"))
    return false;
  value.remove_prefix(end);
  for (const auto& [name, charset] :
       http::param_list{{value.data(), value.size()}})
    if (beast::iequals(name, "charset") && !beast::iequals(charset, "utf-8"))
      return false;
  return true;
}

} // namespace tillstream

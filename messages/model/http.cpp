#include "messages/model/http.hpp"

#include "messages/core/hex.hpp"
#include "messages/core/uuid.hpp"

namespace tillstream {

namespace {

/// `version-trace_id-parent_id-flags`
constexpr size_t traceparent_size = 55;

bool is_lower_hex(std::string_view text) {
  return text.find_first_not_of(hex_digits) == std::string_view::npos;
}

bool all_zero(std::string_view text) {
  return text.find_first_not_of('0') == std::string_view::npos;
}

/// Checks the four fields that every version begins with.
bool has_trace_fields(std::string_view text) {
  if (text.size() < traceparent_size || text[2] != '-' || text[35] != '-'
      || text[52] != '-')
    return false;
  auto trace_id = text.substr(3, 32);
  auto parent_id = text.substr(36, 16);
  return is_lower_hex(text.substr(0, 2)) && is_lower_hex(trace_id)
         && is_lower_hex(parent_id) && is_lower_hex(text.substr(53, 2))
         && !all_zero(trace_id) && !all_zero(parent_id);
}

/// What we pass on for a received header; empty when it is not valid.
std::string accept_traceparent(std::string_view text) {
  if (!has_trace_fields(text) || text.starts_with("ff"))
    return {};
  if (text.starts_with("00"))
    return text.size() == traceparent_size ? std::string{text} : std::string{};
  // A later version is spoken to in ours, with the flag that we know
  // (W3C Trace Context, 3.2.4: 'sampled').
  if (text.size() > traceparent_size && text[traceparent_size] != '-')
    return {};
  auto sampled = (text[54] - (text[54] > '9' ? 'a' - 10 : '0')) % 2 != 0;
  return "00" + std::string{text.substr(2, 51)} + (sampled ? "01" : "00");
}

std::string hex_of(const uuid& x) {
  auto result = to_string(x);
  std::erase(result, '-');
  return result;
}

std::string make_traceparent() {
  // Version 4 leaves no way to be all zero.
  static thread_local uuid_source source;
  auto parent_id = hex_of(source.v4()).substr(0, 16);
  return "00-" + hex_of(source.v4()) + "-" + parent_id + "-00";
}

} // namespace

std::optional<std::string_view>
http_request::header(std::string_view name) const {
  std::optional<std::string_view> result;
  for (const auto& [key, value] : headers) {
    if (key != name)
      continue;
    if (result)
      return std::nullopt;
    result = value;
  }
  return result;
}

trace_context take_trace(const http_request& request) {
  trace_context result;
  if (auto received = request.header("traceparent"))
    result.traceparent = accept_traceparent(*received);
  if (result.traceparent.empty())
    result.traceparent = make_traceparent();
  result.trace_id = result.traceparent.substr(3, 32);
  return result;
}

} // namespace tillstream
